"""Define the `silk train` and `silk export` commands.

`silk --help` imports this module, so large libraries are imported only inside functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec.errors import ArgumentError


def run_training(
    config: Annotated[str, typer.Argument(help="TOML file, or packaged config: default, base, tiny, ...")],
    run: Annotated[
        Path, typer.Option("-o", "--run", help="Run folder. If it contains a checkpoint, training resumes.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config value. Repeatable.")
    ] = None,
) -> None:
    """Train a model from a config."""
    from silkcodec_torch.train.config import load_config

    load_config(config, overrides or ())  # reports an invalid config before PyTorch is imported
    if run.exists() and not run.is_dir():
        raise ArgumentError(f"The run must be a folder; '{run}' is a file.")
    from silkcodec_torch.train import loop

    loop.train(config, run, overrides or [])


def run_export(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the weights.")],
    run: Annotated[
        Path | None, typer.Argument(help="Run folder or, with --format transformers, weights folder.")
    ] = None,
    results: Annotated[
        Path | None, typer.Option("--results", help="Results from silk compare, for the model card.")
    ] = None,
    same_encoder: Annotated[
        Path | None,
        typer.Option("--same-encoder", help="Weights with the same encoder. The export can decode their tokens."),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="Output format: onnx or transformers.")] = "onnx",
) -> None:
    """Export a training run to a weights folder.

    Writes encoder.onnx, decoder.onnx, config.json, a model card and test data (golden.npz). Exporting a run again gives
    identical graphs, so you can add results to the model card later with --results.

    With --format transformers, writes a folder for AutoModel.from_pretrained, which you can push to the Hugging Face
    Hub ([hf] extra). The input is a run or a weights folder. By default, the weights that ship with silkcodec are
    exported.
    """
    if file_format not in ("onnx", "transformers"):
        raise ArgumentError(f"--format must be onnx or transformers; got '{file_format}'.")
    if run is not None and not run.is_dir():
        raise ArgumentError(f"Run not found: '{run}'.")
    if file_format == "transformers":
        if results is not None or same_encoder is not None:
            raise ArgumentError(
                "--results and --same-encoder cannot be used with --format transformers. Use them with --format onnx."
            )
        from silkcodec_torch.hf.conversion import export as export_for_transformers

        export_for_transformers(run, output)
        return
    if run is None:
        raise ArgumentError("RUN is missing. Pass the folder of a training run.")
    from silkcodec.evaluate.report import load_result
    from silkcodec_torch.train.export import export as export_weights

    export_weights(run, output, load_result(results) if results else None, same_encoder)


train = typer.Typer(add_completion=False, rich_markup_mode=None, rich_help_panel="Training")
train.command("train")(run_training)
export = typer.Typer(add_completion=False, rich_markup_mode=None, rich_help_panel="Training")
export.command("export")(run_export)
