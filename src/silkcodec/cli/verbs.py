"""Define the command group of `silk`."""

from __future__ import annotations

import sys
from typing import Any

import typer
from typer.core import TyperGroup

from silkcodec.errors import SilkError

SECTION_ORDER = ("Codec", "Comparison", "Corpus and server", "Training", "Learning")
ELSEWHERE = "Added by other distributions"  # section for commands without a `rich_help_panel`


class Verbs(TyperGroup):
    """The command group of `silk`, which includes commands from other distributions."""

    def list_commands(self, ctx: Any) -> list[str]:
        from silkcodec.cli import commands

        own = super().list_commands(ctx)
        return [*own, *(name for name in commands.names() if name not in own)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        from silkcodec.cli import commands  # Imported here because most commands do not need it.

        return commands.find(cmd_name)

    def invoke(self, ctx: Any) -> Any:
        """Run a command and convert its errors to exit codes."""
        try:
            return super().invoke(ctx)
        except SilkError as error:
            print(f"silk: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            print("silk: interrupted.", file=sys.stderr)
            raise typer.Exit(130) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands in sections."""
        from silkcodec.cli import commands as added

        sections: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTION_ORDER}
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        shown = [(name, command) for name, command in commands if command is not None and not command.hidden]
        width = max(len(name) for name, _ in shown)
        for name, command in shown:
            panel = getattr(command, "rich_help_panel", None)
            section = panel if isinstance(panel, str) else ELSEWHERE
            line = (name.ljust(width), command.get_short_help_str(formatter.width - 6 - width))
            sections.setdefault(section, []).append(line)
        sections["Not installed"] = [(name.ljust(width), command) for name, command in added.missing().items()]
        for section, lines in sections.items():
            if lines:
                with formatter.section(section):
                    formatter.write_dl(lines)
