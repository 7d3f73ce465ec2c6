"""Find verbs of `silk` that other distributions add through the entry point group `silkcodec.commands`.

    [project.entry-points."silkcodec.commands"]
    lab = "silkcodec_lab.cli:lab"          # verb = "module:attribute", a typer.Typer or a click command

The group is read only for `silk --help` and for verbs that `silk` does not define itself.
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
}  # Verbs of this project in separate distributions, which are installed from a checkout.


def names() -> list[str]:
    """Return the verbs that installed distributions add: those of `INSTALL` in its order, then the rest, sorted."""
    found = {entry.name for entry in entry_points(group=GROUP)}
    return [*(name for name in INSTALL if name in found), *sorted(found - INSTALL.keys())]


def missing() -> dict[str, str]:
    """Return the verbs in `INSTALL` that are not installed, each with the command that installs it."""
    installed = names()
    return {name: command for name, command in INSTALL.items() if name not in installed}


def find(name: str) -> Any:
    """Return the click command of a verb, or None if no distribution adds it.

    If a verb cannot be imported, its command raises a SilkError when it is called, so that `silk --help` still works.

    Raises:
        SilkError: the verb is in `INSTALL` and is not installed.
    """
    entry = next(iter(entry_points(group=GROUP, name=name)), None)
    if entry is not None:
        return _load(entry)
    if name in INSTALL:
        raise SilkError(f"'silk {name}' is not installed; in a checkout of Silk, run: {INSTALL[name]}")
    return None


def _load(entry: EntryPoint) -> Any:
    try:
        command = entry.load()
    except Exception as error:  # Code of another distribution can raise any exception.
        command = _broken(entry, error)
    if not isinstance(command, typer.Typer):
        return command
    verb: Any = typer.main.get_command(command)
    if isinstance(command.rich_help_panel, str):  # get_command drops it.
        verb.rich_help_panel = command.rich_help_panel
    return verb


def _broken(entry: EntryPoint, error: Exception) -> typer.Typer:
    source = entry.dist.name if entry.dist else entry.value
    app = typer.Typer()

    @app.command(entry.name, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
    def fail() -> None:
        """Cannot be loaded."""
        raise SilkError(f"'silk {entry.name}' cannot be loaded; reinstall '{source}': {type(error).__name__}: {error}")

    return app
