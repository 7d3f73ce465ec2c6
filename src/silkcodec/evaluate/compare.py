"""Implement `silk compare`: encode and decode the same clips with several codecs, and measure the output."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from silkcodec.codec import codecs as codec_names
from silkcodec.codec import parse
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.evaluate.description import Described, describe, describe_in_new_process
from silkcodec.evaluate.listening import REFERENCE
from silkcodec.evaluate.run import Candidate, Progress, Result, RunOptions, carry_out, conclude, prepare, problem
from silkcodec.parallel.cores import available_cores

ORIGINAL = "original"
"""Name of the candidate whose output is the clip itself, like that of a lossless codec."""


def compare(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str] = ("silk",),
    folder: str | os.PathLike[str] | None = None,
    options: RunOptions | None = None,
    *,
    isolate: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Measure codecs on the same clips.

    Args:
        inputs: audio files, folders, or manifests.
        codecs: codec names, or "original" for the clips themselves. The first codec is compared with all others.
        folder: output folder for the result, the reports and rows.jsonl. If None, nothing is written.
        options: see `RunOptions`.
        isolate: whether to run the codecs in worker processes, so that a crash affects only one measurement. If False,
            `options.jobs` is ignored and peak memory is not measured.
        progress: callback that receives the number of finished rows, the total, and the name of the latest clip.

    Returns:
        The contents of `results.json`: settings, rates, means with intervals, differences, groups and missing values.

    Raises:
        ArgumentError: an argument is invalid.
        AudioError: an input does not exist, or none of the clips can be read.
        OutputError: `folder` cannot be written to or already contains a result.
        SilkError: none of the codecs can be used.
    """
    options = options or RunOptions()
    names = list(dict.fromkeys(codecs))
    _check_names(names)
    measured, clips = prepare(inputs, folder, options)
    coded = [name for name in names if name != ORIGINAL]
    described = _described(coded, next(clip.path for clip in clips if problem(clip) is None), options, isolate)
    labels = _labels(names)
    originals = {clip.name: clip.path for clip in clips}
    candidates = [
        Candidate(ORIGINAL, originals)
        if name == ORIGINAL
        else Candidate(labels[name], name, f"{described[name].codec_id} {described[name].layout}")
        for name in names
        if name == ORIGINAL or not described[name].failed
    ]
    rows = carry_out(clips, candidates, measured, folder, options, isolate=isolate, progress=progress)
    facts = {labels[name]: described[name].facts if name in described else {} for name in names}
    return conclude("silk compare", clips, facts, rows, measured, folder, options)


def _described(names: Sequence[str], clip: Path, options: RunOptions, isolate: bool) -> dict[str, Described]:
    """Describe each codec. Raises an error if a preset is unknown or no codec can be used."""
    threads = max(1, available_cores() // options.processes)

    def described_one(name: str) -> Described:
        return describe_in_new_process(name, clip, threads) if isolate else describe(name)

    with ThreadPoolExecutor(options.processes if isolate else 1) as pool:
        described = dict(zip(names, pool.map(described_one, names), strict=True))
    for found in described.values():
        if found.refused:
            raise ArgumentError(found.failed)
    if all(found.failed for found in described.values()):
        reasons = [found.failed if len(names) == 1 else f"{name}: {found.failed}" for name, found in described.items()]
        raise SilkError(" ".join(reasons))
    return described


def _check_names(names: Sequence[str]) -> None:
    """Check the codec names before any codec is loaded."""
    if not all(names) or not set(names) - {ORIGINAL}:
        raise ArgumentError(f"Pass at least one codec, e.g. --codecs silk,opus:6k; got '{','.join(names)}'.")
    known = codec_names()
    for name in names:
        if name != ORIGINAL and parse(name)[0] not in known and not Path(name).is_dir():
            raise ArgumentError(
                f"Unknown codec: '{name}'. Pass one of {', '.join([*known, ORIGINAL])}, or a weights folder."
            )


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Return the name that the result uses for each codec. Folder paths are shortened to their last component."""
    short = {}
    for name in names:
        head, at, source = name.rpartition("@")
        path = source if at else name
        short[name] = f"{head}{at}{Path(path).resolve().name}" if Path(path).is_dir() else name
    reserved = {REFERENCE, ORIGINAL} & {short[name] for name in names if name != ORIGINAL}
    twice = reserved or len(set(short.values())) < len(short)
    return {name: name for name in names} if twice else short
