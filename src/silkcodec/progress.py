"""Show the progress of a long run on standard error, as a progress bar or as log lines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


class _Minutes:
    """Print progress as log lines, at most one per minute."""

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
    """Track how many seconds of audio have been processed, and estimate the total from the file sizes.

    Args:
        sources: paths of all files that will be processed.
        show: callback that receives the number of processed seconds and the estimated total, which is 0 if unknown.
    """

    def __init__(self, sources: Sequence[str], show: Callable[[float, float], None]) -> None:
        self._sizes = {source: os.path.getsize(source) for source in sources if os.path.isfile(source)}
        self._bytes_left = sum(self._sizes.values())  # total size of the files that have not been opened yet
        self._bytes_opened, self._opened_s, self._done_s = 0, 0.0, 0.0
        self._show = show

    def begin(self, source: str) -> None:
        """Record that a file is about to be processed."""
        self._size = self._sizes.get(source, 0)
        self._bytes_left -= self._size

    def opened(self, duration_s: float) -> None:
        """Record the duration of the current file in seconds, or 0 if it is unknown."""
        self._bytes_opened += self._size
        self._opened_s += duration_s

    def advance(self, seconds: float) -> None:
        """Record that more seconds of audio have been processed, and show the progress."""
        self._done_s += seconds
        self._show(self._done_s, self._opened_s * (1 + self._bytes_left / max(1, self._bytes_opened)))


@contextmanager
def _bar(what: str, counts: str) -> Iterator[Callable[..., None]]:
    """Show a progress bar on standard error, and yield a callback that updates it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn(counts),
        TimeRemainingColumn(),
        TextColumn("{task.fields[at]}"),
    )
    # If standard output is the same terminal, Rich prints the results above the bar.
    together = sys.stdout.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, redirect_stdout=together) as bar:
        task = bar.add_task(what, total=1e-9, at="")
        yield lambda done, total, at="": bar.update(task, completed=done, total=max(total, 1e-9), at=at)


@contextmanager
def sound_progress(sources: Sequence[str], what: str) -> Iterator[SoundProgress]:
    """Show progress in seconds of audio: a bar on a terminal, log lines elsewhere."""
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
    """Show progress as a count of items: a bar on a terminal, log lines elsewhere.

    Yields:
        A callback that takes the number of finished items, the total, and the name of the current item.
    """
    if sys.stderr.isatty():
        with _bar(what, "{task.completed:.0f}/{task.total:.0f}") as update:
            yield update
        return
    minutes = _Minutes(what)
    yield lambda done, total, at: minutes.show(f"{done} of {total}, {at}")


def seconds(value: float) -> str:
    """Format a duration given in seconds, for example as "8.30 s", "12:05 min" or "1:02:03 h"."""
    if value < 60:
        return f"{value:.2f} s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d} h"
