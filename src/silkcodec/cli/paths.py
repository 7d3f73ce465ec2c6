"""Find the input files of a command, and choose their output paths."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from silkcodec.audio import SUFFIXES, find_files
from silkcodec.errors import ArgumentError, AudioError, ContainerError, SilkError
from silkcodec.output import check_output

STANDARD = "-"  # standard input, standard output


@dataclass(frozen=True)
class Kind:
    """A kind of input file.

    Attributes:
        name: name of the kind, for error messages.
        suffixes: suffixes of the files to find in a folder.
        error: type of error to raise if there are no such files.
    """

    name: str
    suffixes: tuple[str, ...]
    error: type[SilkError]


AUDIO = Kind("audio", SUFFIXES, AudioError)
SILK = Kind(".silk", (".silk",), ContainerError)


@dataclass(frozen=True)
class Job:
    """The paths of an input and its output. "-" means standard input or standard output."""

    source: str
    target: str


def plan(
    inputs: Sequence[str],
    output: str | None,
    kind: Kind,
    target_suffix: str,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
) -> list[Job]:
    """Find the input files, choose an output path for each, and check that the outputs do not conflict.

        silk encode a.wav                      a.silk in the same folder
        silk encode a.wav -o b.silk            b.silk
        silk encode a.wav b.wav -o out         out/a.silk  out/b.silk
        silk encode speech -o out              speech/x/a.wav -> out/x/a.silk
        silk encode one two -o out             one/a.wav -> out/one/a.silk
        silk encode 'speech/**/*.wav' -o out   speech/x/a.wav -> out/x/a.silk
        silk encode - < a.wav > a.silk         standard input and output
        silk encode speech                     a.flac, a.wav -> a.flac.silk, a.wav.silk

    Args:
        inputs: files, folders, glob patterns, or "-".
        output: path of a file or folder, or "-". The path is treated as a folder if it is an existing folder, ends with
            "/", or does not exist and has no suffix. It is also treated as a folder if there are several input files,
            or if the input is a folder or a pattern. If None, each output is written next to its input.
        kind: kind of the input files.
        target_suffix: suffix of the outputs, e.g. ".silk" or ".wav".
        overwrite: whether existing outputs can be replaced.
        skip_existing: whether to skip inputs whose output already exists.

    Returns:
        One job per input file that is not skipped.

    Raises:
        AudioError, ContainerError: an input does not exist, or a folder does not contain files of this kind.
        ArgumentError: the inputs and the output are incompatible.
        OutputError: an output already exists or cannot be written.
    """
    found = _find(inputs, kind)
    if output == "":
        raise ArgumentError("The output must not be empty. Pass -o . for the current folder.")
    output = STANDARD if output == "/dev/stdout" else output
    jobs = _distinct(found, output, target_suffix)
    if output == STANDARD and len(jobs) > 1:
        raise ArgumentError(
            f"If the output is '-', the input must be a single file; got {len(jobs)} files. Pass a folder with -o."
        )
    _check_distinct(jobs)
    for job in jobs:
        if target_suffix in SILK.suffixes and Path(job.target).suffix.lower() in AUDIO.suffixes:
            raise ArgumentError(f"The output must end with {target_suffix}; got '{job.target}'.")
    if skip_existing:
        jobs = [job for job in jobs if job.target == STANDARD or not os.path.exists(job.target)]
    for job in jobs:
        if job.target != STANDARD:
            check_output(job.target, overwrite=overwrite)
    return jobs


def sources(inputs: Sequence[str], kind: Kind) -> list[str]:
    """Find the input files of a command that does not write files.

    Raises:
        AudioError, ContainerError, ArgumentError: see `plan`.
    """
    return [source for source, _ in _find(inputs, kind)]


def _distinct(found: list[tuple[str, str | None]], output: str | None, suffix: str) -> list[Job]:
    """Choose an output path for each input file."""
    jobs = [Job(source, _target(source, below, output, suffix, found)) for source, below in found]
    n_jobs = Counter(job.target for job in jobs)
    n_suffixes = Counter(target for target, _ in {(job.target, Path(job.source).suffix) for job in jobs})
    for i, (source, below) in enumerate(found):
        target = jobs[i].target
        if target != STANDARD and 1 < n_jobs[target] == n_suffixes[target]:
            jobs[i] = Job(source, _target(source, below, output, Path(source).suffix + suffix, found))
    return jobs


def _find(inputs: Sequence[str], kind: Kind) -> list[tuple[str, str | None]]:
    found = [entry for typed in inputs for entry in _expand(typed, kind, several=len(inputs) > 1)]
    if STANDARD in inputs and len(found) > 1:
        raise ArgumentError(f"Standard input (-) must be the only input; got {len(found)} inputs.")
    return found


def _expand(typed: str, kind: Kind, *, several: bool) -> list[tuple[str, str | None]]:
    """Return the path and the relative output path of each file that an argument selects."""
    if not typed:  # for example an unset shell variable; Path("") would be the current folder
        raise ArgumentError("An input must not be empty. Pass . for the current folder.")
    if typed == STANDARD:
        return [(typed, None)]
    path = Path(typed)
    if path.is_dir():
        files = find_files(path, kind.suffixes)
        if not files:
            raise kind.error(f"The input folder must contain {kind.name} files; got '{typed}'.")
        top = Path(path.resolve().name) if several else Path()
        return [(str(file), str(top / file.relative_to(path))) for file in files]
    if not os.path.lexists(path) and glob.has_magic(typed):
        names = sorted(name for name in glob.glob(typed, recursive=True) if os.path.isfile(name))
        if not names:
            raise kind.error(f"The pattern must match at least one file; got '{typed}'.")
        fixed = Path(typed).parts
        top = Path(*fixed[: next(i for i, part in enumerate(fixed) if glob.has_magic(part))])
        return [(name, os.path.relpath(name, top)) for name in names]
    if not path.exists():
        raise kind.error(f"Input not found: '{typed}'.")
    return [(typed, None)]


def _target(
    source: str, below: str | None, output: str | None, suffix: str, found: list[tuple[str, str | None]]
) -> str:
    if output == STANDARD or (output is None and source == STANDARD):
        return STANDARD
    if output is None:
        return _renamed(Path(source), suffix)
    many = len(found) > 1 or below is not None
    folder = output.endswith(("/", os.sep)) or os.path.isdir(output)
    named = bool(Path(output).suffix) or os.path.lexists(output) or source == STANDARD  # false for `-o out`
    if not many and not folder and named:
        return output
    if source == STANDARD:
        raise ArgumentError(f"If the input is '-', the output must be a file or '-'; got the folder '{output}'.")
    if os.path.exists(output) and not os.path.isdir(output):
        raise ArgumentError(f"The output must be a folder if there are several inputs; got the file '{output}'.")
    return _renamed(Path(output) / (below or Path(source).name), suffix)


def _renamed(path: Path, suffix: str) -> str:
    """Replace the suffix of an audio or .silk file, or append `suffix` to any other file name."""
    known = path.suffix.lower() in (*AUDIO.suffixes, *SILK.suffixes)
    return str(path.with_suffix(suffix) if known else path.with_name(path.name + suffix))


def _check_distinct(jobs: list[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs if job.source != STANDARD}
    taken: dict[str, str] = {}
    for job in jobs:
        if job.target == STANDARD:
            continue
        target = os.path.realpath(job.target)
        if target in sources:
            raise ArgumentError(
                f"The output must differ from the inputs; got '{job.target}'. Choose another output with -o."
            )
        if target in taken:
            raise ArgumentError(
                f"The outputs of '{taken[target]}' and '{job.source}' would both be written to '{job.target}'."
                " Process these inputs separately."
            )
        taken[target] = job.source
