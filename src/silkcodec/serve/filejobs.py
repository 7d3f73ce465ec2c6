"""One uploaded file to one result, block by block and with limits: what a file worker does. No sockets.

A few kilobytes can promise, or expand to, hours. So a file's own figures are looked at before anything is decoded,
what comes out is counted block by block whatever the figures said, and memory is that of a block.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import container, files
from silkcodec.errors import ArgumentError, SilkError, TokensError
from silkcodec.silk import Silk
from silkcodec.spec import DIMS_PER_TOKEN, FRAME_SAMPLES, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, codebook_sizes

UPLOAD = "the upload"
WAVES = ("wav", "flac")
TOKENS = ("silk", "json")


class TooLongError(SilkError):
    """Raised when an upload contains more audio than the server's limit."""


class Cancelled(Exception):
    """Raised when the client no longer waits for the result."""


@dataclass(frozen=True)
class FileJob:
    """What to do.

    Attributes:
        source, target: files of the front's own private folder; the target does not exist yet.
        given, wanted: "audio", "silk", "json", "wav", "flac".
        dims_per_token: of the tokens that are wanted. entropy: range-code a .silk file.
        max_s: of sound.
    """

    source: Path
    target: Path
    given: str
    wanted: str
    max_s: float
    dims_per_token: int = DIMS_PER_TOKEN
    entropy: bool = False


def work(codec: Silk, job: FileJob, is_cancelled: Callable[[], bool]) -> float:
    """Run the job and return the seconds of audio processed.

    Raises:
        SilkError: whatever is wrong with the upload. Cancelled: `is_cancelled` said so between two blocks.
    """
    done_s = 0.0

    def advance(seconds: float) -> None:
        nonlocal done_s
        done_s += seconds
        _check_length(done_s, job.max_s)
        if is_cancelled():
            raise Cancelled

    for left in (job.target, _between(job)):
        left.unlink(missing_ok=True)  # of a worker that died of this job, or beside it
    if job.wanted in TOKENS:
        _encode(codec, job, advance)
    else:
        _decode(codec, job, advance)
    return done_s


def _encode(codec: Silk, job: FileJob, advance: files.Advance) -> None:
    plain = job.wanted == "silk" and job.dims_per_token == DIMS_PER_TOKEN
    coded = job.target if plain else _between(job)
    with _opened(job.source) as file:
        entropy = plain and job.entropy
        files.encode_file(
            codec, file, coded, entropy=entropy, opened=lambda s: _check_length(s, job.max_s), advance=advance
        )
    if plain:
        return
    tokens = container.read(coded).regroup(job.dims_per_token)
    coded.unlink()
    if job.wanted == "silk":
        container.write(tokens, job.target, entropy=job.entropy)
    else:
        job.target.write_text(json.dumps(to_json(tokens)), encoding="utf-8")


def _decode(codec: Silk, job: FileJob, advance: files.Advance) -> None:
    source = job.source
    if job.given == "json":
        tokens = from_json(job.source.read_bytes(), codec.codec_id, job.max_s)
        source = _between(job)
        container.write(tokens, source)
    with _opened(source) as file:
        contents = container.info(file)  # by the headers of its chunks: a coded frame may be a byte
        _check_length(contents.n_frames / SILK_FRAME_RATE, job.max_s + 1 / SILK_FRAME_RATE)
        file.seek(0)
        files.decode_file(codec, file, job.target, advance=advance)
    if source != job.source:
        source.unlink()


def _between(job: FileJob) -> Path:
    """Where a .silk file lies that is neither the upload nor the result."""
    return job.target.with_suffix(".part.silk")


def _check_length(seconds: float, max_s: float) -> None:
    if seconds > max_s:
        raise TooLongError(f"An upload must be {max_s:g} s of sound at most; got {seconds:.1f} s or more.")


def _opened(path: Path) -> Any:
    file = open(path, "rb")  # noqa: SIM115 - a `with` of the caller closes it
    file.raw.name = UPLOAD  # type: ignore[attr-defined]  # a message must not tell where it lies here
    return file


def to_json(tokens: Tokens) -> dict[str, Any]:
    """Tokens as the server writes them: `codes` frame by frame, as a language model reads them."""
    return {
        "codec": tokens.codec,
        "sample_rate": tokens.sample_rate,
        "n_samples": tokens.n_samples,
        "dims_per_token": tokens.dims_per_token,
        "codebook_sizes": list(tokens.codebook_sizes),
        "frame_rate": SILK_FRAME_RATE,
        "codes": np.stack(tokens.codes, axis=1).tolist(),
    }


def from_json(text: bytes | str, codec_id: str, max_s: float) -> Tokens:
    """The inverse; only `codes` must be there, the rest has Silk's defaults, and `n_samples` that of whole frames.

    Raises:
        TokensError, ArgumentError: not tokens of this codec. TooLongError.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokensError(f"Tokens must be JSON; {error}.") from error
    if not isinstance(given, dict) or not isinstance(given.get("codes"), list):
        raise TokensError("Tokens must be a JSON object with 'codes': a list of frames, each a list of integers.")
    _check_length(len(given["codes"]) / SILK_FRAME_RATE, max_s + 1 / SILK_FRAME_RATE)
    dims = given.get("dims_per_token", DIMS_PER_TOKEN)
    if isinstance(dims, bool) or not isinstance(dims, int):
        raise ArgumentError(f"dims_per_token must be 1..20; got {dims!r}.")
    codec = given.get("codec", codec_id)
    if codec != codec_id:
        raise TokensError(f"Tokens must be of '{codec_id}'; got {codec!r}; send them to a server of their model.")
    sizes = codebook_sizes(dims)
    codes = as_codes(given["codes"], len(sizes))
    n_samples = given.get("n_samples", len(codes) * FRAME_SAMPLES)
    rates = (SILK_FRAME_RATE,) * len(sizes)
    return Tokens(tuple(codes.T), sizes, rates, SILK_SAMPLE_RATE, n_samples, codec_id)


def as_codes(frames: Any, k: int) -> np.ndarray:
    """JSON's lists as int64 [F, k]. Raises TokensError; the range of the codes is not checked here."""
    what = f"codes must be a list of frames, each of {k} integers"
    if not isinstance(frames, list) or not frames:
        raise TokensError(f"{what}; got none.")
    for t, frame in enumerate(frames):
        if not isinstance(frame, list) or len(frame) != k or not all(type(code) is int for code in frame):
            raise TokensError(f"{what}; frame {t} is not.")
    try:
        return np.array(frames, dtype=np.int64)
    except OverflowError as error:
        raise TokensError(f"{what} of 64 bits; got a larger one.") from error
