"""`silk lab`: one verb per experiment. Nothing heavy is imported here, so that `silk lab --help` answers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec_lab.bandwidth.verb import bandwidth
from silkcodec_lab.coverage.verb import coverage
from silkcodec_lab.gradient.verb import gradient
from silkcodec_lab.lm_cost.verb import lm_cost
from silkcodec_lab.quantization_error.verb import quantization_error
from silkcodec_lab.residual.verb import residual
from silkcodec_lab.robustness.verb import robustness
from silkcodec_lab.verbs import Force

VERBS = (lm_cost, quantization_error, residual, coverage, robustness, bandwidth, gradient)
OLD_NAMES = {"burden": lm_cost, "snap": quantization_error}  # hidden, and removed in the next release

lab = typer.Typer(
    name="lab",
    help="Experiments: what quantizers lose, what tokens cost.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    rich_help_panel="Learning",
)
for verb in VERBS:
    lab.command(verb.__name__.replace("_", "-"))(verb)
for name, verb in OLD_NAMES.items():
    lab.command(name, hidden=True)(verb)


@lab.command("page")
def write_page(
    results: Annotated[list[Path], typer.Argument(metavar="JSON...", help="Results of experiments.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pages and figures.")],
    force: Force = False,
) -> None:
    """Write the pages of results again."""
    from silkcodec_lab import pages

    loaded = [pages.load_result(path) for path in results]
    for result in loaded:
        for path in pages.write(result, output, overwrite=force):
            print(path)
