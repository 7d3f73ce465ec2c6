"""Test the parts of the server that need no sockets: batcher, WebSocket messages, file jobs and access."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silkcodec import audio, container
from silkcodec.errors import ArgumentError, AudioError, SilkError, TokensError
from silkcodec.serve import access, filejobs, logs, protocol, uploads, wire
from silkcodec.serve.batcher import FRAME_S, Batcher, exact_sizes
from silkcodec.serve.filejobs import Cancelled, FileJob, TooLongError
from silkcodec.serve.protocol import ProtocolError, Session
from silkcodec.serve.settings import Limits, Settings, is_loopback, is_token, read_token
from silkcodec.serve.worker import Inbox, bytes_of, samples_of
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamDecoder
from silkcodec.spec import FRAME_SAMPLES
from silkcodec.tokens import codebook_sizes

# --- messages between processes


def test_a_message_that_is_too_large_ends_the_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(wire.pack({"do": "ping"}, b"body") + struct.pack("<II", 2, wire.MAX_BYTES + 1))
        assert wire.receive(theirs) == ({"do": "ping"}, b"body")
        with pytest.raises(ValueError, match=f"at most {wire.MAX_BYTES} bytes; got {wire.MAX_BYTES + 1}"):
            wire.receive(theirs)
        ours.sendall(struct.pack("<II", wire.MAX_BYTES + 1, 2))
        with pytest.raises(EOFError):
            Inbox(theirs).take(wait=True)


# --- batcher


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def sizes(codec: Silk) -> list[int]:
    return exact_sizes(codec, 4, n_frames=1)


def answers_of(batcher: Batcher) -> tuple[dict[str, list[Any]], dict[str, int], list[int]]:
    """Run steps until all streams have ended. Return the values and samples by stream, and the batch sizes."""
    values: dict[str, list[Any]] = {}
    lengths: dict[str, int] = {}
    batches = []
    while len(batcher):
        _, answers = batcher.step()
        batches.append(len(answers))
        for answer in answers:
            assert answer.frame == len(values.setdefault(answer.stream, []))
            values[answer.stream].append(answer.value)
        lengths |= dict(batcher.finished())
    return values, lengths, batches


def test_batched_streams_get_the_tokens_of_single_calls(codec: Silk, sizes: list[int], speech: Any) -> None:
    waves = {"a": speech[:40_000], "b": speech[7_000:39_000], "c": speech[30_000:60_001], "d": speech[:11]}
    batcher = Batcher(codec, sizes)
    for name, wave in waves.items():
        batcher.open_encoder(name)
        for part in np.array_split(wave, 3):
            batcher.feed(name, part)
        batcher.end(name)
    values, lengths, batches = answers_of(batcher)
    for name, wave in waves.items():
        assert codec.tokens(np.concatenate(values[name]), lengths[name]) == codec.encode(wave), name
    assert max(batches) == max(sizes)


def test_decoding_in_batches_gives_the_samples_of_single_calls(codec: Silk, sizes: list[int], speech: Any) -> None:
    many = {name: np.stack(codec.encode(speech[at : at + 20_000]).codes, axis=1) for name, at in (("a", 0), ("b", 9))}
    batcher = Batcher(codec, sizes)
    for name, codes in many.items():
        batcher.open_decoder(name)
        batcher.feed(name, codes)
        batcher.end(name)
    values, lengths, _ = answers_of(batcher)
    for name, codes in many.items():
        np.testing.assert_allclose(np.concatenate(values[name]), StreamDecoder(codec).feed(codes), atol=1e-4)
        assert lengths[name] == len(codes) * FRAME_SAMPLES


def test_only_exact_batch_sizes_are_used(codec: Silk, monkeypatch: pytest.MonkeyPatch) -> None:
    from silkcodec.serve import batcher

    real = batcher.run_batch

    def off_by_a_bit(codec: Silk, output: str, frames: Any, states: Any) -> Any:
        values, after = real(codec, output, frames, states)
        if len(frames) == 2:
            after[1][-1].reshape(-1)[-1] = np.nextafter(after[1][-1].reshape(-1)[-1], np.float32(9))
        return values, after

    monkeypatch.setattr(batcher, "run_batch", off_by_a_bit)
    assert 2 not in exact_sizes(codec, 2, n_frames=1)
    assert exact_sizes(codec, 1) == [1]


def test_a_live_stream_does_not_wait_for_a_greedy_one(codec: Silk, speech: Any) -> None:
    clock = Clock()
    batcher = Batcher(codec, [1], clock)
    batcher.open_encoder("greedy")
    batcher.feed("greedy", np.tile(speech, 2)[: 480 + 8 * FRAME_SAMPLES])
    clock.now = 0.9 * FRAME_S  # Only the first frame of the greedy stream is due.
    batcher.open_encoder("live")
    batcher.feed("live", speech[: 480 + FRAME_SAMPLES])
    order = [batcher.step()[1][0].stream for _ in range(4)]
    assert order == ["greedy", "live", "greedy", "greedy"]


def test_refused_and_dropped_streams_are_removed(codec: Silk, speech: Any) -> None:
    batcher = Batcher(codec)
    batcher.open_encoder("a")
    with pytest.raises(AudioError, match="nan"):
        batcher.feed("a", np.array([0, np.nan], np.float32))
    batcher.feed("a", speech[:20_000])
    batcher.drop("a")
    batcher.drop("a")
    assert len(batcher) == batcher.n_waiting == 0 and batcher.step() == ("encode", [])
    batcher.open_decoder("b")
    with pytest.raises(TokensError, match="between 0 and 2097151"):
        batcher.feed("b", np.full((1, 19), 2**21))
    batcher.end("b")
    assert batcher.finished() == [("b", 0)]


# --- protocol


def start(**fields: Any) -> str:
    return json.dumps({"type": "start", **fields})


def pieces_of(session: Session, *messages: str | bytes) -> list[bytes]:
    return list(itertools.chain.from_iterable(session.receive(message) for message in messages))


@pytest.mark.parametrize(("rate", "kind"), [(24_000, "s16le"), (24_000, "f32le"), (16_000, "s16le")])
def test_messages_of_any_length_give_the_tokens_of_encode(codec: Silk, speech: Any, rate: int, kind: str) -> None:
    wave = samples_of(bytes_of(speech[:50_000], kind), kind)
    expected = codec.encode(wave, rate)
    for seed in range(3):
        rng = random.Random(seed)
        session, batcher = Session(100), Batcher(codec)
        messages: list[str | bytes] = [start(task="encode", sample_rate=rate, samples=kind)]
        data, at = wave.tobytes(), 0
        while at < len(data):
            n = 4 * rng.randrange(1, [10, 3_000, 60_000][seed])
            messages.append(data[at : at + n])
            at += n
        pieces = pieces_of(session, *messages, '{"type": "end"}')
        assert b"".join(pieces) == data
        batcher.open_encoder("s", rate)
        for piece in pieces:
            batcher.feed("s", samples_of(piece, kind))
        batcher.end("s")
        values, lengths, _ = answers_of(batcher)
        assert codec.tokens(np.concatenate(values["s"]), lengths["s"]) == expected
        assert session.ended and session.n_samples_in == len(wave)


def test_at_24_khz_a_piece_completes_a_frame() -> None:
    session = Session(100)
    pieces_of(session, start(task="encode"))
    sizes = [len(piece) for _ in range(100) for piece in session.receive(bytes(2 * 480))]  # 20 ms each
    assert sizes == [2 * (480 + 9_600)] + [2 * 9_600] * 3
    assert len(pieces_of(session, bytes(2 * 96_000))) == 10, "a large message is split into pieces of one frame"


def test_codes_are_accepted_as_json_or_int32() -> None:
    rows = np.arange(38).reshape(2, 19)
    for message in (json.dumps({"type": "tokens", "codes": rows.tolist()}), rows.astype("<i4").tobytes()):
        session = Session(100)
        pieces = pieces_of(session, start(task="decode"), message)
        assert [np.frombuffer(piece, "<i4").tolist() for piece in pieces] == rows.tolist()
        assert session.seconds_in == pytest.approx(0.8)


def test_messages_of_the_server() -> None:
    session = Session(100)
    pieces_of(session, start(task="encode", n_codebooks=2))
    started = json.loads(session.started("silk@0a1b2c3d4e5f", "id"))
    assert started["type"] == "started" and started["codebook_sizes"] == list(codebook_sizes()[:2])
    body = np.array([[5, 6]], "<i4").tobytes()
    assert json.loads(session.frame(3, body)) == {"type": "tokens", "frame": 3, "codes": [[5, 6]]}
    assert json.loads(session.last(100, 1)) == {"type": "ended", "n_samples": 100, "n_frames": 1}
    session = Session(100)
    pieces_of(session, start(task="decode", n_samples=9_700))
    assert [len(session.frame(number, bytes(2 * 9_600))) for number in range(3)] == [19_200, 200, 0]
    assert json.loads(session.last(19_200, 2))["n_samples"] == 9_700


GARBAGE = [
    "",
    "nonsense",
    "[]",
    "[" * 10_000,
    '"start"',
    '{"type": "end"}',
    b"\0\0",
    start(),
    start(task="both"),
    start(task=["encode"]),
    start(task="encode", sample_rate=10),
    start(task="encode", sample_rate=24000.5),
    start(task="encode", sample_rate=True),
    start(task="encode", samples="mp3"),
    start(task="encode", n_codebooks=20),
    start(task="decode", n_samples=0),
    start(task="decode", sample_rate=16_000),
    start(task="decode", tokens="json"),
    start(task="encode", n_samples=5),
    start(task="encode", secret=1),
    *(
        start(**({"task": "encode"} | {name: None}))
        for name in ("task", "sample_rate", "n_codebooks", "samples", "tokens")
    ),
    " " * (1 << 16) + "{}",
]


@pytest.mark.parametrize("message", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_refused_with_one_sentence(message: str | bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        pieces_of(Session(100), message)
    assert str(caught.value).endswith(".") and len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "message",
    [
        b"\0" * 75,
        b"",
        "{}",
        '{"type": "end", "pad": []}',
        json.dumps({"type": "tokens", "codes": [[0] * 19], "pad": []}),
        start(task="decode"),
        '{"type": "tokens"}',
        '{"type": "tokens", "codes": []}',
        '{"type": "tokens", "codes": [[1, 2]]}',
        json.dumps({"type": "tokens", "codes": [[0.5] * 19]}),
        json.dumps({"type": "tokens", "codes": [[-1] * 19]}),
        json.dumps({"type": "tokens", "codes": [[2**70] * 19]}),
    ],
)
def test_garbage_after_the_start_is_refused(message: str | bytes) -> None:
    with pytest.raises(ProtocolError):
        pieces_of(Session(100), start(task="decode"), message)


def test_a_stream_has_a_maximum_length() -> None:
    with pytest.raises(ProtocolError, match="1 s of audio"):
        pieces_of(Session(1.0), start(task="encode"), bytes(2 * 24_000), bytes(2))
    with pytest.raises(ProtocolError, match="after 'end'"):
        pieces_of(Session(1.0), start(task="encode"), '{"type": "end"}', bytes(2))


# --- file jobs


def job(source: Path, given: str, wanted: str, **fields: Any) -> FileJob:
    return FileJob(source, source.with_name(f"result.{wanted}"), given, wanted, **({"max_s": 60.0} | fields))


def test_uploads_give_the_result_of_the_library(codec: Silk, speech: Any, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    with io.BytesIO() as file:
        audio.write(file, speech[:30_000])
        source.write_bytes(file.getvalue())
    wave = audio.read(source)
    expected = codec.encode(wave)
    seconds = filejobs.work(codec, job(source, "audio", "silk"), lambda: False)
    assert seconds == pytest.approx(1.25) and container.read(tmp_path / "result.silk") == expected
    filejobs.work(codec, job(source, "audio", "json", dims_per_token=4), lambda: False)
    given = json.loads((tmp_path / "result.json").read_text())
    assert filejobs.from_json(json.dumps(given), codec, 60) == expected.regroup(4)
    for made, kind in (("result.silk", "silk"), ("result.json", "json")):
        again = job(tmp_path / made, kind, "wav")
        again.target.unlink(missing_ok=True)
        filejobs.work(codec, again, lambda: False)
        np.testing.assert_allclose(audio.read(again.target), codec.decode(expected), atol=1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.json", "result.silk", "result.wav", "upload"]


def test_a_decompression_bomb_is_refused_early(codec: Silk, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(b"")
    audio.write(tmp_path / "long.flac", np.zeros(24_000 * 30, np.float32))
    content = (tmp_path / "long.flac").read_bytes()
    source.write_bytes(content)  # 30 s of silence in a few kilobytes
    assert len(content) < 50_000
    with pytest.raises(TooLongError, match="at most 5 s of audio; got at least 30"):
        filejobs.work(codec, job(source, "audio", "silk", max_s=5.0), lambda: False)
    lying = bytearray(content)  # Set the 36-bit number of samples in STREAMINFO to 0, which means unknown.
    lying[21] &= 0xF0
    lying[22:26] = bytes(4)
    source.write_bytes(lying)
    with pytest.raises(SilkError):
        filejobs.work(codec, job(source, "audio", "silk", max_s=5.0), lambda: False)
    tokens = codec.tokens(np.zeros((100, 19), np.int64), 100 * FRAME_SAMPLES)
    container.write(tokens, tmp_path / "long.silk", chunk_frames=100)
    with pytest.raises(TooLongError):
        filejobs.work(codec, job(tmp_path / "long.silk", "silk", "wav", max_s=5.0), lambda: False)
    assert not list(tmp_path.glob("result*")) and not list(tmp_path.glob(".*"))


def test_a_cancelled_job_stops(codec: Silk, speech: Any, tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", speech)
    (tmp_path / "a.wav").rename(tmp_path / "upload")
    with pytest.raises(Cancelled):
        filejobs.work(codec, job(tmp_path / "upload", "audio", "silk"), lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["upload"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[" * 100_000,
        "{}",
        '{"codes": []}',
        '{"codes": [[1]]}',
        json.dumps({"codes": [[0] * 19], "n_samples": 10**9}),
        json.dumps({"codes": [[0] * 19], "n_samples": "x"}),
        json.dumps({"codes": [[0] * 19], "dims_per_token": 99}),
        json.dumps({"codes": [[0] * 19], "codec": "mimi"}),
        json.dumps({"codes": [[0] * 18 + [64]]}),
    ],
)
def test_invalid_tokens_are_refused(codec: Silk, text: str) -> None:
    with pytest.raises(SilkError):
        filejobs.from_json(text, codec, 60)


def test_memory_is_bounded() -> None:
    code = (
        "from silkcodec.serve import worker\n"
        "worker.limit_memory(64 << 20)\n"
        "try: bytearray(1 << 30)\n"
        "except MemoryError as error: print(worker.refusal('a', error)['code'])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout == "too_large\n", result.stderr


def test_folders_of_killed_servers_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left, fresh, other = (tmp_path / name for name in ("silk-serve-left", "silk-serve-fresh", "other"))
    for folder in (left, fresh, other):
        (folder / "request").mkdir(parents=True)
    (tmp_path / "silk-serve-link").symlink_to(other)
    (left / "request" / "upload").write_bytes(b"x")
    with uploads.private_folder() as running:
        for folder in (left, other, running):
            os.utime(folder, (0, 0))
        with uploads.private_folder() as second:
            assert not left.exists()
            assert running.exists() and second.exists() and fresh.exists() and (other / "request").exists()
    assert not running.exists() and not second.exists()


# --- access, settings, logs


def test_the_rate_limit_of_an_address() -> None:
    clock = Clock()
    rate = access.RateLimiter(60, clock)
    for _ in range(6):
        rate.take("a")
    with pytest.raises(access.RateError) as caught:
        rate.take("a")
    assert caught.value.retry_s == pytest.approx(1)
    rate.take("b")
    clock.now = 1.01
    rate.take("a")


def test_concurrency_limit() -> None:
    places = access.ConcurrencyLimit("streams", total=2, each=1)
    with places.one("a"), places.one("b"):
        for client in ("c", "a"):
            with pytest.raises(access.RateError), places.one(client):
                pass
    with places.one("a"), pytest.raises(access.RateError, match="per address"), places.one("a"):
        pass


def test_the_token() -> None:
    token = "0123456789abcdef"
    assert is_token(token, token) and not is_token(None, token)
    assert not is_token(token + "0", token) and not is_token("", token) and not is_token("é" * 16, token)
    access.check(token, {"authorization": f"bearer {token}"})
    access.check(token, {"host": "elsewhere", "origin": "https://elsewhere"}, ["silk.v1", f"silk.bearer.{token}"])
    for wrong in ({}, {"authorization": token}, {"authorization": "Basic 0123456789abcdef"}):
        with pytest.raises(access.DeniedError):
            access.check(token, wrong)


def test_without_a_token_foreign_origins_are_refused() -> None:
    access.check(None, {})
    access.check(None, {"origin": "http://localhost:3000", "host": "[::1]:8000"})
    for origin in ("https://evil.example", "null", "http://[", "http://127.0.0.1.evil.example"):
        with pytest.raises(access.DeniedError):
            access.check(None, {"origin": origin, "host": "localhost"})


def test_without_a_token_rebound_hosts_are_refused() -> None:
    for host in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]"):
        access.check(None, {"host": host})
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[", "", "192.168.1.2:8000"):
        with pytest.raises(access.DeniedError, match="localhost"):
            access.check(None, {"host": host})
    access.check(None, {"host": "192.168.1.2:8000"}, loopback=False)  # --no-token on a network address


def test_invalid_settings_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="must have a token"):
        Settings("0.0.0.0").check_open(False)
    Settings("0.0.0.0", token="x").check_open(False)
    Settings("0.0.0.0").check_open(True)
    Settings("::1").check_open(False)
    assert is_loopback("127.8.0.1") and not is_loopback("example.org") and not is_loopback("")
    for wrong in ({"port": 70_000}, {"workers": 0}, {"batch": 65}):
        with pytest.raises(ArgumentError):
            Settings(**wrong)
    with pytest.raises(ArgumentError):
        Limits(duration_s=float("nan"))
    monkeypatch.setenv("SILK_TOKEN", "short")
    with pytest.raises(ArgumentError, match=r"at least 16 characters.* got 5\..* openssl rand -hex 32"):
        read_token(None)
    monkeypatch.delenv("SILK_TOKEN")
    assert read_token(None) is None
    file = tmp_path / "token"
    with pytest.raises(ArgumentError, match="Cannot read"):
        read_token(file)
    file.write_text("0123456789abcdef\n")
    file.chmod(0o644)
    with pytest.raises(ArgumentError, match="chmod 600"):
        read_token(file)
    file.chmod(0o600)
    assert read_token(file) == "0123456789abcdef"


def test_a_log_line_is_one_json_object() -> None:
    record = logging.LogRecord("n", logging.INFO, "f", 1, "a %s", ("b\nc",), None)
    record.client = "1.2.3.4"
    token = logs.request_id.set("id7")
    try:
        line = logs.JsonLines().format(record)
    finally:
        logs.request_id.reset(token)
    assert "\n" not in line
    assert json.loads(line) | {"time": ""} == {
        "time": "",
        "level": "info",
        "event": "a b\nc",
        "request_id": "id7",
        "client": "1.2.3.4",
    }
    assert logs.new_request_id("ok-1") == "ok-1"
    assert len(logs.new_request_id('x"\n')) == len(logs.new_request_id(None)) == 16


def test_close_codes_match_the_registry() -> None:
    codes = (protocol.NORMAL, protocol.GOING_AWAY, protocol.POLICY, protocol.INTERNAL, protocol.RESTART)
    assert codes == (1000, 1001, 1008, 1011, 1012) and protocol.TRY_LATER == 1013
