"""Find commands that other packages add to `silk` through the `silkcodec.commands` entry point group.

    [project.entry-points."silkcodec.commands"]
    lab = "silkcodec_lab.cli:lab"          # command = "module:attribute", a typer.Typer or a click command

To start quickly, `silk` reads this group only to show `silk --help` or to run a command that it does not define
itself.
"""

from __future__ import annotations

from collections.abc import Collection
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import typer

from silkcodec.errors import SilkError

GROUP = "silkcodec.commands"
INSTALL = {
    "train": "pip install ./pytorch",
    "export": "pip install ./pytorch",
    "lab": "pip install ./pytorch ./lab",
}  # commands of this project in other distributions, and how to install them from a checkout


def entries() -> dict[str, EntryPoint]:
    """Return the entry points of the commands that other installed distributions add, keyed by command name.

    Commands from this project's own distributions come first, in the order of `INSTALL`. The other names are sorted.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    order = [*(name for name in INSTALL if name in found), *sorted(found.keys() - INSTALL.keys())]
    return {name: found[name] for name in order}


def missing(installed: Collection[str]) -> dict[str, str]:
    """Return a `pip install` command for each command of this project that is not installed, keyed by name."""
    return {name: command for name, command in INSTALL.items() if name not in installed}


def find(name: str) -> Any:
    """Return the click command with the given name, or None if no distribution adds it.

    Raises:
        SilkError: the command is part of this project but is not installed.
    """
    entry = entries().get(name)
    if entry is None and name in INSTALL:
        raise SilkError(f"'silk {name}' is not installed. In a checkout of Silk, run: {INSTALL[name]}")
    return None if entry is None else load(entry)


def load(entry: EntryPoint) -> Any:
    """Load the click command that an entry point refers to.

    If the import fails, return a command that raises a SilkError when it is called, so that `silk --help` still works.
    """
    try:
        command = entry.load()
    except Exception as error:  # Importing another distribution can raise any exception.
        command = _broken(entry, error)
    if not isinstance(command, typer.Typer):
        return command
    verb: Any = typer.main.get_command(command)
    if isinstance(command.rich_help_panel, str):  # get_command does not keep it.
        verb.rich_help_panel = command.rich_help_panel
    return verb


def _broken(entry: EntryPoint, error: Exception) -> typer.Typer:
    source = entry.dist.name if entry.dist else entry.value
    app = typer.Typer()

    options = {"ignore_unknown_options": True, "allow_extra_args": True}

    @app.command(entry.name, help="This command cannot be loaded.", context_settings=options)
    def fail() -> None:
        reason = f"{type(error).__name__}: {str(error).rstrip('.')}"
        raise SilkError(f"Cannot load 'silk {entry.name}': {reason}. Reinstall '{source}'.")

    return app
