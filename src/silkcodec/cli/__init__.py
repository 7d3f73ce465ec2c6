"""The command `silk`: verbs only. Each checks its paths, imports inside itself, and calls one function.

Every SilkError is one line on standard error and exit code 2; Ctrl-C is 130. Nothing heavy is imported
up here, so that `silk --help` answers at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from silkcodec import __version__
from silkcodec.cli import corpora as corpus_cli
from silkcodec.cli import serving as serve_cli
from silkcodec.cli import stdio
from silkcodec.errors import ArgumentError, MissingExtraError, SilkError

if TYPE_CHECKING:
    from silkcodec.silk import Silk


class _Verbs(TyperGroup):
    """Turns what a user can cause into one line and an exit code; a bug of ours keeps its traceback.

    Its verbs are those below and those that other distributions add (`silkcodec.commands`).
    """

    def list_commands(self, ctx: Any) -> list[str]:
        from silkcodec.cli import commands

        own = super().list_commands(ctx)
        return [*own, *(name for name in commands.names() if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        from silkcodec.cli import commands  # costs time that the verbs below need not pay

        return commands.find(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except SilkError as error:
            print(f"silk: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("silk: interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Verbs,
    name="silk",
    help="Silk: a neural speech codec at 47.5 tokens per second.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.command()(serve_cli.serve)
app.command()(corpus_cli.tokenize)
app.command()(corpus_cli.detokenize)

Sounds = Annotated[
    list[str], typer.Argument(metavar="IN...", help="Sound files, folders, 'patterns', or - for a pipe.")
]
Silks = Annotated[list[str], typer.Argument(metavar="IN...", help=".silk files, folders, 'patterns', or - for a pipe.")]
Out = Annotated[
    str | None,
    typer.Option("-o", "--output", help="A file, a folder, or -. Default: beside each input."),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that exist.")]
Skip = Annotated[bool, typer.Option("--skip-existing", help="Leave out what is there already.")]
Json = Annotated[bool, typer.Option("--json", help="Print results as JSON, one object a line.")]
Entropy = Annotated[bool, typer.Option("--entropy", help="Smaller files by range coding (extra [entropy]).")]
Channel = Annotated[
    int | None, typer.Option("--channel", min=0, help="Encode this channel, counted from 0. Default: the mean of all.")
]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads.")]
Provider = Annotated[str, typer.Option("--provider", help="cpu or cuda.")]
Rescale = Annotated[bool, typer.Option("--rescale", help="Scale a wave that would clip down to full scale.")]
Normalize = Annotated[
    bool, typer.Option("--normalize", help="Remove DC and encode at the best level; decoding restores it.")
]
Subtype = Annotated[str, typer.Option("--subtype", help="Sample type of the wave: 16, 24 or float.")]
Clips = Annotated[
    list[str],
    typer.Argument(
        metavar="IN...",
        help="Sound files, folders, or manifests: .tsv, .csv, .jsonl; some rows of one: 'INDEX.tsv:language=en|zh*'.",
    ),
]
Report = Annotated[Path, typer.Option("-o", "--output", help="A folder for the report, and to go on from.")]
Metrics = Annotated[str | None, typer.Option("--metrics", help="Only these, with commas. Default: all that can be.")]
Models = Annotated[
    list[str] | None, typer.Option("--model", metavar="KEY=MODEL", help="A metric's model: whisper=base. Again.")
]
Split = Annotated[str | None, typer.Option("--split", help="Only these rows of a manifest.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="So many clips, drawn at random.")]
Seed = Annotated[int, typer.Option("--seed", help="Of that draw.")]
Root = Annotated[
    Path | None, typer.Option("--root", help="Folder of the paths in a manifest, if not its own.")
]
By = Annotated[str | None, typer.Option("--by", help="Columns of a manifest to split the result by.")]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Processes; 1 to measure speed.")]
Listen = Annotated[int, typer.Option("--listen", min=0, help="So many clips to listen to in the report.")]
Weights = Annotated[Path | None, typer.Option("--weights", help="A folder of weights made by silk export.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"silk {__version__}")
        raise typer.Exit


@app.callback()
def silk(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and exit."),
    ] = False,
) -> None:
    """Silk: a neural speech codec at 47.5 tokens per second."""


@app.command()
def encode(
    inputs: Sounds,
    output: Out = None,
    force: Force = False,
    skip_existing: Skip = False,
    entropy: Entropy = False,
    channel: Channel = None,
    normalize: Normalize = False,
    as_json: Json = False,
    threads: Threads = None,
    provider: Provider = "cpu",
    weights: Weights = None,
) -> None:
    """Encode sound files to .silk files."""
    from silkcodec import audio, files
    from silkcodec.cli import console, paths

    _check_entropy(entropy)
    jobs = paths.plan(inputs, output, paths.AUDIO, ".silk", overwrite=force, skip_existing=skip_existing)
    jobs, total_s, unreadable = console.probe(jobs, lambda source: audio.duration_s(source, channel))
    codec = _load(threads, provider, weights, encode=bool(jobs))

    def work(job: paths.Job, advance: files.Advance) -> None:
        done = files.encode_file(
            codec,
            job.source,
            job.target,
            entropy=entropy,
            channel=channel,
            overwrite=force,
            normalize=normalize,
            advance=advance,
        )
        console.show_coding(done, as_json, jobs)

    _finish(console.run_jobs(jobs, total_s, "encode", work) + unreadable, len(jobs) + unreadable)


@app.command()
def decode(
    inputs: Silks,
    output: Out = None,
    force: Force = False,
    skip_existing: Skip = False,
    file_format: Annotated[str, typer.Option("--format", help="wav, flac, ogg or opus.")] = "wav",
    start_s: Annotated[float, typer.Option("--start", help="Seconds: decode from here.")] = 0.0,
    duration_s: Annotated[float | None, typer.Option("--duration", help="Seconds: decode so much.")] = None,
    recover: Annotated[bool, typer.Option("--recover", help="Of a damaged file, what lies before it.")] = False,
    rescale: Rescale = False,
    subtype: Subtype = "",
    as_json: Json = False,
    threads: Threads = None,
    provider: Provider = "cpu",
    weights: Weights = None,
) -> None:
    """.silk files to sound files, mono, 24 kHz."""
    from silkcodec import audio, files
    from silkcodec.audio.wave_file import sample_type_of
    from silkcodec.cli import console, paths

    suffix = "." + file_format.lower().lstrip(".")
    sample_type = sample_type_of(subtype)
    audio.output_format(f"out{suffix}", sample_type)
    jobs = paths.plan(inputs, output, paths.SILK, suffix, overwrite=force, skip_existing=skip_existing)
    for job in jobs:
        if job.target != paths.STANDARD:
            audio.output_format(job.target, sample_type)
    if not recover:  # else what is damaged is read as far as it goes
        jobs, total_s, unreadable = console.probe(jobs, files.silk_duration_s)
    else:
        total_s, unreadable = 0.0, 0
    codec = _load(threads, provider, weights, decode=bool(jobs))

    def work(job: paths.Job, advance: files.Advance) -> None:
        done = files.decode_file(
            codec,
            job.source,
            job.target,
            overwrite=force,
            recover=recover,
            start_s=start_s,
            duration_s=duration_s,
            subtype=sample_type,
            rescale=rescale,
            advance=advance,
        )
        console.show_coding(done, as_json, jobs)

    _finish(console.run_jobs(jobs, total_s, "decode", work) + unreadable, len(jobs) + unreadable)


@app.command()
def roundtrip(
    inputs: Sounds,
    output: Out = None,
    force: Force = False,
    entropy: Entropy = False,
    normalize: Normalize = False,
    rescale: Rescale = False,
    subtype: Subtype = "",
    channel: Channel = None,
    as_json: Json = False,
    threads: Threads = None,
    provider: Provider = "cpu",
    weights: Weights = None,
) -> None:
    """There and back: a .silk file, its wave, a picture.

    Writes NAME.silk, NAME.silk.wav and NAME.silk.png, which shows both spectrograms, and prints the numbers.
    """
    from silkcodec import audio, files
    from silkcodec.audio.wave_file import sample_type_of
    from silkcodec.cli import console, paths
    from silkcodec.files.roundtrip import Roundtrip, check_targets, roundtrip_file

    _check_entropy(entropy)
    if inputs == [paths.STANDARD] and output is None:
        raise ArgumentError("A round trip of standard input needs a name for its wave: -o NAME.wav.")
    jobs = paths.plan(inputs, output, paths.AUDIO, ".silk.wav", overwrite=force)
    sample_type = sample_type_of(subtype)
    check_targets([job.target for job in jobs], overwrite=force, subtype=sample_type)
    jobs, total_s, unreadable = console.probe(jobs, lambda source: audio.duration_s(source, channel))
    codec = _load(threads, provider, weights, encode=bool(jobs), decode=bool(jobs))
    done: list[Roundtrip] = []

    def work(job: paths.Job, advance: files.Advance) -> None:
        trip = roundtrip_file(
            codec,
            job.source,
            job.target,
            entropy=entropy,
            channel=channel,
            overwrite=force,
            subtype=sample_type,
            rescale=rescale,
            normalize=normalize,
            advance=advance,
        )
        done.append(trip)
        console.show_warning(trip.encoding)
        console.show_level(trip.encoding)
        console.show_clipping(trip.decoding.target, trip.decoding.n_clipped, trip.decoding.peak)
        if as_json:
            console.show_json(console.roundtrip_json(trip))

    failed = console.run_jobs(jobs, total_s, "round trip", work)
    if done and not as_json:
        console.show_roundtrips(done, sys.stdout)
    _finish(failed + unreadable, len(jobs) + unreadable)


@app.command()
def info(inputs: Silks, as_json: Json = False) -> None:
    """What .silk files hold.

    By their headers: no model is loaded.
    """
    from silkcodec import container
    from silkcodec.cli import console, paths

    jobs = [paths.Job(source, os.devnull) for source in paths.sources(inputs, paths.SILK)]

    def work(job: paths.Job, _: Any) -> None:
        file = sys.stdin.buffer if job.source == paths.STANDARD else job.source
        console.show_contents(job.source, container.info(file, recover=True), as_json)

    _finish(console.run_jobs(jobs, 0.0, "info", work), len(jobs))


@app.command("codecs")
def list_codecs(as_json: Json = False) -> None:
    """The codecs that silkcodec.load knows: measured rates, and whether they can be used here."""
    from silkcodec import codec
    from silkcodec.baselines import catalogue, rates
    from silkcodec.cli import console

    found = catalogue.rows(rates.measured(), codec.codecs())
    if as_json:
        for row in found:
            console.show_json(row)
        return
    shown, left_out = catalogue.short(found)
    console.show_table([catalogue.cells(row) for row in shown], text=("codebooks", "quantizer"))
    print("\n".join(catalogue.notes(found, left_out)))


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A TOML file, or a packaged config: default, base, tiny, ...")],
    run: Annotated[Path, typer.Option("-o", "--run", help="The run's folder; it goes on where it stopped.")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Over what the config says; again.")
    ] = None,
) -> None:
    """Train a model as a config says (extra [train])."""
    if config.endswith(".toml") and not Path(config).is_file():
        raise ArgumentError(f"A config must exist; there is no '{config}'.")
    if run.exists() and not run.is_dir():
        raise ArgumentError(f"A run must be a folder; '{run}' is a file.")
    _wing("silkcodec.train.loop", "Training", "train").train(config, run, overrides or [])


@app.command()
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
    """A training run to a folder of weights.

    encoder.onnx, decoder.onnx, config.json, a model card and golden fixtures (extra [train]). The same run gives
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
        _wing("silkcodec.hf.export", "Export", "train").export(run, output)
        return
    measured = import_module("silkcodec.evaluate.report").load_result(results) if results else None
    _wing("silkcodec.train.export", "Export", "train").export(run, output, measured)


