"""Define the `silk` command group."""

from __future__ import annotations

import errno
import inspect
import os
import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from silkcodec.cli import stdio
from silkcodec.errors import SilkError

SECTIONS: dict[str, dict[str, str]] = {
    "Codec": dict.fromkeys(("encode", "decode", "roundtrip", "info", "codecs"), "coding"),
    "Comparison": dict.fromkeys(("compare", "score"), "comparison"),
    "Corpus and server": {"tokenize": "corpora", "detokenize": "corpora", "serve": "serving"},
    "Training": {},
    "Learning": {"explain": "learning"},
}
"""The sections of `silk --help`. Each maps the names of commands to the modules that define them."""

ELSEWHERE = "Added by other distributions"  # section for commands without a `rich_help_panel`


def _function(section: str, name: str) -> Any:
    return getattr(import_module(f"silkcodec.cli.{SECTIONS[section][name]}"), name)


class Verbs(TyperGroup):
    """The `silk` command group, which includes commands from other distributions.

    To start quickly, the group imports a command's module and inspects the command's options only when the command is
    used. `silk --help` imports the modules of all commands.
    """

    commands: Any

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: section for section, names in SECTIONS.items() for name in names}

    def list_commands(self, ctx: Any) -> list[str]:
        from silkcodec.cli import commands

        return list(dict.fromkeys([*self.commands, *commands.entries()]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in self.commands:
            section = self.commands[cmd_name]
            app = typer.Typer(add_completion=False, rich_markup_mode=None)
            app.command(cmd_name, rich_help_panel=section)(_function(section, cmd_name))
            return typer.main.get_command(app)
        from silkcodec.cli import commands  # Imported here because most commands do not need it.

        return commands.find(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run a command and convert its errors to exit codes."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()  # reports a full disk here instead of when the interpreter exits
            return result
        except SilkError as error:
            print(f"silk: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from None
        except OSError as error:
            if error.errno == errno.EPIPE:  # Click ends the program without a message.
                raise
            name = f"'{os.fspath(error.filename)}': " if error.filename else ""
            print(f"silk: {name}{error.strerror or error}.", file=sys.stderr)
            stdio.discard_output()
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("silk: interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands in sections."""
        from silkcodec.cli import commands

        found: dict[str, Any] = {
            name: TyperCommand(name, help=inspect.getdoc(_function(section, name)), rich_help_panel=section)
            for name, section in self.commands.items()
        }
        added = commands.entries()
        found |= {name: commands.load(entry) for name, entry in added.items() if name not in found}
        shown = {name: command for name, command in found.items() if not command.hidden}
        width = max(map(len, shown))
        sections: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        for name, command in shown.items():
            panel = getattr(command, "rich_help_panel", None)
            section = panel if isinstance(panel, str) else ELSEWHERE
            line = (name.ljust(width), command.get_short_help_str(formatter.width - 6 - width))
            sections.setdefault(section, []).append(line)
        sections["Not installed"] = [(name.ljust(width), command) for name, command in commands.missing(added).items()]
        for section, lines in sections.items():
            if lines:
                with formatter.section(section):
                    formatter.write_dl(lines)
