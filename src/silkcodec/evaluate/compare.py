"""`silk compare`: codecs on the same clips, there and back, measured in every way there is.

A codec is first loaded in a process of its own (memory.py): one that cannot be used is told in the result, and
the others go on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from silkcodec.codec import codecs as codec_names
from silkcodec.codec import parse
from silkcodec.errors import ArgumentError, SilkError
from silkcodec.evaluate import memory
from silkcodec.evaluate.run import Candidate, Options, Progress, Result, carry_out, conclude, prepare, problem
from silkcodec.parallel.cores import available_cores

ORIGINAL = "original"  # stands for the clips themselves: what each metric gives where nothing is lost


def compare(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str] = ("silk",),
    folder: str | os.PathLike[str] | None = None,
    options: Options | None = None,
    *,
    isolate: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Measures codecs on the same clips.

    Args:
        inputs: audio files, folders, or manifests.
        codecs: names as `silkcodec.load` takes them, and "original" for the clips themselves; differences are
            taken against the first.
        folder: for the result, the report and the rows; None: nothing is written.
        options: see `Options`.
        isolate: run codecs in processes of their own, so that one that crashes fails alone, and measure their
            memory. False: in this one, without jobs.
        progress: called after each row.

    Returns:
        What `results.json` holds: settings, rates, means with intervals, differences, groups, what was left out.

    Raises:
        ArgumentError, AudioError: the arguments or the clips, before anything is measured.
        SilkError: no codec can be used at all. OutputError: `folder` cannot be written, or has a result.
    """
    options = options or Options()
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


def _described(names: Sequence[str], clip: Path, options: Options, isolate: bool) -> dict[str, memory.Described]:
    """What each codec says of itself. Raises for a preset that there is not, and if no codec can be used."""
    threads = max(1, available_cores() // options.processes)

    def describe(name: str) -> memory.Described:
        return memory.describe_apart(name, clip, threads) if isolate else memory.describe(name)

    with ThreadPoolExecutor(options.processes if isolate else 1) as pool:
        described = dict(zip(names, pool.map(describe, names), strict=True))
    for found in described.values():
        if found.refused:
            raise ArgumentError(found.failed)
    if all(found.failed for found in described.values()):
        reasons = [found.failed if len(names) == 1 else f"{name}: {found.failed}" for name, found in described.items()]
        raise SilkError(" ".join(reasons))
    return described


def _check_names(names: Sequence[str]) -> None:
    """A slip of the fingers is found before anything is loaded; presets are found out by loading."""
    if not all(names) or not set(names) - {ORIGINAL}:
        raise ArgumentError("One codec at least must be named, and none may be empty: --codecs silk,opus:6k.")
    known = codec_names()
    for name in names:
        if name != ORIGINAL and parse(name)[0] not in known and not Path(name).is_dir():
            raise ArgumentError(f"A codec must be {', '.join(known)}, original or a folder of weights; got '{name}'.")


def _labels(names: Sequence[str]) -> dict[str, str]:
    """Names for the result: as they were given, but of a local folder only its own name."""
    short = {}
    for name in names:
        head, at, source = name.rpartition("@")
        path = source if at else name
        short[name] = f"{head}{at}{Path(path).resolve().name}" if Path(path).is_dir() else name
    twice = len(set(short.values())) < len(short)
    return {name: name for name in names} if twice else short
