"""Encode the recordings of a shard, and write their tokens to a file.

    items of the plan -> audio.Reader -> codec -> rows -> a hidden file, fsync, rename -> tokens-00003-of-00010.parquet

Every worker uses one thread, because the number of threads can affect rounding and change a token.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import audio
from silkcodec.codec import Codec, codecs, is_silk, load
from silkcodec.corpus import arrow
from silkcodec.corpus.items import Item, Refusal, Refused, locate, refused
from silkcodec.corpus.plan import CorpusSettings, Facts, Shard
from silkcodec.corpus.rows import SUFFIXES, WRITERS, Row, sealed
from silkcodec.corpus.tars import Window
from silkcodec.errors import ArgumentError, AudioError, OutputError, SilkError, TokensError, WeightsError
from silkcodec.output import replacing
from silkcodec.parallel.worker_process import peak_memory_mb
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamEncoder
from silkcodec.tokens import Tokens

BLOCK_S = 10.0  # duration of each read from an audio file, in seconds
Record = dict[str, Any]
"""A line in the ledger. `tokenize_shard` describes its fields."""


@dataclass(frozen=True)
class ShardJob:
    """The settings that a worker needs to encode shards.

    Attributes:
        settings: settings of the corpus.
        codec: codec name, as accepted by `load`.
        folders: absolute paths of the input folders, indexed by `Item.root`.
        out: absolute path of the output folder.
        plan: hash of the plan.
        n_shards: number of shards in the plan.
    """

    settings: CorpusSettings
    codec: str
    folders: tuple[str, ...]
    out: str
    plan: str
    n_shards: int


def load_codec(name: str, provider: str) -> Codec:
    """Load a codec, and limit Silk to one thread. Raises the same errors as `load`."""
    if is_silk(name):
        return load(name, threads=1, provider=provider)
    if provider != "cpu":
        raise ArgumentError(f"--provider must be cpu for '{name}'; got '{provider}'. Only silk supports cuda.")
    return load(name)


def facts_of(codec: Codec) -> Facts:
    """Return the codec properties that a corpus depends on."""
    identity = getattr(codec, "codec_id", None)
    if identity is None:
        identity = codec.encode(np.zeros(codec.sample_rate // 2, np.float32), codec.sample_rate).codec
    streams = isinstance(codec, Silk)
    return Facts(identity, codec.sample_rate, tuple(codec.codebook_sizes), tuple(codec.frame_rates), streams)


def check_worker(codec: Codec, job: ShardJob) -> None:
    """Check that a worker has the codec of the plan, and that it can read the output folder.

    Raises:
        WeightsError: the codec is not the one in the plan.
        OutputError: the plan cannot be read from the output folder.
    """
    facts = facts_of(codec)
    if facts != job.settings.facts:
        raise WeightsError(f"Every worker must have the codec '{job.settings.facts.codec}'; got '{facts.codec}'.")
    try:
        header = json.loads((Path(job.out) / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        header = {}
    if header.get("hash") != job.plan:
        raise OutputError(
            "Every worker must be able to read the output folder; a worker cannot find the run's plan.json in"
            f" '{job.out}'."
        )


def shard_name(job: ShardJob, index: int) -> str:
    """Return the file name of a shard."""
    return f"tokens-{index:05d}-of-{job.n_shards:05d}{SUFFIXES[job.settings.file_format]}"


def tokenize_shard(
    codec: Codec,
    shard: Shard,
    job: ShardJob,
    crashed: Mapping[int, str] | None = None,
    starts: Callable[[int], None] = lambda number: None,
) -> Record:
    """Encode the recordings of a shard and write its file.

    Args:
        codec: codec from `load_codec`.
        shard: shard to encode.
        job: settings for the worker.
        crashed: descriptions of earlier crashes, keyed by the number of the recording. These recordings are rejected.
        starts: callback that receives the number of each recording before it is read.

    Returns:
        A dict. "shard", "file", "sha256" and "bytes" describe the file. "items", "rows", "samples" (at the codec's
        rate), "tokens" and "bits" are totals for the shard. "quarantined" is a list with a dict for each excluded
        recording. "wall_s", "cpu_s" and "peak_mb" describe the resource use of this process.

    Raises:
        OutputError: the file cannot be written, e.g. because the disk is full.
        SilkError: encoding failed, and no single recording is the cause.
    """
    started, started_cpu = time.perf_counter(), time.process_time()
    quarantined: list[Refused] = []
    total = {"rows": 0, "samples": 0, "tokens": 0}
    bits = [0.0]
    path = Path(job.out) / shard_name(job, shard.index)
    with replacing(path, overwrite=True, durable=True) as file:
        hashed = _Hashed(file)
        writer = WRITERS[job.settings.file_format](hashed, job.settings.facts)
        for number, item in enumerate(shard.items):
            starts(number)
            try:
                if crashed and number in crashed:
                    raise Refusal("crash", f"Cannot encode '{item.path}': {crashed[number]}")
                rows = list(_encoded(codec, item, job))
            except Refusal as refusal:
                quarantined.append(refused(item.id, item.path, refusal))
                continue
            for row in rows:  # Either all rows of a recording are written or none.
                writer.add(row)
                total["rows"] += 1
                total["samples"] += row.tokens.n_samples
                total["tokens"] += row.tokens.n_tokens
                bits.append(_bits(row.tokens))
        writer.close()
        file.flush()
    return {
        "shard": shard.index,
        "file": path.name,
        "sha256": hashed.digest.hexdigest(),
        "bytes": hashed.n_bytes,
        "items": len(shard.items),
        **total,
        "bits": math.fsum(bits),
        "quarantined": [entry.to_json() for entry in quarantined],
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - started_cpu,
        "peak_mb": peak_memory_mb(),
    }


def _encoded(codec: Codec, item: Item, job: ShardJob) -> Iterator[Row]:
    """Encode a recording and yield its rows.

    Raises:
        Refusal: the recording cannot be used.
        SilkError: encoding failed, and the recording is not the cause.
    """
    settings = job.settings
    columns = json.loads(item.meta) if item.meta else {}
    try:
        with ExitStack() as files:
            reader = _opened(item, job, files)
            for number, (start_s, tokens) in enumerate(_tokens(codec, reader, item, settings)):
                id = item.id if settings.max_segment_s is None else f"{item.id}#{number}"
                yield sealed(id, item.path, item.start_s + start_s, tokens, columns)
        locate(item, job.folders[item.root], settings.allow_outside)  # The file may have changed while it was read.
    except AudioError as error:
        raise Refusal("unreadable", str(error)) from error
    except (TokensError, ArgumentError) as error:
        raise Refusal("codec", f"The codec failed on '{item.path}': {error}") from error
    except (SilkError, KeyboardInterrupt):
        raise  # The error is a Refusal already, or the recording is not its cause.
    except OSError as error:
        raise Refusal("unreadable", f"Cannot read '{item.path}': {error.strerror or error}.") from error
    except Exception as error:
        # A baseline codec can raise any exception. Exclude the recording, and continue with the next one.
        raise Refusal("codec", f"The codec failed on '{item.path}': {type(error).__name__}: {error}") from error


def _opened(item: Item, job: ShardJob, files: ExitStack) -> audio.Reader:
    file: Any = locate(item, job.folders[item.root], job.settings.allow_outside)
    if item.at is not None and item.kind == "tar":
        file = files.enter_context(Window(file, *item.at, item.path))
    elif item.at is not None:
        try:
            file = files.enter_context(BytesIO(arrow.content(file, item.at, item.kind)))
        except ArgumentError as error:  # The file was valid when the plan was made, so it has changed.
            raise Refusal("unreadable", str(error)) from error
    rate, part = job.settings.facts.sample_rate, (item.start_s, item.duration_s)
    reader = audio.Reader(file, rate, channel=item.channel, start_s=part[0], duration_s=part[1])
    return files.enter_context(reader)


def _tokens(codec: Codec, reader: audio.Reader, item: Item, settings: CorpusSettings) -> Iterator[tuple[float, Tokens]]:
    """Yield the start in seconds and the tokens of each row that a recording is split into."""
    rate = settings.facts.sample_rate
    limit = settings.max_hours * 3600
    declared_s = reader.duration_s - item.start_s if item.duration_s is None else item.duration_s
    if declared_s > limit:
        raise _too_long(item, settings)
    if settings.max_segment_s is not None:
        n = max(1, round(settings.max_segment_s * rate))
        taken = 0
        while len(wave := reader.read(n)):
            if taken + len(wave) > limit * rate:
                raise _too_long(item, settings)
            yield taken / rate, _checked(codec.encode(wave, rate), settings)
            taken += len(wave)
        return
    blocks = _bounded(reader, item, settings)
    if isinstance(codec, Silk):
        stream = StreamEncoder(codec)
        codes = [stream.feed(block, checked=True) for block in blocks]
        yield 0.0, _checked(codec.tokens(np.concatenate([*codes, stream.flush()]), stream.n_samples), settings)
    else:
        yield 0.0, _checked(codec.encode(np.concatenate(list(blocks)), rate), settings)


def _bounded(reader: audio.Reader, item: Item, settings: CorpusSettings) -> Iterator[Any]:
    """Yield the audio of a recording in blocks. Raises Refusal if the recording is too long."""
    left = settings.max_hours * 3600 * settings.facts.sample_rate
    for block in reader.blocks(BLOCK_S):
        left -= len(block)
        if left < 0:
            raise _too_long(item, settings)
        yield block


def _too_long(item: Item, settings: CorpusSettings) -> Refusal:
    more = "" if settings.facts.streams else " Split recordings with --max-segment-s."
    most = f"{settings.max_hours:g} h (--max-hours-per-file)"
    return Refusal("too long", f"'{item.path}' is longer than {most}.{more}")


def _checked(tokens: Tokens, settings: CorpusSettings) -> Tokens:
    facts = settings.facts
    got = tokens.codec, tokens.sample_rate, tokens.codebook_sizes, tokens.frame_rates
    expected = facts.codec, facts.sample_rate, facts.codebook_sizes, facts.frame_rates
    if got != expected:
        raise TokensError(
            f"The codec, sample rate, codebook sizes and frame rates of the tokens must be {expected}; got {got}."
        )
    return tokens


def _bits(tokens: Tokens) -> float:
    pairs = zip(tokens.codes, tokens.codebook_sizes, strict=True)
    return sum(len(codes) * math.log2(size) for codes, size in pairs)


class _Hashed:
    """Write to a file, and compute the SHA-256 of the written bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.n_bytes = 0
        self.closed = False

    def write(self, content: Any) -> int:
        self.digest.update(content)
        self.n_bytes += memoryview(content).nbytes
        return self._file.write(content)

    def tell(self) -> int:
        return self.n_bytes

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def absolute_codec(name: str) -> str:
    """Convert a folder path in a codec name to an absolute path."""
    codec, at, source = name.partition("@")
    if source and os.path.isdir(os.path.expanduser(source)):
        return f"{codec}{at}{os.path.abspath(os.path.expanduser(source))}"
    if not at and codec not in codecs() and os.path.isdir(codec):
        return os.path.abspath(codec)
    return name
