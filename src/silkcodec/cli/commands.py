"""Find commands that other packages add to `silk` through the entry point group `silkcodec.commands`.

    [project.entry-points."silkcodec.commands"]
    lab = "silkcodec_lab.cli:lab"          # command = "module:attribute", a typer.Typer or a click command

To start fast, `silk` searches this group only for `silk --help` and for commands that it does not define itself.
"""

from __future__ import annotations

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


def names() -> list[str]:
    """Return the names of the commands that other installed distributions add.

    Commands of this project come first, in the order of `INSTALL`. The other names are sorted.
    """
    found = {entry.name for entry in entry_points(group=GROUP)}
    return [*(name for name in INSTALL if name in found), *sorted(found - INSTALL.keys())]


def missing() -> dict[str, str]:
    """Return the pip commands that install missing commands of this project, keyed by command name."""
    installed = names()
    return {name: command for name, command in INSTALL.items() if name not in installed}


def find(name: str) -> Any:
    """Return the click command with the given name, or None if no distribution adds it.

    If the command cannot be imported, the returned command raises a SilkError when it is called, so that `silk --help`
    still works.

    Raises:
        SilkError: the command is part of this project but is not installed.
    """
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is not None:
        return _load(entry)
    if name in INSTALL:
        raise SilkError(f"'silk {name}' is not installed. Run in a checkout of Silk: {INSTALL[name]}")
    return None


def _load(entry: EntryPoint) -> Any:
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
