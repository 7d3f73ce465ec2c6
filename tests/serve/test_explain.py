"""Test `silk explain`: the files that its server returns, the access to it, and its errors."""

from __future__ import annotations

import gzip
import http.client
import re
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silkcodec.cli import app
from silkcodec.errors import ArgumentError, SilkError, WeightsError
from silkcodec.serve import explain
from webserver import running


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Write a minimal built page."""
    folder = tmp_path / "site"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>How codecs work</title>", encoding="utf-8")
    (folder / "assets" / "runtime-1a2b.wasm").write_bytes(b"\0asm")
    (tmp_path / "secret.txt").write_text("not for the page", encoding="utf-8")
    return folder


@pytest.fixture
def page(site: Path) -> Iterator[ThreadingHTTPServer]:
    server = explain.server(site=site)
    with running(server):
        yield server


def get(
    page: ThreadingHTTPServer, path: str, method: str = "GET", accept_encoding: str = "identity"
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", page.server_port, timeout=60)
    connection.request(method, path, headers={"Accept-Encoding": accept_encoding})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_it_serves_the_page_and_the_embedded_weights(page: ThreadingHTTPServer) -> None:
    response, body = get(page, "/")
    assert response.status == 200 and b"How codecs work" in body
    assert response.headers["Content-Type"].startswith("text/html")
    response, body = get(page, "/assets/runtime-1a2b.wasm")
    assert response.headers["Content-Type"] == "application/wasm" and "immutable" in response.headers["Cache-Control"]
    response, body = get(page, "/weights/config.json")
    assert body == (explain.WEIGHTS / "config.json").read_bytes()
    response, _ = get(page, "/weights/encoder.onnx", "HEAD")
    assert int(response.headers["Content-Length"]) == (explain.WEIGHTS / "encoder.onnx").stat().st_size


def test_it_serves_compressed_files_to_clients_that_accept_them(page: ThreadingHTTPServer, site: Path) -> None:
    (site / "assets" / "runtime-1a2b.wasm.br").write_bytes(b"small")
    for accepted, encoding, expected in (
        ("gzip, deflate, br;q=0.9", "br", b"small"),
        ("gzip", None, b"\0asm"),
        ("identity", None, b"\0asm"),
    ):
        response, body = get(page, "/assets/runtime-1a2b.wasm", accept_encoding=accepted)
        assert (response.headers["Content-Encoding"], body) == (encoding, expected)
        assert response.headers["Content-Type"] == "application/wasm" and response.headers["Vary"] == "Accept-Encoding"
    response, _ = get(page, "/assets/missing.wasm", accept_encoding="br")
    assert response.status == 404 and response.headers["Content-Encoding"] is None


def test_a_closed_connection_prints_nothing(page: ThreadingHTTPServer, capsys: pytest.CaptureFixture[str]) -> None:
    client = socket.create_connection(("127.0.0.1", page.server_port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # Close with a reset.
    client.sendall(b"GET / HTTP/1.1\r\n")
    client.close()
    assert get(page, "/")[0].status == 200
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "path",
    ["/secret.txt", "/../secret.txt", "/%2e%2e/secret.txt", "/weights/golden.npz", "/weights/../silk.py", "/assets/"],
)
def test_it_serves_nothing_else(page: ThreadingHTTPServer, path: str) -> None:
    assert get(page, path)[0].status == 404


def test_it_listens_on_loopback_and_the_page_loads_nothing_else(page: ThreadingHTTPServer) -> None:
    assert page.server_address[0] == "127.0.0.1"
    policy = get(page, "/")[0].headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'") and "http" not in policy


def test_errors_are_one_sentence(site: Path, tmp_path: Path) -> None:
    with pytest.raises(SilkError, match=re.escape("has not been built. Run `make web`")):
        explain.server(site=tmp_path / "nowhere")
    with pytest.raises(WeightsError, match=re.escape("must contain config.json")):
        explain.server(site=site, weights=tmp_path)
    with pytest.raises(ArgumentError, match=re.escape("port must be between 0 and 65535")):
        explain.server(70_000, site=site)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SilkError, match="Cannot listen on port"):
        explain.server(taken.getsockname()[1], site=site)


def test_the_command_without_a_built_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(explain.server, "__defaults__", (0, None, tmp_path))
    result = CliRunner().invoke(app, ["explain", "--no-browser"])
    assert result.exit_code == 2 and "make web" in result.stderr


def test_the_command_prints_the_address_and_stops_on_ctrl_c(site: Path) -> None:
    code = f"""
import pathlib, signal, sys
from silkcodec import cli
from silkcodec.serve import explain
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
explain.server.__defaults__ = (0, None, pathlib.Path({str(site)!r}))
sys.argv = ["silk", "explain", "--no-browser"]
cli.main()
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert re.search(r"http://127\.0\.0\.1:\d+/", line), errors
    assert process.returncode == 130 and "Traceback" not in errors


@pytest.mark.parametrize("arguments", [[], ["--no-browser"]])
def test_the_command_opens_the_browser_at_the_address_it_prints(
    monkeypatch: pytest.MonkeyPatch, site: Path, arguments: list[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(explain.server, "__defaults__", (0, None, site))
    monkeypatch.setattr(explain.webbrowser, "open", opened.append)
    monkeypatch.setattr(ThreadingHTTPServer, "serve_forever", lambda self: None)
    result = CliRunner().invoke(app, ["explain", *arguments])
    assert result.exit_code == 0, result.output
    printed = re.findall(r"http://127\.0\.0\.1:[1-9]\d*/", result.stdout)
    assert opened == ([] if arguments else printed) and len(printed) == 1


def test_an_exported_page_has_the_weights_and_a_policy(site: Path, tmp_path: Path) -> None:
    (site / "index.html").write_text("<!doctype html><head><title>How codecs work</title></head>", encoding="utf-8")
    explain.export(tmp_path / "out", site=site)
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert page.index("Content-Security-Policy") < page.index("<title>") and "frame-ancestors" not in page
    assert (tmp_path / "out" / "assets" / "runtime-1a2b.wasm").is_file()
    for name in explain.SERVED:
        content = (explain.WEIGHTS / name).read_bytes()
        assert (tmp_path / "out" / "weights" / name).read_bytes() == content
        assert gzip.decompress((tmp_path / "out" / "weights" / f"{name}.gz").read_bytes()) == content
    assert not list((tmp_path / "out" / "assets").glob("*.gz"))  # four bytes do not become fewer
    assert sorted(one.name for one in tmp_path.iterdir()) == ["out", "secret.txt", "site"]  # nothing half written


def test_an_export_replaces_nothing(monkeypatch: pytest.MonkeyPatch, site: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(explain, "SITE", site)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine", encoding="utf-8")
    result = CliRunner().invoke(app, ["explain", "--export", str(tmp_path / "full")])
    assert result.exit_code == 2 and "must be new or empty" in result.stderr
    assert [one.name for one in (tmp_path / "full").iterdir()] == ["mine.txt"]
    result = CliRunner().invoke(app, ["explain", "--export", str(tmp_path / "new")])
    assert result.exit_code == 0 and "Any static web server" in result.stdout
