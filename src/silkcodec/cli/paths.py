"""What the command line was told -> which file goes where, all checked before any work begins."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from silkcodec.audio import SUFFIXES
from silkcodec.errors import ArgumentError, AudioError, ContainerError, SilkError
from silkcodec.output import check_output

STANDARD = "-"  # standard input, standard output


@dataclass(frozen=True)
class Kind:
    """What a verb reads: which files of a folder it takes, and what is wrong where there are none."""

    name: str
    suffixes: tuple[str, ...]
    error: type[SilkError]


AUDIO = Kind("sound", SUFFIXES, AudioError)
SILK = Kind(".silk", (".silk",), ContainerError)


@dataclass(frozen=True)
class Job:
    """One file to read and what to write: paths, or "-"."""

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
    """Inputs as they were typed -> jobs, none of which another one or an existing file stands in the way of.

        silk encode a.wav                      a.silk, beside it
        silk encode a.wav -o b.silk            b.silk
        silk encode a.wav b.wav -o out         out/a.silk  out/b.silk
        silk encode speech -o out              speech/x/a.wav -> out/x/a.silk
        silk encode one two -o out             one/a.wav -> out/one/a.silk
        silk encode 'speech/**/*.wav' -o out   the tree below speech/, as with the folder
        silk encode - < a.wav > a.silk         pipes
        silk encode speech                     a.flac beside a.wav -> a.flac.silk, a.wav.silk

    Args:
        inputs: files, folders, patterns, or "-".
        output: None: beside each input; a folder if it is one, ends in "/", has no
            suffix, or is to hold several; or a file.
        kind: what is read.
        target_suffix: ".silk", ".wav".
        overwrite: existing outputs may be replaced.
        skip_existing: jobs whose output exists are left out.

    Raises:
        AudioError, ContainerError: a missing input, a folder without any. ArgumentError: inputs and output
            that do not fit together. OutputError: an output exists or cannot be written.
    """
    found = _find(inputs, kind)
    jobs = _distinct(found, output, target_suffix)
    if output == STANDARD and len(jobs) > 1:
        raise ArgumentError(f"Standard output (-) can take one file; got {len(jobs)}; name a folder with -o.")
    _check_distinct(jobs)
    for job in jobs:
        if target_suffix in SILK.suffixes and Path(job.target).suffix.lower() in AUDIO.suffixes:
            raise ArgumentError(f"The output must end in {target_suffix}; got '{job.target}'.")
    if skip_existing:
        jobs = [job for job in jobs if job.target == STANDARD or not os.path.exists(job.target)]
    for job in jobs:
        if job.target != STANDARD:
            check_output(job.target, overwrite=overwrite)
    return jobs


def sources(inputs: Sequence[str], kind: Kind) -> list[str]:
    """Only the inputs of `plan`, for a verb that writes nothing. Raises the same."""
    return [source for source, _ in _find(inputs, kind)]


def _distinct(found: list[tuple[str, str | None]], output: str | None, suffix: str) -> list[Job]:
    """The jobs. Those of files that differ only in their suffix keep it: a.flac and a.wav would both become a.silk."""
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
        raise ArgumentError("Standard input (-) must be the only input.")
    return found


def _expand(typed: str, kind: Kind, *, several: bool) -> list[tuple[str, str | None]]:
    """(source, where it lies below the folder or pattern that named it) of each file that `typed` names."""
    if typed == STANDARD:
        return [(typed, None)]
    path = Path(typed)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in kind.suffixes and _visible(p, path))
        if not files:
            raise kind.error(f"A folder must hold {kind.name} files; '{typed}' has none.")
        top = Path(path.resolve().name) if several else Path()
        return [(str(file), str(top / file.relative_to(path))) for file in files]
    if not os.path.lexists(path) and glob.has_magic(typed):
        names = sorted(name for name in glob.glob(typed, recursive=True) if os.path.isfile(name))
        if not names:
            raise kind.error(f"A pattern must match a file; '{typed}' matches none.")
        fixed = Path(typed).parts
        top = Path(*fixed[: next(i for i, part in enumerate(fixed) if glob.has_magic(part))])
        return [(name, os.path.relpath(name, top)) for name in names]
    if not path.exists():
        raise kind.error(f"An input must exist; there is no '{typed}'.")
    return [(typed, None)]


def _visible(file: Path, folder: Path) -> bool:
    return file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts)


def _target(
    source: str, below: str | None, output: str | None, suffix: str, found: list[tuple[str, str | None]]
) -> str:
    if output == STANDARD or (output is None and source == STANDARD):
        return STANDARD
    if output is None:
        return _renamed(Path(source), suffix)
    many = len(found) > 1 or below is not None
    folder = output.endswith(("/", os.sep)) or os.path.isdir(output)
    named = bool(Path(output).suffix) or os.path.lexists(output) or source == STANDARD  # else: `-o out`
    if not many and not folder and named:
        return output
    if source == STANDARD:
        raise ArgumentError("An output for standard input must be a file or -; got a folder.")
    if os.path.exists(output) and not os.path.isdir(output):
        raise ArgumentError(f"An output for several files must be a folder; '{output}' is a file.")
    return _renamed(Path(output) / (below or Path(source).name), suffix)


def _renamed(path: Path, suffix: str) -> str:
    """Another suffix in the place of one that we know; what else follows a dot is part of the name."""
    known = path.suffix.lower() in (*AUDIO.suffixes, *SILK.suffixes)
    return str(path.with_suffix(suffix) if known else path.with_name(path.name + suffix))


def _check_distinct(jobs: list[Job]) -> None:
    sources = {os.path.realpath(job.source) for job in jobs if job.source != STANDARD}
    taken: dict[str, str] = {}
    for job in jobs:
        if job.target == STANDARD:
            continue
        place = os.path.realpath(job.target)
        if place in sources:
            raise ArgumentError(f"An output must not be an input; got '{job.target}'; choose another with -o.")
        if place in taken:
            raise ArgumentError(f"'{taken[place]}' and '{job.source}' would both become '{job.target}'; do them apart.")
        taken[place] = job.source
