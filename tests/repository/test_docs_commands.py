"""Run every command in README.md and docs/ unchanged, or only parse it and state why it is not run."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from repository import ROOT
from waiting import PATIENCE_S, wait_until

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = (
    "silk",
    "pip",
    "python",
    "python3",
    "curl",
    "make",
    "docker",
    "hf",
    "torchrun",
    "export",
    "openssl",
    "cp",
    "npm",
)

# Start of each command that is not run -> reason. The arguments of `silk` commands are checked even if they do not run.
NOT_RUN = {
    "make": "sets up environments, or runs for minutes to hours",
    "pip install": "installs from the network",
    "python3 -m venv": "installs from the network, and writes to /opt",
    "openssl rand -hex 32 | install": "writes to /etc",
    "cp deploy/silk.service": "writes to /etc, and starts a service",
    "docker": "needs Docker and a registry",
    "hf download": "needs the network",
    "torchrun": "needs several GPUs",
    "python bench/": "measures for minutes to hours",
    "python pytorch/synthesis/": "needs a downloaded model, and makes hours of speech",
    "npm --prefix web ci": "installs from the network",
    "npm pack": "writes into the checkout; tests/web/test_codec_package.py packs the package and uses it",
    "npm install": "installs from the network",
    "silk train": "trains for hours",
    "silk export runs/": "needs a run that was trained for hours",
    "silk export -o hub/silk": "needs PyTorch; pytorch/tests/hf/test_transformers.py runs it",
    "silk explain": "needs the page, which Node.js builds",
    "silk compare": "needs the weights of other codecs or recognizers, or runs for minutes",
    "silk score": "runs every metric that is installed, for a minute; tests/evaluate/test_score.py runs it",
    "silk tokenize /mnt": "needs a cluster",
}


@dataclass(frozen=True)
class Command:
    """Hold a command, its page and the number of its code block."""

    page: str
    block: int
    text: str

    @property
    def reason(self) -> str | None:
        """Return the reason why the command is not run, or None if it is run."""
        return next((why for start, why in NOT_RUN.items() if f"{self.text} ".startswith(start)), None)


def commands(page: Path) -> Iterator[Command]:
    """Yield the commands in shell blocks, and the commands in unmarked or indented blocks that start with a program."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    name = str(page.relative_to(ROOT))
    for n, match in enumerate(re.finditer(r"^```(\w*)[^\n]*\n(.*?)^```|((?:^    \S.*\n)+)", text, re.S | re.M)):
        kind, fenced, indented = match.groups()
        if kind not in ("", "sh", "bash", "console", None):
            continue
        for line in (fenced or indented).splitlines():
            words = shlex.split(line, comments=True) if line.count("'") % 2 == 0 else line.split()
            is_command = bool(words) and (words[0] in PROGRAMS or bool(re.match(r"[A-Z_]+=", words[0])))
            if is_command:
                yield Command(name, n, re.sub(r"\s+# .*", "", line).strip())
            else:
                assert kind not in ("sh", "bash", "console") or not words, f"{name}: '{line}' is not a known command"


ALL = [command for page in PAGES for command in commands(page)]
INLINE = [
    Command(str(page.relative_to(ROOT)), -1, text)
    for page in PAGES
    for text in re.findall(r"`(silk [a-z][^`|\n]*)`", page.read_text(encoding="utf-8"))
]


def words_of(command: Command) -> list[str]:
    return [word for word in shlex.split(command.text, comments=True) if not re.match(r"[A-Z_]+=", word)]


