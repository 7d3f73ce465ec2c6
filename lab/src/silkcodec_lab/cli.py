"""Define `silk lab`, with one subcommand per experiment.

`silk --help` imports this module, so large libraries are imported only inside functions.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from silkcodec_lab.bandwidth.command import bandwidth
from silkcodec_lab.command_options import Force
from silkcodec_lab.coverage.command import coverage
from silkcodec_lab.gradient.command import gradient
from silkcodec_lab.lm_cost.command import lm_cost
from silkcodec_lab.quantization_error.command import quantization_error
from silkcodec_lab.residual.command import residual
from silkcodec_lab.robustness.command import robustness

COMMANDS: tuple[Callable[..., None], ...] = (
    lm_cost,
    quantization_error,
    residual,
    coverage,
    robustness,
    bandwidth,
    gradient,
)
OLD_NAMES: dict[str, Callable[..., None]] = {
    "burden": lm_cost,
    "snap": quantization_error,
}  # hidden aliases, to be removed in the next release

lab = typer.Typer(
    name="lab",
    help="Run experiments on quantizers and tokens.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    rich_help_panel="Learning",
)
for command in COMMANDS:
    lab.command(command.__name__.replace("_", "-"))(command)
for old_name, renamed in OLD_NAMES.items():
    lab.command(old_name, hidden=True)(renamed)


@lab.command("page")
def write_page(
    results: Annotated[list[Path], typer.Argument(metavar="JSON...", help="Results of experiments.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder for pages and figures.")],
    force: Force = False,
) -> None:
    """Write the pages and figures of existing results."""
    from silkcodec_lab import pages

    loaded = [pages.load_result(path) for path in results]
    for result in loaded:
        for path in pages.write(result, output, overwrite=force):
            print(path)
