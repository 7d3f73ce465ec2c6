"""Test commands of other distributions, including missing and broken ones."""

from __future__ import annotations

import importlib.metadata
import sys
from importlib.metadata import EntryPoint, EntryPoints
from types import ModuleType
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from silkcodec.cli import app, commands
from silkcodec.errors import ArgumentError

GROUP = "silkcodec.commands"
VERBS = [
    *("encode", "decode", "roundtrip", "info", "codecs", "compare", "score"),
    *("tokenize", "detokenize", "serve", "explain"),
]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the `shout` command and a command that cannot be imported."""
    module = ModuleType("shouting")
    module.shout = shout = typer.Typer()  # type: ignore[attr-defined]

    @shout.command()
    def say(text: str) -> None:
        """Print a text in capital letters."""
        if not text:
            raise ArgumentError("The text must not be empty.")
        print(text.upper())

    monkeypatch.setitem(sys.modules, "shouting", module)
    points = EntryPoints(
        [EntryPoint("shout", "shouting:shout", GROUP), EntryPoint("broken", "no_such_module:verb", GROUP)]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", points.select)
    monkeypatch.setattr(commands, "entry_points", points.select)


def run(*words: str) -> Any:
    return CliRunner().invoke(app, list(words))


def test_a_command_of_another_distribution_runs_and_is_listed(installed: None) -> None:
    assert run("shout", "hello").stdout == "HELLO\n"
    assert "Print a text in capital letters." in run("--help").stdout


def test_errors_of_other_distributions_are_one_line(installed: None) -> None:
    done = run("shout", "")
    assert (done.exit_code, done.stderr) == (2, "silk: The text must not be empty.\n")


def test_a_broken_command_does_not_affect_other_commands(installed: None) -> None:
    assert run("--help").exit_code == 0 and run("shout", "x").exit_code == 0
    done = run("broken", "--any", "thing")
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "no_such_module" in done.stderr


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["lab", "lm-cost", "speech"], "pip install ./pytorch ./lab"),
        (["train", "tiny", "-o", "run"], "pip install ./pytorch"),
        (["export", "--help"], "pip install ./pytorch"),
    ],
)
def test_the_error_for_a_missing_command_says_how_to_install_it(
    installed: None, words: list[str], command: str
) -> None:
    done = run(*words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.endswith(f": {command}\n")
    listed = run("--help").stdout.split("Not installed:")[1].splitlines()
    assert [words[0], *command.split()] in [line.split() for line in listed]


def test_an_unknown_command_is_an_error(installed: None) -> None:
    assert run("nonesuch").exit_code == 2


def test_other_distributions_cannot_replace_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    points = EntryPoints([EntryPoint("encode", "no_such_module:verb", GROUP)])
    monkeypatch.setattr(commands, "entry_points", points.select)
    assert "cannot be loaded" not in run("--help").stdout
    assert run("encode", "--help").exit_code == 0


def test_help_lists_every_command_once_by_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "entry_points", EntryPoints([]).select)
    lines = run("--help").stdout.splitlines()
    sections = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    expected = ["Options:", "Codec:", "Comparison:", "Corpus and server:", "Learning:", "Not installed:"]
    assert sections == expected
    listed = [line.split()[0] for line in lines if line.startswith("  ") and not line.startswith("   ")]
    own = [name for name in listed if name in VERBS]
    assert own == VERBS


def test_a_command_of_another_distribution_can_select_its_section(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sectioned")
    module.app = section = typer.Typer(rich_help_panel="Learning")  # type: ignore[attr-defined]
    section.command("one")(lambda: None)
    section.command("two")(lambda: None)
    monkeypatch.setitem(sys.modules, "sectioned", module)
    points = EntryPoints([EntryPoint("sectioned", "sectioned:app", GROUP)])
    monkeypatch.setattr(commands, "entry_points", points.select)
    learning = run("--help").stdout.split("Learning:")[1]
    assert "sectioned" in learning and "Added by" not in learning