@pytest.mark.parametrize("command", [*ALL, *INLINE], ids=lambda command: f"{command.page}: {command.text}")
def test_the_command_is_one(command: Command) -> None:
    """Check that programs, options, targets, extras and scripts exist, even if the command is not run."""
    words = words_of(command)
    if words[0] == "silk":
        if command.text != "silk shout":  # another package's, in the page on such packages
            parse(words[1:], whole=command.block >= 0)
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
        assert {word for word in words[1:] if "=" not in word} <= set(targets)
    elif words[0] == "python" and words[1].endswith(".py"):
        shown = subprocess.run(
            [sys.executable, ROOT / words[1], "--help"], capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert shown.returncode == 0 and all(word in shown.stdout for word in words[2:] if word.startswith("--"))
    for folder, extras in re.findall(r"(\.(?:/\w+)?|silkcodec)\[([\w,-]+)\]", command.text):
        file = ROOT / folder.replace("silkcodec", ".") / "pyproject.toml"
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        assert set(extras.split(",")) <= set(project["optional-dependencies"])


def parse(words: list[str], whole: bool) -> None:
    """Parse arguments like `silk`, without running it. `whole`: require all required arguments."""
    from typer.main import get_command

    from silkcodec.cli import app
    from silkcodec.cli.commands import entries, missing

    command: Any = get_command(app)
    context = None
    while hasattr(command, "get_command") and words:
        name, *words = words
        if context is None and name in missing(entries()):
            pytest.skip(f"needs: {missing(entries())[name]}")
        found = command.get_command(context, name)
        assert found is not None, f"silk has no command '{name}'"
        command = found
    try:
        if words or whole:
            command.make_context("silk", list(words))
    except Exception as error:
        if whole or type(error).__name__ != "MissingParameter":
            raise AssertionError(str(error)) from error


def test_extras_are_installed_from_a_checkout() -> None:
    """Silk is not on PyPI, so `pip install 'silkcodec[serve]'` works only where it is installed already."""
    installs = [one for one in [*ALL, *INLINE] if re.search(r"pip install (\S+ )*'?silkcodec", one.text)]
    assert [f"{one.page}: {one.text}" for one in installs] == []


def test_what_is_not_run_is_there() -> None:
    unused = [start for start in NOT_RUN if not any(f"{one.text} ".startswith(start) for one in [*ALL, *INLINE])]
    assert [start for start in unused if start not in ("torchrun", "silk explain")] == []


BLOCKS = sorted({(one.page, one.block) for one in ALL if one.reason is None})


@pytest.mark.slow
@pytest.mark.parametrize(("page", "block"), BLOCKS)
def test_the_block_runs(page: str, block: int, tmp_path: Path) -> None:
    """Run a block line by line, in a folder with the files that the pages use. The server selects a free port."""
    lines = [one.text for one in ALL if (one.page, one.block) == (page, block) and one.reason is None]
    if any("tokenize" in line for line in lines):
        pytest.importorskip("pyarrow", reason="needs [corpus]")
    for program in {line.split()[0] for line in lines} & {"curl", "openssl"}:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    prepare(tmp_path)
    address = "no server has started"
    with shell(tmp_path) as run:
        for line in lines:
            if line.startswith("silk serve"):
                pytest.importorskip("uvicorn", reason="needs [serve]")
                run(line.replace("0.0.0.0", "127.0.0.1") + " --port 0 --workers 1 &")
                address = server_address(tmp_path / "shell.txt")
            else:
                run(re.sub(r"http://(127\.0\.0\.1|HOST):8000", address, line))
    for target in (word for line in lines for word in re.findall(r"-o ([^\s-]\S*)", line)):
        assert (tmp_path / target).exists(), f"{target} was not written"


def prepare(folder: Path) -> None:
    """Create the files that the pages use. Each contains one second of a sample."""
    from silkcodec import audio
    from silkcodec.silk import EMBEDDED

    wave = audio.read(ROOT / "samples" / "english.flac")[:24_000]
    for name in ("speech.wav", "talk.flac", "recordings/a.wav", "recordings/clip000.wav", "speech/clip000.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        audio.write(folder / name, wave)
    audio.write(folder / "speech" / "other.wav", wave[::-1].copy())
    audio.write(folder / "speech" / "third.wav", wave / 2)
    shutil.copytree(EMBEDDED, folder / "weights" / "mine")


@contextmanager
def shell(folder: Path) -> Iterator[Any]:
    """Start a shell in a folder, with the `silk` of this checkout. If a line fails, the test fails."""
    (folder / "bin").mkdir()
    silk = folder / "bin" / "silk"
    silk.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m silkcodec.cli "$@"\n', encoding="utf-8")
    silk.chmod(0o755)
    environment = {**os.environ, "PATH": f"{silk.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    environment.pop("SILK_TOKEN", None)
    with open(folder / "shell.txt", "w+", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["sh"], stdin=subprocess.PIPE, stdout=output, stderr=output, text=True, cwd=folder, env=environment
        )
        assert process.stdin is not None

        def run(line: str) -> None:
            assert process.stdin is not None
            done = folder / "done"
            done.unlink(missing_ok=True)
            process.stdin.write(f"{line}\necho $? > done.part; mv done.part done\n")
            process.stdin.flush()
            wait_until(done.exists)
            status = done.read_text(encoding="utf-8").strip()
            assert status == "0", f"{line}: exit {status}\n{(folder / 'shell.txt').read_text(encoding='utf-8')}"

        try:
            yield run
        finally:
            process.stdin.write('[ -z "$!" ] || kill "$!"; wait\n')  # $!: the server
            process.stdin.close()
            process.wait(PATIENCE_S)


def server_address(log: Path) -> str:
    """Return the address of the server, once its log says that it has a worker for streams and one for files."""
    ready = re.compile(r'"event": "listening".*"port": (\d+)(?s:.*"event": "worker ready"){2}')
    return f"http://127.0.0.1:{wait_until(lambda: ready.search(log.read_text(encoding='utf-8')))[1]}"
