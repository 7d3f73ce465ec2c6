"""Test the deployment of the server: container, systemd unit and documentation."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from repository import ROOT

DOCUMENT = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("server.md", "protocol.md"))


def test_the_dockerfile_passes_the_linter() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint")
    result = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout


def test_the_dockerfile_copies_existing_files_and_is_not_root() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for words in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for word in words.split():
            assert (ROOT / word).exists() and f"!{word}" in ignored
    assert text.count("\nFROM ") == 2 and re.search(r"^USER 10001$", text, re.MULTILINE)


def test_the_image_installs_only_hashed_packages() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    installs = re.findall(r"pip (?:install|wheel|download) (.*)", text)
    locks = [re.search(r"--require-hashes --only-binary :all: -r (\S+)", options) for options in installs]
    assert all(lock or "--no-deps --no-index" in options for lock, options in zip(locks, installs, strict=True))
    assert [lock.group(1) for lock in locks if lock] == ["image.txt", "image-build.txt"]
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON_IMAGE}"}  # allows users to pass a digest
    assert "--build-arg PYTHON_IMAGE=" in DOCUMENT


def test_the_locks_are_complete_and_match_the_constraints() -> None:
    """Check that the files from `make lock` have every direct requirement, with the versions in constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = project["project"]["dependencies"] + project["project"]["optional-dependencies"]["serve"]
    pinned = pins(ROOT / "constraints.txt")
    for name, needed in (("image.txt", wanted), ("image-build.txt", project["build-system"]["requires"])):
        lock = pins(ROOT / "requirements" / name)
        assert {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in needed} <= lock.keys()
        assert {package: pinned.get(package) for package in lock} == lock
        text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
        entries = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)
        assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries[1:])


def test_the_packages_of_the_site_are_locked() -> None:
    """Check that the packages have hashes, and the versions in constraints.txt if it lists them."""
    pinned, lock = pins(ROOT / "constraints.txt"), pins(ROOT / "requirements" / "docs.txt")
    assert {"mkdocs", "mkdocs-material", "mkdocstrings-python"} <= lock.keys()
    assert {name: version for name, version in lock.items() if pinned.get(name, version) != version} == {}
    text = (ROOT / "requirements" / "docs.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=\S+==)", text, flags=re.MULTILINE)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", entry) for entry in entries[1:])


def normal(name: str) -> str:
    """Return the normalized name of a package."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: Path) -> dict[str, str]:
    lines = re.findall(r"^(\S+?)==([^\s;]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {normal(name): version for name, version in lines}


def test_the_unit_is_valid(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    text = (ROOT / "deploy" / "silk.service").read_text(encoding="utf-8")
    unit = tmp_path / "silk.service"
    unit.write_text(text.replace("/opt/silk/bin/silk", sys.executable), encoding="utf-8")
    result = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0 and "silk.service" not in result.stderr, result.stderr


def test_the_docs_list_every_option_metric_and_close_code() -> None:
    metrics = pytest.importorskip("silkcodec.serve.prometheus", reason="needs [serve]").Metrics()
    for family in metrics.registry.collect():
        name = family.name + "_total" * (family.type == "counter")  # as GET /metrics shows it
        assert f"`{name}`" in DOCUMENT, name
    command = (ROOT / "src" / "silkcodec" / "cli" / "serving.py").read_text(encoding="utf-8")
    known = {"--host", "--port", "--token-file", "--weights"}  # not limits
    for option in set(re.findall(r'"(--[a-z-]+)"', command)) - known:
        assert f"`{option}`" in DOCUMENT, option
    for code in (1000, 1001, 1008, 1009, 1011, 1012, 1013):
        assert f"| {code} |" in DOCUMENT


def test_the_documented_limits_are_the_defaults() -> None:
    from silkcodec.serve.settings import Limits

    limits = Limits()
    assert (limits.body_bytes >> 20, limits.duration_s, limits.sessions, limits.per_minute) == (32, 600, 64, 600)
    for fixed in (
        f"waiting | {limits.files} |",
        f"being processed, per stream | {limits.window_frames};",
        f"duration of a stream | {limits.session_s / 3600:g} hours |",
        f"without a message | {limits.idle_s:g} s |",
        f"to accept a response | {limits.send_s:g} s |",
        f"time to receive the request headers | {limits.header_s:g} s |",
        f"within {limits.upload_s:g} s",
        f"within {limits.job_s:g} s",
        f"| {limits.pressed_s:g} s |",
        f"more than {limits.client_waiting} connections from the address or {limits.waiting} in total",
        f"| {limits.most_waiting:,};",
        f"| {limits.requests}, at most {limits.client_requests} of them from one address |",
        f"| {limits.stream_messages:,} per second |",
        f"| {limits.stream_bytes >> 20} MiB per second |",
        f"over {limits.text_chars:,} characters",
        f"; {limits.json_bytes / 1e6:.0f} MB in total by default |",
        f"| {limits.worker_bytes >> 30} GiB |",
    ):
        assert fixed in DOCUMENT, fixed
