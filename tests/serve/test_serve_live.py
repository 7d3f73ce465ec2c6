"""Test `silk serve` as a process: files, streams, OpenAPI, hostile clients, a killed worker, and shutdown."""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chromium
from repository import ROOT
from servercase import Server
from silkcodec import audio, container
from silkcodec.errors import TokensError
from silkcodec.serve import pool as pools
from silkcodec.serve import processes
from silkcodec.serve.client import ServerError
from silkcodec.serve.prometheus import Metrics
from silkcodec.serve.settings import Limits, Settings
from silkcodec.silk import Silk
from silkcodec.spec import FRAME_SAMPLES
from waiting import PATIENCE_S, wait_until
from webserver import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(weights_folder: Path) -> Iterator[Server]:
    """Start a server. After all tests, check that its log has no token, and that its workers exit if it is killed."""
    limits = ["--max-mb", "1", "--max-seconds", "20", "--max-streams", "6", "--rate", "100000", "--batch", "2"]
    server = Server(*limits, weights=weights_folder, workers=2)
    yield server
    server.stop(signal.SIGKILL)
    assert str(server.token) not in json.dumps(server.log)
    workers = server.workers("streams") + server.workers("files")
    wait_until(lambda: workers and not any(map(exists, workers)))


@pytest.fixture(scope="module")
def sound(speech: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("serve") / "a.flac"
    audio.write(path, speech[:30_000])
    return path


def codes_of(tokens: Any) -> Any:
    return np.stack(tokens.codes, axis=1)


def wait_for_no_streams(server: Server) -> None:
    """Wait until the server has closed all streams of earlier tests."""
    wait_until(lambda: server.metric("silk_streams") == 0)


def test_files_are_encoded_and_decoded(server: Server, codec: Silk, sound: Path) -> None:
    expected = codec.encode(audio.read(sound))
    assert server.client.encode(sound) == server.client.encode(sound.read_bytes()) == expected
    np.testing.assert_allclose(server.client.decode(expected), codec.decode(expected), atol=1e-4)
    assert server.client.codecs()["serving"]["codec"] == codec.codec_id


def test_json_and_accept(server: Server, codec: Silk, sound: Path) -> None:
    headers = {"Authorization": f"Bearer {server.token}", "Accept": "application/json"}
    status, answer = http(server, "POST", "/v1/encode", sound.read_bytes(), headers | {"X-Request-ID": "mine"})
    assert status == 200 and json.loads(answer)["codes"] == codes_of(codec.encode(audio.read(sound))).tolist()
    headers = {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json", "Accept": "audio/flac"}
    status, answer = http(server, "POST", "/v1/decode", answer, headers)
    assert status == 200 and answer[:4] == b"fLaC"
    line = server.wait_for("request", request_id="mine")
    assert line["path"] == "/v1/encode" and line["status"] == 200


def test_a_file_can_be_entropy_coded(server: Server, codec: Silk) -> None:
    pytest.importorskip("constriction", reason="needs [entropy]")
    silence = np.zeros(240_000, np.float32)
    file = io.BytesIO()
    audio.write(file, silence)
    headers = {"Authorization": f"Bearer {server.token}"}
    status, answer = http(server, "POST", "/v1/encode?entropy=true", file.getvalue(), headers)
    assert status == 200 and container.info(io.BytesIO(answer)).chunks[0].coded
    assert container.read(io.BytesIO(answer)) == codec.encode(silence)


def http(
    server: Server, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    from http.client import HTTPConnection

    connection = HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_token_is_required(server: Server, sound: Path) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        for method, path in (
            ("GET", "/v1/codecs"),
            ("POST", "/v1/encode"),
            ("POST", "/v1/decode"),
            ("GET", "/metrics"),
        ):
            status, answer = http(server, method, path, b"x" if method == "POST" else None, headers)
            assert status == 401 and json.loads(answer)["error"] == "unauthorized"
    server.token, token = "wrong-wrong-wrong", server.token
    try:
        with pytest.raises(ServerError) as caught:
            server.client.encoder()
        assert caught.value.status == 401
    finally:
        server.token = token
    live, ready = (http(server, "GET", f"/health/{name}") for name in ("live", "ready"))
    assert live[0] == ready[0] == 200
    assert json.loads(live[1]) == json.loads(ready[1]) | {"status": "live"} and json.loads(live[1])["workers"] > 0


def test_bad_uploads_are_refused(server: Server, tmp_path: Path) -> None:
    audio.write(tmp_path / "long.flac", np.zeros(24_000 * 30, np.float32))
    bearer = {"Authorization": f"Bearer {server.token}"}
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for path, body, headers, status, word in (
        ("/v1/encode", np.random.default_rng(0).bytes(1000), {}, 415, "bad_audio"),
        ("/v1/encode", b"", {}, 400, "empty"),
        ("/v1/encode", b"x" * ((1 << 20) + 1), {}, 413, "too_large"),
        ("/v1/encode", (tmp_path / "long.flac").read_bytes(), {}, 413, "too_long"),
        ("/v1/encode", b"--x--", form, 415, "form"),
        ("/v1/encode?format=mp3", b"x", {}, 422, "bad_argument"),
        ("/v1/encode?dims_per_token=21", b"x", {}, 422, "bad_argument"),
        ("/v1/decode", b"/etc/passwd", {}, 400, "bad_silk_file"),
        ("/v1/decode", b'{"codes": [["../../etc/passwd"]]}', {"Content-Type": "application/json"}, 400, "bad_tokens"),
        ("/v1/nothing", b"x", {}, 404, "http"),
        ("/v1/codecs", b"x", {}, 405, "http"),
    ):
        got, answer = http(server, "POST", path, body, bearer | headers)
        assert (got, json.loads(answer)["error"]) == (status, word), answer


def test_streams_both_ways_at_once(server: Server, codec: Silk, speech: Any) -> None:
    wave = speech[:50_000]
    expected = codec.encode(wave)
    with server.client.encoder() as encoder, server.client.decoder() as decoder:
        waves, codes = [], []
        for at in range(0, len(wave), 4_800):
            codes.append(encoder.feed(wave[at : at + 4_800]))
            waves.append(decoder.feed(codes[-1]))
        codes.append(encoder.flush())
        waves += [decoder.feed(codes[-1]), decoder.flush()]
        assert encoder.ended == {"type": "ended", "n_samples": len(wave), "n_frames": 6}
    np.testing.assert_array_equal(np.concatenate(codes), codes_of(expected))
    np.testing.assert_allclose(np.concatenate(waves)[: len(wave)], codec.decode(expected), atol=1e-4)
    with server.client.encoder(16_000, n_codebooks=3) as encoder:
        few = np.concatenate([encoder.feed(wave), encoder.flush()])
    np.testing.assert_array_equal(few, codes_of(codec.encode(wave, 16_000, n_codebooks=3)))


def test_large_messages_are_answered_completely(server: Server, codec: Silk) -> None:
    codes = np.zeros((120, 19), np.int64)
    with server.client.decoder() as decoder:
        first = decoder.feed(codes)
        assert len(first) + len(decoder.flush()) == 120 * 9_600


def test_invalid_codes_are_not_sent(server: Server) -> None:
    codes = np.arange(19 * 5).reshape(5, 19) % 64
    with server.client.decoder() as decoder:
        for wrong in (codes.T, codes + 0.5, codes + (1 << 32)):
            with pytest.raises(TokensError):
                decoder.feed(wrong)
        assert len(decoder.feed(codes)) + len(decoder.flush()) == 5 * 9_600


def test_the_limit_of_streams(server: Server) -> None:
    wait_for_no_streams(server)
    open_streams = [server.client.encoder() for _ in range(6)]
    with pytest.raises(ServerError, match="6 streams") as caught:
        server.client.encoder()
    assert caught.value.status == 429
    for stream in open_streams:
        stream.close()
    wait_for_no_streams(server)
    server.client.encoder().close()


def test_garbage_and_disconnects_do_not_affect_others(server: Server, codec: Silk, speech: Any) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    address = f"ws://127.0.0.1:{server.port}/v1/stream"
    browser = ["silk.v1", f"silk.bearer.{server.token}"]
    wave, codes = speech[:40_000], []
    restarts = server.metric("silk_worker_restarts_total")
    with server.client.encoder() as neighbor:
        codes.append(neighbor.feed(wave[:15_000]))
        for message in ("}{", "null", b"\xff" * 100, '{"type": "end"}', json.dumps({"type": "start", "task": "x"})):
            with connect(address, subprotocols=browser) as garbage:  # type: ignore[arg-type]
                assert garbage.subprotocol == "silk.v1"
                garbage.send(message)
                assert json.loads(garbage.recv(PATIENCE_S))["type"] == "error"
                with pytest.raises(ConnectionClosed) as caught:
                    garbage.recv(PATIENCE_S)
                assert caught.value.rcvd is not None and caught.value.rcvd.code == 1008
        with connect(address, subprotocols=browser) as large:  # type: ignore[arg-type]
            # Send only the header. The server closes immediately, and unread bytes would reset the connection.
            large.socket.sendall(b"\x82\xff" + (2 << 20).to_bytes(8, "big") + bytes(4))
            with pytest.raises(ConnectionClosed) as caught:
                large.recv(PATIENCE_S)
            assert caught.value.rcvd is not None and caught.value.rcvd.code == 1009
        for _ in range(3):  # Disconnect in the middle of a frame and in the middle of an upload.
            stream = server.client.encoder()
            stream.feed(wave[:30_000])
            abort(stream._socket.socket)
            upload = socket.create_connection(("127.0.0.1", server.port))
            head = f"POST /v1/encode HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n"
            upload.sendall(head.encode() + b"Content-Length: 90000\r\n\r\nRIFF")
            abort(upload)
            stream.close()
        codes += [neighbor.feed(wave[15_000:]), neighbor.flush()]
    np.testing.assert_array_equal(np.concatenate(codes), codes_of(codec.encode(wave)))
    wait_for_no_streams(server)
    assert server.metric("silk_files") == 0 and server.metric("silk_worker_restarts_total") == restarts


def abort(connection: socket.socket) -> None:
    """Reset the connection instead of closing it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if connection.fileno() >= 0:
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()


def test_the_javascript_example(server: Server, codec: Silk, speech: Any) -> None:
    node = shutil.which("node")
    version = int(subprocess.run([node, "-v"], capture_output=True, text=True).stdout[1:3]) if node else 0
    if node is None or version < 20:
        pytest.skip("needs Node 20 or newer")
    options = [] if version >= 22 else ["--experimental-websocket"]
    script = str(ROOT / "examples" / "stream.mjs")
    samples = np.rint(speech[:30_000] * 32_768).astype("<i2")
    command = [node, *options, script, server.url, server.token or ""]
    result = subprocess.run(command, input=samples.tobytes(), capture_output=True, timeout=PATIENCE_S)
    assert result.returncode == 0, result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["codes"] for line in lines[:-1]] == codes_of(codec.encode(samples)).tolist()
    assert lines[-1] == {"type": "ended", "n_samples": 30_000, "n_frames": 4}
    command[-1] = "wrong-wrong-wrong"
    assert subprocess.run(command, input=b"", capture_output=True, timeout=PATIENCE_S).returncode != 0


@pytest.mark.browser
def test_the_page_with_a_microphone(server: Server) -> None:
    """Check that examples/stream.html encodes, decodes and plays the input of the microphone."""
    with serving(ROOT / "examples") as address, chromium.launched(*chromium.MICROPHONE) as browser:
        page = browser.new_page()
        page.set_default_timeout(1e3 * PATIENCE_S)
        page.add_init_script(COUNT_PLAYED)
        page.goto(f"{address}stream.html")
        page.locator("#url").fill(server.url)
        page.locator("#token").fill("wrong-wrong-wrong")
        page.locator("#start").click()
        page.wait_for_function("document.getElementById('state').textContent.includes('closed')")
        page.locator("#token").fill(server.token)
        page.locator("#start").click()
        page.wait_for_function("document.getElementById('tokens').textContent.split('\\n').length > 4")
        page.locator("#stop").click()
        page.wait_for_function("document.getElementById('state').textContent === 'Done.'")
        lines = str(page.locator("#tokens").text_content()).splitlines()[::-1]
        played = page.evaluate("window.played")
    assert [int(line.split(":")[0]) for line in lines] == list(range(len(lines)))
    codes = np.array([[int(code) for code in line.split(":")[1].split()] for line in lines])
    assert codes.shape == (len(lines), 19) and len(np.unique(codes[:, 0])) > 1
    assert played["samples"] == len(lines) * FRAME_SAMPLES and played["peak"] > 1e-3


COUNT_PLAYED = """
window.played = { samples: 0, peak: 0 };
const start = AudioBufferSourceNode.prototype.start;
AudioBufferSourceNode.prototype.start = function (...when) {
  const samples = this.buffer.getChannelData(0);
  window.played.samples += samples.length;
  for (const sample of samples) window.played.peak = Math.max(window.played.peak, Math.abs(sample));
  return start.apply(this, when);
};
"""


def test_openapi_matches_the_server(server: Server) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    assert {"/v1/encode", "/v1/decode", "/v1/codecs", "/health/live", "/health/ready", "/metrics"} <= set(schema)
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    for operation in schema.get_all_operations():
        case = operation.ok().as_strategy()

        @given(case=case)
        @settings(max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
        def holds(case: Any) -> None:
            headers = {"Authorization": f"Bearer {server.token}"}
            case.call_and_validate(headers=headers, checks=checks, timeout=PATIENCE_S)

        holds()
    assert server.get("/health/ready")[0] == 200


def test_a_killed_worker_affects_only_its_streams(server: Server, codec: Silk, speech: Any, sound: Path) -> None:
    wave = speech[:40_000]
    expected = codes_of(codec.encode(wave))
    restarts = server.metric("silk_worker_restarts_total")
    wait_for_no_streams(server)  # so that each of the two workers gets two of the four streams
    streams = [server.client.encoder() for _ in range(4)]
    codes = [[stream.feed(wave[:15_000])] for stream in streams]
    victim, _ = server.workers("streams")
    os.kill(victim, signal.SIGKILL)
    server.wait_for("worker crashed", pid=victim, exit_code=-9)
    lost = 0
    for stream, parts in zip(streams, codes, strict=True):
        try:
            parts += [stream.feed(wave[15_000:]), stream.flush()]
            np.testing.assert_array_equal(np.concatenate(parts), expected)
        except ServerError as error:
            lost += 1
            assert error.code == "worker_lost" and "crashed" in str(error)
        finally:
            stream.close()
    assert lost == 2
    os.kill(server.workers("files")[0], signal.SIGKILL)
    assert server.client.encode(sound) == codec.encode(audio.read(sound)), "the next worker repeats the job"
    server.wait_for_workers("streams", 2)
    assert server.metric("silk_worker_restarts_total") == restarts + 2
    assert server.get("/health/ready")[0] == 200


def test_open_streams_can_finish_after_sigterm(
    weights_folder: Path, codec: Silk, speech: Any, request: pytest.FixtureRequest
) -> None:
    wave = speech[:50_000]
    server = Server("--drain", "600", weights=weights_folder)
    request.addfinalizer(lambda: server.stop(signal.SIGKILL))
    with server.client.encoder() as one, server.client.encoder() as other:
        codes = [one.feed(wave[:20_000])]
        other.feed(wave[:20_000])
        server.process.send_signal(signal.SIGTERM)
        server.wait_for("draining", streams=2)
        with pytest.raises(ServerError, match="Cannot reach"):
            server.client.encode(b"x")
        codes += [one.feed(wave[20_000:]), one.flush()]
        other.flush()
    np.testing.assert_array_equal(np.concatenate(codes), codes_of(codec.encode(wave)))
    assert server.process.wait(PATIENCE_S) == 0  # without a second signal, which stops the server immediately
    server.stop()
    assert server.workers("streams") and not any(map(exists, server.workers("streams")))


def exists(pid: int) -> bool:
    """Return whether a process runs. After the server has crashed, its workers can remain as zombies."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_worker_that_hangs_is_replaced(weights_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PING_S", 0.1)

    async def hang() -> tuple[float, int]:
        metrics = Metrics()
        pool = pools.Pool(Settings(weights=weights_folder), metrics)
        pool._roles = ["files"]
        pool.start()
        async with asyncio.timeout(PATIENCE_S):
            while not (ready := pool.workers("files")):
                await asyncio.sleep(0.05)
            before = ready[0]._last_message
            while ready[0]._last_message == before:  # until the worker answers a ping
                await asyncio.sleep(0.05)
            pid = ready[0].pid or 0
            os.kill(pid, signal.SIGSTOP)
            monkeypatch.setattr(processes, "SILENT_S", 0.5)
            while not metrics.restarts.labels("files")._value.get():
                await asyncio.sleep(0.05)
        monkeypatch.setattr(processes, "SILENT_S", PATIENCE_S)
        n: float = metrics.restarts.labels("files")._value.get()
        await pool.close()
        return n, pid

    n, pid = asyncio.run(hang())
    assert n == 1 and not exists(pid)


def test_a_model_that_cannot_load_does_not_use_a_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "PAUSES_S", (0.0, 3600.0))

    async def tries() -> tuple[float, bool]:
        metrics = Metrics()
        pool = pools.Pool(Settings(weights=tmp_path, limits=Limits(job_s=0.2)), metrics)
        pool._roles = pool._roles[:1]
        pool.start()
        async with asyncio.timeout(PATIENCE_S):
            while (n := metrics.restarts.labels("streams")._value.get()) < 2:
                await asyncio.sleep(0.05)
        with pytest.raises(pools.BusyError):
            await pool.open_stream({})
        with pytest.raises(TimeoutError):
            await pool.run_job({})
        await pool.close()
        return n, pool.is_ready

    assert asyncio.run(tries()) == (2, False)
