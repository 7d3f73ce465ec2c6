"""Report the progress of a run on the terminal, in TensorBoard, and in history.jsonl."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

from silkcodec_torch.train.config import StageConfig, TrainConfig


class Means:
    """Keep a running mean of each loss."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, values: dict[str, float]) -> None:
        """Add the losses of one step, keyed by name."""
        for name, value in values.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = total + value, count + 1

    def take(self) -> dict[str, float]:
        """Return the mean losses since the previous call, keyed by name."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        self.sums = {}
        return means


class Progress:
    """Print the progress of a run, and record its validations."""

    def __init__(self, folder: Path, config: TrainConfig, quiet: bool = False):
        self.folder, self.config, self.quiet = folder, config, quiet
        self.recent, self.since_validation = Means(), Means()
        self.first_step = 1  # first step that this process records
        self.step_s: deque[float] = deque(maxlen=9)  # mean step times; their median ignores the time of compilation
        self.board: Any = None
        self.bar: Any = None

    def rewind(self, step: int) -> int:
        """Remove the records of steps after `step` from the history.

        Returns:
            The step of the last remaining validation, or -1 if there is none.
        """
        self.first_step, last, lines = step + 1, -1, []
        if not (history := self.folder / "history.jsonl").exists():
            return last
        for line in history.read_text(encoding="utf-8").splitlines():
            try:
                at = json.loads(line)["step"]
            except (ValueError, KeyError, TypeError):
                continue  # an incomplete line
            if at <= step:
                lines.append(line + "\n")
                last = at
        (part := history.with_suffix(".part")).write_text("".join(lines), encoding="utf-8")
        os.replace(part, history)
        return last

    def __enter__(self) -> Progress:
        if not self.quiet:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=self.first_step)
            if sys.stderr.isatty():
                from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

                self.bar = Progress(
                    TextColumn("{task.description}"),
                    BarColumn(),
                    TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                    TimeRemainingColumn(),
                    TextColumn("{task.fields[note]}"),
                    transient=True,
                )
                self.task = self.bar.add_task("", note="", total=1)
                self.bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.board is not None:
            self.board.close()
        if self.bar is not None:
            self.bar.stop()

    def say(self, text: str) -> None:
        """Print a line with a timestamp to standard error, unless `quiet` is set."""
        if not self.quiet:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def begin(self, stage: StageConfig) -> None:
        """Start a stage. One line must not mix the losses or the speed of two stages."""
        self.stage = stage
        self.recent.take()
        self.step_s.clear()
        self.count, self.elapsed_s, self.audio_s = 0, 0.0, 0.0

    def update(self, step: int, done: float, values: dict[str, float], elapsed_s: float, audio_s: float) -> None:
        """Record one step. Every `log.progress_steps` steps, print the mean losses, the speed and the remaining time.

        Args:
            step: step of the run, counted from 1.
            done: completed share of the stage, including this step, 0..1.
            values: losses of the step, keyed by name.
            elapsed_s: duration of the step.
            audio_s: duration of the audio in the batch.
        """
        self.recent.add(values)
        self.since_validation.add(values)
        self.count, self.elapsed_s, self.audio_s = self.count + 1, self.elapsed_s + elapsed_s, self.audio_s + audio_s
        if self.quiet or step % self.config.log.progress_steps:
            return
        stage, means = self.stage, self.recent.take()
        self.step_s.append(self.elapsed_s / self.count)
        unit, unit_s = ("", median(self.step_s)) if stage.unit == "steps" else (" min", 60)
        reached = done * stage.length
        left_s = (stage.length - reached) * unit_s
        speed = self.audio_s / self.elapsed_s
        if self.board is not None:
            for name, value in means.items():
                self.board.add_scalar(f"train/{name}", value, step)
            self.board.add_scalar("train/real_time_factor", speed, step)
        note = " ".join(f"{name} {value:.3g}" for name, value in means.items())
        if self.bar is not None:
            note = f"{speed:.0f}x real time {note}"
            self.bar.update(self.task, description=stage.name, completed=reached, total=stage.length, note=note)
        else:
            where = f"{stage.name} {reached:.6g}/{stage.length:g}{unit}"
            self.say(f"{where} {speed:.0f}x real time, {left_s / 60:.0f} min left, {note}")
        self.count, self.elapsed_s, self.audio_s = 0, 0.0, 0.0

    def report(self, step: int, scores: dict[str, float], facts: dict[str, float]) -> None:
        """Append validation scores to the history as one line.

        Args:
            step: step of the run.
            scores: metrics, keyed by name.
            facts: additional values to record.
        """
        if self.board is not None:
            for name, value in scores.items():
                self.board.add_scalar(f"valid/{name}", value, step)
        known = {name: None if math.isnan(value) else value for name, value in scores.items()}  # JSON has no NaN
        line = {"step": step} | facts | known | {"train": self.since_validation.take()}
        with (self.folder / "history.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self.say(f"step {step} validation: " + " ".join(f"{name} {value:.4g}" for name, value in scores.items()))
