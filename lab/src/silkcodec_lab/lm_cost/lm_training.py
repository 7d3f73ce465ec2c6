"""Train and time the language model on the tokens of one codec.

All models are trained for the same number of steps on the same speech. The learning rate is constant after a short
warm-up, so models can be compared at any time during training.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silkcodec.errors import ArgumentError
from silkcodec.lm.layout import Frames
from silkcodec_lab.lm_cost.language_model import FrameLanguageModel, ModelSize
from silkcodec_lab.selection import check_positive

CHECKPOINTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)  # Held-out speech is scored after these shares of the steps.
SMOOTHING = 0.5  # added to each count of an order-0 model (Krichevsky and Trofimov, 1981)
TIMED_STEPS, TIMED_S = 3, 3.0  # Optimizer steps are timed over at least this many steps and seconds.
SAMPLE_S = 5.0  # seconds of speech that are sampled to measure the sampling speed

Advance = Callable[[], None]  # called after each optimizer step


@dataclass(frozen=True)
class TrainingPlan:
    """Hold the settings of the language model and its training.

    Attributes:
        passes: Average number of passes over the training speech.
        window_s: Duration of a training sequence (window) in seconds.
        batch: Sequences per optimizer step.
        learning_rate: Learning rate after the warm-up.
        warmup_steps: Number of linear warm-up steps.
        weight_decay: Weight decay of AdamW.
        clip_norm: Maximum norm of the gradient.
        seed: Random seed.
        threads: PyTorch threads in training. None: all cores. Sampling uses one thread.
        size: Size of the model.
    """

    passes: float = 3.0
    window_s: float = 10.0
    batch: int = 2
    learning_rate: float = 2e-3
    warmup_steps: int = 20
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    seed: int = 0
    threads: int | None = None
    size: ModelSize = field(default_factory=ModelSize)

    def __post_init__(self) -> None:
        for name in ("passes", "window_s", "batch", "learning_rate"):
            check_positive(name, getattr(self, name))
        if self.threads is not None and self.threads < 1:
            raise ArgumentError(f"threads must be at least 1; got {self.threads}.")

    def n_steps(self, speech_s: float) -> int:
        """Return the number of optimizer steps for `speech_s` seconds of training speech."""
        return max(1, math.ceil(self.passes * speech_s / (self.batch * self.window_s)))

    def window_frames(self, frame_rate: float) -> int:
        """Return the number of frames in a training sequence."""
        return max(1, int(self.window_s * frame_rate))


def train(
    head_sizes: NDArray[np.int64],
    frame_rate: float,
    frames: Frames,
    held_out: Frames,
    n_steps: int,
    plan: TrainingPlan,
    advance: Advance = lambda: None,
) -> tuple[FrameLanguageModel, dict[str, Any]]:
    """Train a model on `frames` and evaluate it on `held_out`, both [frames, positions, heads].

    Returns:
        The model, and a dictionary with the keys "curve" (one point per checkpoint), "bits_per_second_of_windows" (one
            value per held-out sequence) and "wall_s" (training time in seconds).
    """
    n_window = min(plan.window_frames(frame_rate), len(frames), len(held_out))
    model, optimizer = _model(head_sizes, plan)
    speech, scored = torch.from_numpy(frames), torch.from_numpy(held_out)
    rng = np.random.default_rng(plan.seed)
    at = {max(1, round(share * n_steps)) for share in CHECKPOINTS}
    untrained = float(score(model, scored, n_window, frame_rate).mean())
    curve = [{"step": 0, "speech_s": 0.0, "wall_s": 0.0, "bits_per_second": untrained}]
    wall_s, windows = 0.0, np.zeros(0)
    with threads(plan.threads):
        for step in range(1, n_steps + 1):
            # Positions are drawn as shares of the duration, so that all codecs are trained on the same excerpts.
            starts = (rng.random(plan.batch) * (len(speech) - n_window + 1)).astype(int)
            began = time.perf_counter()
            _step(model, optimizer, torch.stack([speech[s : s + n_window] for s in starts]), plan, step)
            wall_s += time.perf_counter() - began
            advance()
            if step in at:
                windows = score(model, scored, n_window, frame_rate)
                speech_s = step * plan.batch * n_window / frame_rate
                point = {
                    "step": step,
                    "speech_s": speech_s,
                    "wall_s": wall_s,
                    "bits_per_second": float(windows.mean()),
                }
                curve.append(point)
    return model, {"curve": curve, "bits_per_second_of_windows": windows.tolist(), "wall_s": wall_s}


@torch.inference_mode()
def score(model: FrameLanguageModel, frames: Tensor, n_window: int, frame_rate: float) -> NDArray[np.float64]:
    """Return the cross-entropy, in bits per second of speech, of each sequence of `n_window` frames."""
    n_windows = len(frames) // n_window
    windows = frames[: n_windows * n_window].unflatten(0, (n_windows, n_window))
    bits = torch.cat([model.bits(part).sum(1) for part in windows.split(2)])
    return bits.double().numpy() * frame_rate / n_window


def order0_bits_per_second(head_sizes: NDArray[np.int64], frame_rate: float, frames: Frames, held_out: Frames) -> float:
    """Return the order-0 (context-free) cross-entropy of held-out tokens in bits per second of speech.

    The probabilities are the smoothed frequencies of the codes in the training speech.
    """
    total = 0.0
    for p, h in np.argwhere(head_sizes > 1):
        counts = np.bincount(frames[:, p, h], minlength=head_sizes[p, h]) + SMOOTHING
        total -= float(np.log2(counts / counts.sum())[held_out[:, p, h]].mean())
    return total * frame_rate


def time_steps(
    head_sizes: NDArray[np.int64], frame_rate: float, frames: Frames, plan: TrainingPlan
) -> tuple[FrameLanguageModel, float]:
    """Train a new model for a few steps. Return the model and the duration of a step in seconds."""
    n_window = plan.window_frames(frame_rate)
    model, optimizer = _model(head_sizes, plan)
    batch = torch.from_numpy(np.resize(frames, (plan.batch, n_window, *head_sizes.shape)))
    with threads(plan.threads):
        _step(model, optimizer, batch, plan, 1)  # The first step also allocates memory.
        n_steps, began = 0, time.perf_counter()
        while n_steps < TIMED_STEPS or time.perf_counter() - began < TIMED_S:
            _step(model, optimizer, batch, plan, n_steps + 2)
            n_steps += 1
        return model, (time.perf_counter() - began) / n_steps


def sampling_times_real_time(model: FrameLanguageModel, frame_rate: float, plan: TrainingPlan) -> float:
    """Return the sampling speed, in seconds of speech per second of computation, for one sequence on one thread."""
    n_frames = max(1, round(min(SAMPLE_S, plan.window_s) * frame_rate))
    with threads(1):
        generator = torch.Generator().manual_seed(plan.seed)
        model.sample(1, generator)
        began = time.perf_counter()
        model.sample(n_frames, generator)
        return n_frames / frame_rate / (time.perf_counter() - began)


def _model(head_sizes: NDArray[np.int64], plan: TrainingPlan) -> tuple[FrameLanguageModel, torch.optim.Optimizer]:
    with torch.random.fork_rng():
        torch.manual_seed(plan.seed)
        model = FrameLanguageModel(head_sizes, plan.size)
    settings: dict[str, Any] = {"lr": plan.learning_rate, "betas": (0.9, 0.95), "weight_decay": plan.weight_decay}
    return model, torch.optim.AdamW(model.parameters(), **settings, fused=True)


def _step(
    model: FrameLanguageModel, optimizer: torch.optim.Optimizer, codes: Tensor, plan: TrainingPlan, step: int
) -> None:
    """Take an optimizer step on codes, [B, F, P, H]."""
    for group in optimizer.param_groups:
        group["lr"] = plan.learning_rate * min(1.0, step / plan.warmup_steps)
    loss = model.bits(codes).mean() / codes.shape[2]
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip_norm, error_if_nonfinite=True)
    optimizer.step()


@contextmanager
def threads(n_threads: int | None) -> Iterator[None]:
    """Set the number of PyTorch threads within the context. None: do not change it."""
    before = torch.get_num_threads()
    torch.set_num_threads(n_threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
