"""Define `silk lab`, with one subcommand per experiment.

`silk --help` imports this module, so large libraries and the experiments' own modules are imported only when they are
used.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from silkcodec_lab.command_options import Force

COMMANDS = ("lm-cost", "quantization-error", "residual", "coverage", "robustness", "bandwidth", "gradient")


class Experiments(TyperGroup):
    """Group the `silk lab` commands, and import an experiment's module only when its command is used."""

    commands: Any

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = dict.fromkeys(COMMANDS) | self.commands

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        function = cmd_name.replace("-", "_")
        module = import_module(f"silkcodec_lab.{function}.command")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(cmd_name)(getattr(module, function))
        return typer.main.get_command(app)


lab = typer.Typer(
    cls=Experiments,
    name="lab",
    help="Run experiments on quantizers and tokens.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    rich_help_panel="Learning",
)


@lab.callback()
def _group() -> None:
    """Make `silk lab` a command group.

    Without this callback, Typer would run `page`, the only registered command, as `silk lab` itself.
    """


@lab.command("page")
def write_page(
    results: Annotated[list[Path], typer.Argument(metavar="JSON...", help="Experiment results.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Output folder for pages and figures.")],
    force: Force = False,
) -> None:
    """Write the pages and figures for existing results."""
    from silkcodec.errors import ArgumentError
    from silkcodec_lab import pages

    loaded = {path: pages.load_result(path) for path in results}
    for path, result in loaded.items():
        try:
            written = pages.write(result, output, overwrite=force)
        except KeyError as error:
            raise ArgumentError(f"The result in '{path}' lacks the field {error}. Rerun the experiment.") from error
        for page in written:
            print(page)
