"""The verbs `train` and `export` (extra [train])."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from silkcodec.errors import ArgumentError, import_extra


def train(
    config: Annotated[str, typer.Argument(help="A TOML file, or a packaged config: default, base, tiny, ...")],
    run: Annotated[Path, typer.Option("-o", "--run", help="Folder of the run; an interrupted run resumes.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over what the config says; again.")
    ] = None,
) -> None:
    """Train a model as a config says (extra [train])."""
    if config.endswith(".toml") and not Path(config).is_file():
        raise ArgumentError(f"A config must exist; there is no '{config}'.")
    if run.exists() and not run.is_dir():
        raise ArgumentError(f"A run must be a folder; '{run}' is a file.")
    import_extra("silkcodec.train.loop", "Training", "train").train(config, run, overrides or [])


def export(
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the weights.")],
    run: Annotated[
        Path | None, typer.Argument(help="The folder of a training run; for transformers, of weights too, or neither.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="What silk compare wrote of these weights: for the model card.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="onnx or transformers.")] = "onnx",
) -> None:
    """Export a training run to a folder of weights (extra [train]).

    encoder.onnx, decoder.onnx, config.json, a model card and golden fixtures. The same run gives
    the same bytes, so a card can be filled in later by exporting again with --results.

    With --format transformers, a folder that AutoModel.from_pretrained reads and that can be pushed to the Hugging
    Face hub (extras [train,baselines]): of a run, of a folder of weights, or of the embedded ones if none is named.
    """
    if file_format not in ("onnx", "transformers"):
        raise ArgumentError(f"--format must be onnx or transformers; got '{file_format}'.")
    if run is None and file_format == "onnx":
        raise ArgumentError("A run must be a folder; none was named.")
    if run is not None and not run.is_dir():
        raise ArgumentError(f"A run must be a folder; there is no '{run}'.")
    if file_format == "transformers":
        if results is not None:
            raise ArgumentError("--results must be given when the weights are exported, whose card it fills in.")
        import_extra("silkcodec.hf.export", "Export", "train").export(run, output)
        return
    measured = import_module("silkcodec.evaluate.report").load_result(results) if results else None
    import_extra("silkcodec.train.export", "Export", "train").export(run, output, measured)
