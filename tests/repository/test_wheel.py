"""Test that a wheel with only its declared dependencies imports every light module and runs `silk roundtrip`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from repository import ROOT

pytestmark = pytest.mark.slow

HEAVY = ("serve",)  # needs an extra
LIGHT_OF_HEAVY = ["silkcodec.cli.serving"]  # for `silk serve --help`


def run(*command: str, env: dict[str, str] | None = None, cwd: Path | None = None) -> str:
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}: {done.stderr[-2000:]}"
    return done.stdout


def needed(lines: list[str]) -> set[str]:
    """Return the names in requirement lines that apply here without any extra."""
    found = [Requirement(line) for line in lines]
    return {r.name.lower() for r in found if r.marker is None or r.marker.evaluate({"extra": ""})}


def closure(names: set[str], seen: set[str]) -> set[str]:
    """Return the names of distributions and of all their requirements."""
    for name in names - seen:
        seen.add(name)
        closure(needed(metadata.requires(name) or []), seen)
    return seen


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a folder with only the unpacked wheel and links to its declared dependencies."""
    dist = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist), str(ROOT))
    (wheel,) = dist.glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
        (meta,) = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        declared = re.findall(r"^Requires-Dist: (.+)$", archive.read(meta).decode(), re.M)
    for name in closure(needed(declared), set()):
        for file in metadata.files(name) or []:
            top = file.parts[0]
            source = Path(str(metadata.distribution(name).locate_file(top)))
            if top not in ("..", "__pycache__") and source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return site


@pytest.fixture
def python(bare: Path) -> list[str]:
    """Run Python with only that folder; -S excludes the packages of this environment."""
    return [sys.executable, "-S", "-c"]


def test_every_light_module_imports_without_extras(bare: Path, python: list[str], tmp_path: Path) -> None:
    package = bare / "silkcodec"
    modules = sorted(
        ".".join(("silkcodec", *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0] not in HEAVY
        and path.parent.name != "html"  # of the report, which needs Jinja2
        and path.name != "__main__.py"
    )
    assert len(modules) > 20
    code = f"import importlib; [importlib.import_module(m) for m in {modules + LIGHT_OF_HEAVY!r}]"
    run(*python, code, env={"PYTHONPATH": str(bare), "PATH": os.environ["PATH"]}, cwd=tmp_path)


def test_roundtrip_runs_without_extras(bare: Path, python: list[str], tmp_path: Path) -> None:
    sample = ROOT / "samples" / "english.flac"
    code = "import sys; from silkcodec.cli import main; sys.argv[0] = 'silk'; main()"
    env = {"PYTHONPATH": str(bare), "PATH": os.environ["PATH"]}
    out = run(*python, code, "roundtrip", str(sample), "-o", "out", env=env, cwd=tmp_path)
    assert "47.5" in out
    assert {p.suffix for p in (tmp_path / "out").iterdir()} == {".silk", ".wav", ".png"}


def test_the_wheel_carries_the_model_and_its_card(bare: Path) -> None:
    weights = bare / "silkcodec" / "silk" / "weights"
    assert {"config.json", "encoder.onnx", "decoder.onnx", "README.md"} <= {p.name for p in weights.iterdir()}
    assert sum(p.stat().st_size for p in weights.glob("*.onnx")) < 40e6
