"""Convert an uploaded file block by block in a worker process.

The duration is checked after every block, because a small file can contain hours of audio.
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
TOKENS = ("silk", "json")


class TooLongError(SilkError):
    """Raised when an upload contains more audio than the server allows."""


class Cancelled(Exception):
    """Raised when the client is no longer waiting for the result."""


@dataclass(frozen=True)
class FileJob:
    """A file conversion.

    Attributes:
        source, target: paths of the input and the result in the server's private folder.
        given: format of the source: "audio", "silk" or "json".
        wanted: format of the target: "silk", "json", "wav" or "flac".
        max_s: maximum duration of the audio in seconds.
        dims_per_token: number of FSQ dimensions per token in the target.
        entropy: whether to compress .silk files with a range coder.
    """

    source: Path
    target: Path
    given: str
    wanted: str
    max_s: float
    dims_per_token: int = DIMS_PER_TOKEN
    entropy: bool = False


def work(codec: Silk, job: FileJob, is_cancelled: Callable[[], bool]) -> float:
    """Convert a file, and return the duration of its audio in seconds.

    Args:
        codec: codec to use.
        job: conversion to run.
        is_cancelled: function that is called after each block. If it returns True, the conversion stops.

    Raises:
        SilkError: the upload is invalid or too long.
        Cancelled: `is_cancelled` returned True.
    """
    done_s = 0.0

    def advance(seconds: float) -> None:
        nonlocal done_s
        done_s += seconds
        _check_length(done_s, job.max_s)
        if is_cancelled():
            raise Cancelled

    for left in (job.target, _between(job)):
        left.unlink(missing_ok=True)  # A worker that crashed during this job can leave files.
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
        tokens = from_json(job.source.read_bytes(), codec, job.max_s)
        source = _between(job)
        container.write(tokens, source)
    with _opened(source) as file:
        contents = container.info(file)  # The file size says little, because an entropy-coded frame can take one byte.
        _check_length(contents.n_frames / SILK_FRAME_RATE, job.max_s + 1 / SILK_FRAME_RATE)
        file.seek(0)
        files.decode_file(codec, file, job.target, advance=advance)
    if source != job.source:
        source.unlink()


def _between(job: FileJob) -> Path:
    """Return the path of the intermediate .silk file."""
    return job.target.with_suffix(".part.silk")


def _check_length(seconds: float, max_s: float) -> None:
    if seconds > max_s:
        raise TooLongError(f"An upload may contain at most {max_s:g} s of audio; got at least {seconds:.1f} s.")


def _opened(path: Path) -> Any:
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    file.raw.name = UPLOAD  # type: ignore[attr-defined]  # error messages must not contain a local path
    return file


def to_json(tokens: Tokens) -> dict[str, Any]:
    """Convert tokens to a JSON object."""
    return {
        "codec": tokens.codec,
        "sample_rate": tokens.sample_rate,
        "n_samples": tokens.n_samples,
        "dims_per_token": tokens.dims_per_token,
        "codebook_sizes": list(tokens.codebook_sizes),
        "frame_rate": SILK_FRAME_RATE,
        "codes": np.stack(tokens.codes, axis=1).tolist(),
    }


def from_json(text: bytes | str, codec: Silk, max_s: float) -> Tokens:
    """Convert a JSON object to tokens. This is the inverse of `to_json`.

    Only the `codes` field is required.

    Args:
        text: text of the JSON object.
        codec: codec of the server.
        max_s: maximum duration in seconds.

    Raises:
        TokensError, ArgumentError: the text does not contain valid tokens of this codec.
        TooLongError: the tokens are longer than `max_s`.
    """
    try:
        given = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokensError(f"Tokens must be valid JSON: {error}.") from error
    if not isinstance(given, dict) or not isinstance(given.get("codes"), list):
        raise TokensError(
            "Tokens must be a JSON object whose 'codes' field is a list of frames. Each frame must be a list of"
            " integers."
        )
    _check_length(len(given["codes"]) / SILK_FRAME_RATE, max_s + 1 / SILK_FRAME_RATE)
    dims = given.get("dims_per_token", DIMS_PER_TOKEN)
    if isinstance(dims, bool) or not isinstance(dims, int):
        raise ArgumentError(f"dims_per_token must be an integer between 1 and 20; got {dims!r}.")
    codec_id = given.get("codec", codec.codec_id)
    codec.check_codec_id(codec_id)
    sizes = codebook_sizes(dims)
    codes = as_codes(given["codes"], len(sizes))
    n_samples = given.get("n_samples", len(codes) * FRAME_SAMPLES)
    rates = (SILK_FRAME_RATE,) * len(sizes)
    return Tokens(tuple(codes.T), sizes, rates, SILK_SAMPLE_RATE, n_samples, codec_id)


def as_codes(frames: Any, k: int) -> np.ndarray:
    """Convert a list of frames to codes, int64 [F, k].

    Raises:
        TokensError: `frames` is empty, or is not a list of lists of k integers.
    """
    what = f"'codes' must be a non-empty list of frames with {k} integers each"
    if not isinstance(frames, list) or not frames:
        got = "an empty list" if frames == [] else type(frames).__name__
        raise TokensError(f"{what}; got {got}.")
    for t, frame in enumerate(frames):
        if not isinstance(frame, list) or len(frame) != k or not all(type(code) is int for code in frame):
            raise TokensError(f"{what}; got an invalid frame at index {t}.")
    try:
        return np.array(frames, dtype=np.int64)
    except OverflowError as error:
        raise TokensError("Codes must fit in 64-bit integers; got a number that does not.") from error
