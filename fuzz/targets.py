"""Define the fuzz targets: functions that take untrusted bytes and may raise only SilkError."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tempfile
import warnings
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np

from silkcodec import audio, container
from silkcodec.audio import manifest as manifests
from silkcodec.container import structure
from silkcodec.corpus import arrow, sources, tars, tokenized
from silkcodec.corpus.items import Item
from silkcodec.errors import SilkError, TokensError
from silkcodec.serve.filejobs import from_json
from silkcodec.serve.protocol import Session
from silkcodec.silk.graph_file import check_graph_file
from silkcodec.silk.weights_config import WeightsConfig

T = TypeVar("T")
MAX_SOUND_S = 60.0  # limit for the duration of an input; real callers have similar limits
MAX_ITEMS = 1000
MANIFESTS = ("x.tsv", "x.csv", "x.jsonl", "x.scp", "x.tsv.gz")
FOLDER = Path(tempfile.mkdtemp(prefix="silk-fuzz-"))  # removed by `clean`


class OneCodec:
    """Mock a codec that decodes only its own tokens."""

    codec_id = "silk@0a1b2c3d4e5f"

    def check_codec_id(self, codec_id: str) -> None:
        if codec_id != self.codec_id:
            raise TokensError(f"Tokens must be from '{self.codec_id}'; got tokens from '{codec_id}'.")


class Pipe(io.RawIOBase):
    """Wrap bytes in a file that cannot seek and returns only a few bytes per read."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def read(self, n: int = -1) -> bytes:
        return self._file.read(min(n, 37))


def silk_file(data: bytes) -> None:
    """Read a .silk file. If the first byte is 1, correct all checksums first."""
    file = reseal(data[1:]) if data[:1] == b"\1" else data[1:]
    tokens = _or_none(lambda: container.read(io.BytesIO(file)))
    piped = _or_none(lambda: container.read(Pipe(file)))  # type: ignore[arg-type]
    contents = _or_none(lambda: container.info(io.BytesIO(file)))
    recovered_part = _or_none(lambda: container.read_damaged(io.BytesIO(file)))
    part = _or_none(lambda: container.read_damaged(io.BytesIO(file), start_s=0.4, duration_s=1.2))
    assert tokens == piped, "reading from a pipe and from a file gives different tokens"
    if tokens is None:
        assert recovered_part is None or recovered_part.damage is not None, "only read found damage, not read_damaged"
    else:
        assert recovered_part is not None and recovered_part.tokens == tokens and recovered_part.damage is None
        assert contents is not None and contents.n_samples == tokens.n_samples
        again = io.BytesIO()
        container.write(tokens, again)
        assert container.read(io.BytesIO(again.getvalue())) == tokens
    if part is not None:
        assert recovered_part is not None, "a part can be read, but the whole file cannot"
        np.testing.assert_array_equal(
            part.tokens.to_levels(), recovered_part.tokens.to_levels()[1 : 1 + part.tokens.n_frames]
        )


def reseal(file: bytes) -> bytes:
    """Correct the checksums of a .silk file."""
    data = bytearray(file)
    if len(data) < structure.PREFIX.size:
        return file
    at = struct.unpack_from("<H", data, 10)[0]
    if not structure.PREFIX.size + 4 <= at <= len(data):
        return file
    crc = zlib.crc32(data[: at - 4])
    struct.pack_into("<I", data, at - 4, crc)
    while at + structure.CHUNK.size <= len(data):
        end = at + structure.CHUNK.size + struct.unpack_from("<I", data, at + 8)[0]
        crc = zlib.crc32(data[at + 16 : end], zlib.crc32(data[at : at + 12], crc))
        struct.pack_into("<I", data, at + 12, crc)
        at = end
    return bytes(data)


def sound(data: bytes) -> None:
    """Read an audio file of any supported format."""
    seconds = 0.0
    with audio.Reader(io.BytesIO(data)) as reader:
        for block in reader.blocks(10.0):
            assert np.isfinite(block).all() and block.dtype == np.float32 and block.ndim == 1
            seconds += len(block) / audio.DEFAULT_RATE
            if seconds > MAX_SOUND_S:
                return


