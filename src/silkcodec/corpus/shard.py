"""tokenize_shard: the one pure unit of work. The same shard gives the same bytes, whichever engine and worker does it.

    items of the plan -> audio.Reader -> codec -> rows -> a hidden file, fsync, rename -> tokens-00003-of-00010.parquet

The name of a shard appears only when all its bytes are on the disk. What came of it (`Record`) goes to the ledger of
the run; a shard without its line there is simply done again, over the file that may be there, with the same bytes. So
a kill at any moment costs at most the shards in work.

Every worker computes with one thread: with more, sums are added in another order, and once in a while that makes
another token.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import audio
from silkcodec.codec import Codec, codecs, load, parse
from silkcodec.corpus import arrow
from silkcodec.corpus.items import Item, Refusal, Refused, locate, refused
from silkcodec.corpus.plan import Facts, Settings, Shard
from silkcodec.corpus.rows import SUFFIXES, WRITERS, Row, sealed
from silkcodec.corpus.tars import Window
from silkcodec.errors import ArgumentError, AudioError, OutputError, SilkError, TokensError, WeightsError
from silkcodec.output import replacing
from silkcodec.silk import Silk
from silkcodec.silk.stream import StreamEncoder
from silkcodec.tokens import Tokens

BLOCK_S = 10.0  # read from a file at once
Record = dict[str, Any]
"""A line of the ledger: `tokenize_shard` tells what is in it."""


@dataclass(frozen=True)
class Job:
    """What a worker must know, beside the shard.

    Attributes:
        codec: as `load` takes it.
        folders: of the inputs, absolute, in the order of `Item.root`.
        out: the output folder, absolute.
        plan: the plan's hash. n_shards: of the plan.
    """

    settings: Settings
    codec: str
    folders: tuple[str, ...]
    out: str
    plan: str
    n_shards: int


def load_codec(name: str, provider: str) -> Codec:
    """The codec for a worker: with one thread. Raises what `load` raises."""
    base = parse(name)[0]
    if base == "silk" or base not in codecs():  # a folder of weights is Silk's
        silk = load(name, threads=1, provider=provider)
        return silk
    if provider != "cpu":
        raise ArgumentError(f"--provider must be cpu for any codec but silk; got '{provider}' for '{name}'.")
    return load(name)


def facts_of(codec: Codec) -> Facts:
    """What a corpus depends on. A codec that does not tell its identity is asked for the tokens of half a second."""
    identity = getattr(codec, "codec_id", None)
    if identity is None:
        identity = codec.encode(np.zeros(codec.sample_rate // 2, np.float32), codec.sample_rate).codec
    streams = isinstance(codec, Silk)
    return Facts(identity, codec.sample_rate, tuple(codec.codebook_sizes), tuple(codec.frame_rates), streams)


def check_worker(codec: Codec, job: Job) -> None:
    """A worker has the codec of the plan, and sees its folder. Raises WeightsError, OutputError."""
    facts = facts_of(codec)
    if facts != job.settings.facts:
        raise WeightsError(f"A worker must have the codec of the plan, {job.settings.facts.codec}; got {facts.codec}.")
    try:
        header = json.loads((Path(job.out) / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        header = {}
    if header.get("hash") != job.plan:
        raise OutputError(f"Every worker must see the output under one name; '{job.out}' is not there for one of them.")


def shard_name(job: Job, index: int) -> str:
    return f"tokens-{index:05d}-of-{job.n_shards:05d}{SUFFIXES[job.settings.file_format]}"


def tokenize_shard(
    codec: Codec,
    shard: Shard,
    job: Job,
    crashed: Mapping[int, str] | None = None,
    starts: Callable[[int], None] = lambda number: None,
) -> Record:
    """Encode a shard's recordings and write its file.

    Args:
        codec: of `load_codec`.
        crashed: items, by number, that ended the process that tried them, and how: refused without a try.
        starts: called with an item's number before it is read.

    Returns:
        shard, file, sha256, bytes: of the file. items, rows, samples (at the codec's rate), tokens, bits: in it.
        quarantined: a dict per recording that is not in it. wall_s, cpu_s, peak_mb: of this process's work; only
        these three may differ from one time to the next.

    Raises:
        OutputError: the disk is full, say. WeightsError and the like: it is not one recording that is bad.
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
                    raise Refusal("crash", f"'{item.path}' cannot be encoded: {crashed[number]}")
                rows = list(_encoded(codec, item, job))
            except Refusal as refusal:
                quarantined.append(refused(item.id, item.path, refusal))
                continue
            for row in rows:  # of one recording all or none
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
        "peak_mb": _peak_mb(),
    }