@app.command()
def compare(
    inputs: Clips,
    codecs: Annotated[
        str, typer.Option("--codecs", help="Codecs, and `original` for the clips themselves, with commas.")
    ] = "silk",
    output: Report = Path("comparison"),
    metrics: Metrics = None,
    models: Models = None,
    split: Split = None,
    root: Root = None,
    limit: Limit = None,
    seed: Seed = 0,
    by: By = None,
    jobs: Jobs = None,
    listen: Listen = 3,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure codecs on the same clips, and report.

    A run that was stopped goes on where it was; with a codec or metric more, only that is measured. Metrics beyond
    the simplest need the extra [eval].
    """
    from silkcodec.evaluate.compare import compare

    options = _options(metrics, models, split, limit, seed, by, jobs, listen, force, root)
    _report(lambda progress: compare(inputs, _listed(codecs), output, options, progress=progress), output, as_json)


@app.command()
def score(
    reference: Annotated[str, typer.Argument(metavar="REF", help="What was encoded: a folder, manifest or file.")],
    degraded: Annotated[
        list[str], typer.Argument(metavar="[NAME=]FOLDER...", help="What came out: the same file names, any suffix.")
    ],
    output: Report = Path("scores"),
    metrics: Metrics = None,
    models: Models = None,
    split: Split = None,
    root: Root = None,
    limit: Limit = None,
    seed: Seed = 0,
    by: By = None,
    jobs: Jobs = None,
    listen: Listen = 3,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure reconstructions that were made elsewhere, and report."""
    from silkcodec.evaluate.score import score

    options = _options(metrics, models, split, limit, seed, by, jobs, listen, force, root)
    _report(lambda progress: score(reference, degraded, output, options, progress=progress), output, as_json)


@app.command()
def explain(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only say where the page is.")] = False,
    port: Annotated[int, typer.Option("--port", help="Of this machine, which alone can reach it; 0: a free one.")] = 0,
    weights: Weights = None,
) -> None:
    """A page that shows how codecs work, with the model live in your browser."""
    from silkcodec.serve.explain import explain

    explain(port=port, open_browser=not no_browser, weights=weights)


def _options(
    metrics: str | None,
    models: list[str] | None,
    split: str | None,
    limit: int | None,
    seed: int,
    by: str | None,
    jobs: int | None,
    listen: int,
    force: bool,
    root: Path | None,
) -> Any:
    """What compare and score have in common, as `evaluate.run.Options`."""
    from silkcodec.evaluate.run import Options

    given = {}
    for text in models or []:
        key, equals, model = text.partition("=")
        if not (key and equals and model):
            raise ArgumentError(f"--model must be KEY=NAME_OR_PATH; got '{text}'.")
        given[key] = model
    names, columns = (None if text is None else _listed(text) for text in (metrics, by))
    return Options(names, given, split, limit, seed, columns, jobs, listen, force, root)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _report(work: Callable[[Any], dict[str, Any]], folder: Path, as_json: bool) -> None:
    """Do it, show the result, and fail at the end if anything in it did."""
    from silkcodec.cli import console
    from silkcodec.evaluate.report import failures

    with console.counting("measure") as progress:
        result = work(progress)
    if as_json:
        console.show_json(result)
    else:
        console.show_comparison(result, folder)
    failed = failures(result)
    if failed:
        more = f" (and {len(failed) - 1} more, see the report)" if len(failed) > 1 else ""
        raise SilkError(f"The rest is measured, but {failed[0]}{more}")


def _check_entropy(entropy: bool) -> None:
    """Before anything is encoded, not after."""
    if entropy:
        from silkcodec.container import payload

        payload.require()


def _load(
    threads: int | None, provider: str, weights: Path | None, *, encode: bool = False, decode: bool = False
) -> Silk:
    """The model, after everything else was checked; of it only what there is work for."""
    from silkcodec.silk import Silk

    codec = Silk(weights, threads=threads, provider=provider)
    codec.prepare(encode=encode, decode=decode)
    return codec


def _wing(module: str, what: str, extra: str) -> Any:
    """A module that needs an extra."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("silkcodec"):
            raise
        raise MissingExtraError(what, error.name, extra) from error


def _finish(failed: int, n_jobs: int) -> None:
    if n_jobs == 0:
        print("silk: nothing to do.", file=sys.stderr)
    if not failed:
        return
    if n_jobs > 1:
        print(f"silk: {failed} of {n_jobs} files failed; the others are done.", file=sys.stderr)
    raise typer.Exit(2)


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)  # through every `with`, so that unfinished files are removed


def main() -> None:
    """The entry point."""
    stdio.replace_closed()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except KeyboardInterrupt:  # before the verb began
        sys.exit(130)