def corpus_tar(data: bytes) -> None:
    """List and read a tar archive of recordings."""
    path = FOLDER / "x.tar"
    path.write_bytes(data)
    for count, item in enumerate(sources.items(sources.roots([path]), False)):
        if count > MAX_ITEMS:
            return
        if isinstance(item, Item) and item.kind == "tar":
            window = tars.Window(str(path), *item.at, "n")
            window.read()
            window.close()
            assert ".." not in item.place.split("/")


def corpus_arrow(data: bytes) -> None:
    """Read a dataset that `datasets.save_to_disk` wrote."""
    folder = FOLDER / "arrow"
    folder.mkdir(exist_ok=True)
    (folder / "data.arrow").write_bytes(data)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data.arrow"}]}), encoding="utf-8")
    arrow.record_batches.cache_clear()
    for count, item in enumerate(sources.items(sources.roots([folder]), False)):
        if count > MAX_ITEMS:
            return
        if isinstance(item, Item) and item.kind == "arrow":
            arrow.content(str(folder / "data.arrow"), item.at)


def manifest(data: bytes) -> None:
    """Read a manifest. The first byte selects the format, as an index of `MANIFESTS`."""
    path = FOLDER / MANIFESTS[int.from_bytes(data[:1], "big") % len(MANIFESTS)]
    path.write_bytes(data[1:])
    for _, columns in islice(manifests.records(path), MAX_ITEMS):
        if isinstance(columns, SilkError):
            assert str(columns).isprintable()
        else:
            manifests.as_row(columns)


def shard(data: bytes) -> None:
    """Read a shard of a corpus: a tar if the first byte is 1, or else a Parquet file."""
    suffix = "tar" if data[:1] == b"\1" else "parquet"
    file = FOLDER / suffix / f"tokens-00000-of-00001.{suffix}"
    file.parent.mkdir(exist_ok=True)
    file.unlink(missing_ok=True)  # The previous input may still be mapped into memory.
    file.write_bytes(data[1:])
    for row in islice(tokenized.read(file.parent), MAX_ITEMS):
        assert row.tokens.n_samples > 0


def weights(data: bytes) -> None:
    """Read an ONNX graph if the first byte is 1, or else the config.json of a weights folder."""
    if data[:1] == b"\1":
        check_graph_file(data[1:], "encoder.onnx")
        return
    folder = FOLDER / "weights"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(data[1:])
    config = WeightsConfig.read(folder)
    for graph in (config.encoder, config.decoder):
        graph.fresh_states()


def messages(data: bytes) -> None:
    """Parse client input.

    If the first byte is 1, the rest is JSON for /v1/decode. Otherwise, it consists of WebSocket messages separated by
    zero bytes. Messages that start with B are binary, in hexadecimal.
    """
    if data[:1] == b"\1":
        from_json(data[1:], cast(Any, OneCodec()), MAX_SOUND_S)
        return
    session = Session(MAX_SOUND_S)
    for message in data[1:].split(b"\0"):
        text = message.decode("utf-8", errors="replace")
        pieces = session.receive(_bytes_of(text[1:]) if text.startswith("B") else text)
        assert sum(map(len, pieces)) <= 4 * len(data) + 8
    for piece in session.end():
        assert piece


def _bytes_of(text: str) -> bytes:
    digits = "".join(c for c in text if c in "0123456789abcdef")
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def _or_none(call: Callable[[], T]) -> T | None:
    try:
        return call()
    except SilkError:
        return None


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (silk_file, sound, corpus_tar, corpus_arrow, manifest, shard, weights, messages)
}


def run(name: str, data: bytes) -> None:
    """Pass one input to a target."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            TARGETS[name](data)
        except SilkError as error:
            assert str(error).isprintable(), "an error message must be one printable line"


def clean() -> None:
    """Delete the temporary folder."""
    shutil.rmtree(FOLDER, ignore_errors=True)