def _encoded(codec: Codec, item: Item, job: Job) -> Iterator[Row]:
    """The rows of one recording. Raises Refusal; OutputError and other errors that are not the recording's."""
    settings = job.settings
    columns = json.loads(item.meta) if item.meta else {}
    try:
        with ExitStack() as files:
            reader = _opened(item, job, files)
            for number, (start_s, tokens) in enumerate(_tokens(codec, reader, item, settings)):
                id = item.id if settings.max_segment_s is None else f"{item.id}#{number}"
                yield sealed(id, item.path, item.start_s + start_s, tokens, columns)
        locate(item, job.folders[item.root], settings.allow_outside)  # it may have changed while it was read
    except AudioError as error:
        raise Refusal("unreadable", str(error)) from error
    except (TokensError, ArgumentError) as error:
        raise Refusal("codec", f"The codec failed on '{item.path}': {error}") from error
    except (SilkError, KeyboardInterrupt):
        raise  # a Refusal, or nothing that a recording is to blame for
    except OSError as error:
        raise Refusal("unreadable", f"'{item.path}' cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # a baseline codec's: whatever it is, the night's other recordings go on; it is counted
        raise Refusal("codec", f"The codec failed on '{item.path}': {type(error).__name__}: {error}") from error


def _opened(item: Item, job: Job, files: ExitStack) -> audio.Reader:
    file: Any = locate(item, job.folders[item.root], job.settings.allow_outside)
    if item.at is not None and item.kind == "tar":
        file = files.enter_context(Window(file, *item.at, item.path))
    elif item.at is not None:
        try:
            file = files.enter_context(BytesIO(arrow.content(file, item.at, item.kind)))
        except ArgumentError as error:  # it was whole when the plan was made
            raise Refusal("unreadable", str(error)) from error
    rate, part = job.settings.facts.sample_rate, (item.start_s, item.duration_s)
    reader = audio.Reader(file, rate, channel=item.channel, start_s=part[0], duration_s=part[1])
    return files.enter_context(reader)


def _tokens(codec: Codec, reader: audio.Reader, item: Item, settings: Settings) -> Iterator[tuple[float, Tokens]]:
    """(start within the item in s, Tokens) of each row: one, or one for each --max-segment-s."""
    rate = settings.facts.sample_rate
    limit = settings.max_hours * 3600
    promised_s = reader.duration_s - item.start_s if item.duration_s is None else item.duration_s
    if promised_s > limit:
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
        codes = [stream.feed(block) for block in blocks]
        yield 0.0, _checked(codec.tokens(np.concatenate([*codes, stream.flush()]), stream.n_samples), settings)
    else:
        yield 0.0, _checked(codec.encode(np.concatenate(list(blocks)), rate), settings)


def _bounded(reader: audio.Reader, item: Item, settings: Settings) -> Iterator[Any]:
    """Blocks, until there are more than allowed: a header can lie, and a megabyte of silence can be a year."""
    left = settings.max_hours * 3600 * settings.facts.sample_rate
    for block in reader.blocks(BLOCK_S):
        left -= len(block)
        if left < 0:
            raise _too_long(item, settings)
        yield block


def _too_long(item: Item, settings: Settings) -> Refusal:
    more = "" if settings.facts.streams else " --max-segment-s cuts it for a codec that takes whole waves only."
    most = f"{settings.max_hours:g} h (--max-hours-per-file)"
    return Refusal("too long", f"'{item.path}' must hold at most {most}.{more}")


def _checked(tokens: Tokens, settings: Settings) -> Tokens:
    facts = settings.facts
    got = tokens.codec, tokens.sample_rate, tokens.codebook_sizes, tokens.frame_rates
    expected = facts.codec, facts.sample_rate, facts.codebook_sizes, facts.frame_rates
    if got != expected:
        raise TokensError(f"Tokens must be of {expected}; got {got}.")
    return tokens


def _bits(tokens: Tokens) -> float:
    pairs = zip(tokens.codes, tokens.codebook_sizes, strict=True)
    return sum(len(codes) * math.log2(size) for codes, size in pairs)


class _Hashed:
    """What is written, and its SHA-256."""

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
        """`replacing` does it at the end."""

    def close(self) -> None:
        """So does it this."""


def _peak_mb() -> float | None:
    """Peak resident memory of this process, MB of 10^6 bytes; None where the system does not tell."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    factor = 1e-6 if sys.platform == "darwin" else 1.024e-3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * factor


def absolute_codec(name: str) -> str:
    """A codec's name whose source, if it is a folder here, does not depend on where a worker is."""
    codec, at, source = name.partition("@")
    if source and os.path.isdir(os.path.expanduser(source)):
        return f"{codec}{at}{os.path.abspath(os.path.expanduser(source))}"
    if not at and codec not in codecs() and os.path.isdir(codec):
        return os.path.abspath(codec)
    return name
