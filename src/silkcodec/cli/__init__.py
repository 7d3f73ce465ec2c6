"""Define the `silk` command-line program. Each command checks its paths and calls one function of the package.

    coding.py      encode, decode, roundtrip, info, codecs
    comparison.py  compare, score
    corpora.py     tokenize, detokenize
    serving.py     serve
    learning.py    explain
    verbs.py       the command group
    commands.py    commands from other distributions
    options.py     options shared by several commands
    paths.py       finds input files and chooses output paths
    console.py     prints results
    stdio.py       replaces closed standard streams

If a command raises a SilkError, `silk` prints one line to standard error and exits with code 2. After Ctrl-C, the exit
code is 130. Slow modules are imported only when a command runs, so that `silk --help` is fast. The rest of silkcodec
does not import this package.
"""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from silkcodec import __version__
from silkcodec.cli import stdio
from silkcodec.cli.verbs import Verbs

app = typer.Typer(
    cls=Verbs,
    name="silk",
    help="Silk: a neural speech codec at 47.5 tokens per second.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


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


def main() -> None:
    """Run the `silk` command-line program. This function is its entry point."""
    stdio.prepare()
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores SIGHUP.
            # The exception ends all `with` blocks, which removes unfinished files.
            signal.signal(number, lambda received, _: sys.exit(128 + received))
    try:
        app()
    except KeyboardInterrupt:  # Ctrl-C before a command started
        sys.exit(130)
