"""Show the progress of a long run on standard error, as a bar or as lines of a log.

The command line and the laboratory use this module. Rich is imported only if there is a terminal.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class _Minutes:
    """Print the progress of a long run to a log, at most one line per minute and none in the first minute."""

    EVERY_S = 60.0

    def __init__(self, what: str) -> None:
        self._what = what
        self._began_s = self._shown_s = time.monotonic()

    def show(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._shown_s >= self.EVERY_S:
            self._shown_s = now_s
            print(f"silk: {self._what}: {text}, after {seconds(now_s - self._began_s)}", file=sys.stderr, flush=True)


class SoundProgress:
    """Count the processed seconds of audio, and estimate the total from the files opened so far.

    Args:
        sources: paths of all files.
        show: called with the processed seconds and the total in seconds, which is 0 if it is unknown.
    """

    def __init__(self, sources: Sequence[str], show: Callable[[float, float], None]) -> None:
        self._sizes = {source: os.path.getsize(source) for source in sources if os.path.isfile(source)}
        self._bytes_left = sum(self._sizes.values())  # bytes of files that are not opened yet
        self._bytes_opened, self._opened_s, self._done_s = 0, 0.0, 0.0
        self._show = show

    def begin(self, source: str) -> None:
        """Note the start of a file, which may be unreadable."""
        self._size = self._sizes.get(source, 0)
        self._bytes_left -= self._size

    def opened(self, duration_s: float) -> None:
        """Note the duration of the opened file; 0 if unknown."""
        self._bytes_opened += self._size
        self._opened_s += duration_s

    def advance(self, seconds: float) -> None:
        """Add processed seconds of audio."""
        self._done_s += seconds
        self._show(self._done_s, self._opened_s * (1 + self._bytes_left / max(1, self._bytes_opened)))


@contextmanager
def _bar(what: str, counts: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error. The yielded callback takes (done, total, note)."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn(counts),
        TimeRemainingColumn(),
        TextColumn("{task.fields[at]}"),
    )
    # If results go to the same terminal, rich prints them above the bar.
    together = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=together) as bar:
        task = bar.add_task(what, total=1e-9, at="")
        yield lambda done, total, at="": bar.update(task, completed=done, total=max(total, 1e-9), at=at)


@contextmanager
def sound_progress(sources: Sequence[str], what: str) -> Iterator[SoundProgress]:
    """Show a progress bar in seconds of audio on standard error; without a terminal, print one line per minute."""
    if sys.stderr.isatty():
        counts = "{task.percentage:>3.0f} %  {task.completed:.0f} of {task.total:.0f} s of audio"
        with _bar(what, counts) as update:
            yield SoundProgress(sources, update)
        return
    minutes = _Minutes(what)

    def show(done_s: float, total_s: float) -> None:
        share = f" of {total_s:.0f} s of audio ({100 * done_s / total_s:.0f} %)" if total_s else " s of audio"
        minutes.show(f"{done_s:.0f}{share}")

    yield SoundProgress(sources, show)


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a progress bar on standard error; without a terminal, print one line per minute.

    The yielded callback takes (done, total, name of the current item).
    """
    if sys.stderr.isatty():
        with _bar(what, "{task.completed:.0f}/{task.total:.0f}") as update:
            yield update
        return
    minutes = _Minutes(what)
    yield lambda done, total, at: minutes.show(f"{done} of {total}, {at}")


def seconds(value: float) -> str:
    """Return a duration as text: 0.12 s, 8.30 s, 12:05 min, 1:02:03 h."""
    if value < 60:
        return f"{value:.2f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"
