"""What a run says while it runs: a line on the terminal, TensorBoard, and a log file."""

from __future__ import annotations

import math
import sys
import time
from pathlib import Path
from typing import Any

from silkcodec.train.config import StageConfig, TrainConfig


class Progress:
    """Prints and records; averages the training losses between two lines."""

    def __init__(self, folder: Path, config: TrainConfig, quiet: bool = False):
        self.folder, self.config, self.quiet = folder, config, quiet
        self.sums: dict[str, float] = {}
        self.count, self.elapsed_s, self.audio_s = 0, 0.0, 0.0
        self.step_s = math.nan  # smoothed
        self.board: Any = None
        self.bar: Any = None

    def __enter__(self) -> Progress:
        if not self.quiet:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.folder / "tensorboard"))
            if sys.stderr.isatty():
                from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

                self.bar = Progress(
                    TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                    TimeRemainingColumn(), TextColumn("{task.fields[note]}"), transient=True,
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
        if not self.quiet:
            print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

    def update(
        self, stage: StageConfig, step: int, in_stage: int, values: dict[str, float], elapsed_s: float, audio_s: float
    ) -> None:
        """Note one step; every `log.progress_steps` say how the last ones went, with speed and time left."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.count, self.elapsed_s, self.audio_s = self.count + 1, self.elapsed_s + elapsed_s, self.audio_s + audio_s
        if self.quiet or step % self.config.log.progress_steps:
            return
        means = {name: total / self.count for name, total in self.sums.items()}
        per_step = self.elapsed_s / self.count
        self.step_s = per_step if math.isnan(self.step_s) else 0.9 * self.step_s + 0.1 * per_step
        left = max(0, stage.steps - in_stage) * self.step_s
        speed = self.audio_s / self.elapsed_s
        if self.board is not None:
            for name, value in means.items():
                self.board.add_scalar(f"train/{name}", value, step)
            self.board.add_scalar("train/real_time_factor", speed, step)
        note = " ".join(f"{name} {value:.3g}" for name, value in means.items())
        if self.bar is not None:
            self.bar.update(
                self.task, description=stage.name, completed=in_stage, total=stage.steps, note=f"{speed:.0f}x real time {note}"
            )
        else:
            self.say(f"{stage.name} {in_stage}/{stage.steps} {speed:.0f}x real time, {left / 60:.0f} min left, {note}")
        self.sums, self.count, self.elapsed_s, self.audio_s = {}, 0, 0.0, 0.0

    def report(self, step: int, scores: dict[str, float]) -> None:
        """A validation."""
        if self.board is not None:
            for name, value in scores.items():
                self.board.add_scalar(f"valid/{name}", value, step)
        self.say(f"step {step} validation: " + " ".join(f"{name} {value:.4g}" for name, value in scores.items()))
