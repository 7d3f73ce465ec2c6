"""Measure the cost of a codec's tokens for a language model.

    clips -> codec -> tokens -> layout -> frames [F, P, H] -> tiny language model -> bits, steps, seconds

Sequence lengths, vocabulary sizes and the number of parameters in the output layers follow from the layout of the
tokens; see `silkcodec.lm.layout`. Bits per second, training time and sampling time are measured with a small
transformer, which is trained on the tokens of each codec with the same speech and the same settings.

A codec whose published weights are not available can be measured with random weights. Its tokens are meaningless, so
only lengths and times are measured.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec.codec import Codec, load
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.statistics import bootstrap
from silkcodec.lm.layout import Frames, Layout
from silkcodec.spec import DIMS_PER_TOKEN, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, codebook_sizes
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.lm_cost import lm_training
from silkcodec_lab.lm_cost.arithmetic import arithmetic
from silkcodec_lab.lm_cost.language_model import FrameLanguageModel
from silkcodec_lab.lm_cost.lm_training import TrainingPlan
from silkcodec_lab.pages import Result, head
from silkcodec_lab.selection import Part, select, waves

REGROUPED = re.compile(r"silk/(\d+)")

Progress = Callable[[int, int, str], None]  # steps done, total steps, current codec


@dataclass(frozen=True)
class View:
    """Represent a codec with optionally regrouped tokens, e.g. `silk/4`, which is Silk with 4 dimensions per token.

    Attributes:
        name: Name of the codec and its grouping.
        base: Codec name for `silkcodec.load`.
        dims_per_token: Dimensions per token. None: do not regroup the tokens.
        bits: Whether to train a model on the tokens and measure bits. False: measure only lengths and times.
    """

    name: str
    base: str
    dims_per_token: int | None
    bits: bool

    def regroup(self, tokens: Tokens) -> Tokens:
        """Regroup tokens into tokens of `dims_per_token` dimensions. If this is None, return them unchanged."""
        return tokens if self.dims_per_token is None else tokens.regroup(self.dims_per_token)


def lm_cost(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str],
    *,
    cost_only: Sequence[str] = (),
    splits: tuple[str, str] | None = None,
    train_minutes: float = 60.0,
    held_out_minutes: float = 10.0,
    plan: TrainingPlan | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measure the cost of a codec's tokens for a language model.

    Args:
        inputs: Audio files, folders, or a manifest.
        codecs: Codec names, as for `silkcodec.load`, and `silk/N` for Silk with N dimensions per token.
        cost_only: Names of codecs to measure with random weights.
        splits: Training split and held-out split of the manifest. None: hold out a tenth of the clips at random.
        train_minutes: Maximum duration of the training speech in minutes.
        held_out_minutes: Maximum duration of the held-out speech in minutes.
        plan: Settings of the language models and their training.
        progress: Progress callback.

    Returns:
        The contents of lm-cost.json.

    Raises:
        ArgumentError, AudioError: An argument or a clip is invalid. This is checked before the measurement.
        MissingExtraError, WeightsError: A codec cannot be loaded. This is checked before the measurement.
        TokensError: The tokens of a codec cannot be arranged for a language model; see `silkcodec.lm.layout`.
    """
    plan = plan or TrainingPlan()
    loaded, views = _load_all(codecs, cost_only)
    speech = select(inputs, splits, 60 * train_minutes, 60 * held_out_minutes, plan.seed)
    plan = TrainingPlan(**{**vars(plan), "window_s": min(plan.window_s, speech.train_s, speech.held_out_s)})
    n_steps = plan.n_steps(speech.train_s)
    done, total = itertools.count(1), n_steps * sum(view.bits for view in views)
    conditions, measured = Conditions(), {}
    trained = {view.base for view in views if view.bits}
    for base in sorted(loaded, key=lambda base: base in trained):  # Codecs without training are first, to fail early.
        codec, those = loaded.pop(base), [view for view in views if view.base == base]
        encoded = list(encode(codec, speech.train, speech.train_s if base in trained else plan.window_s))
        held_out = list(encode(codec, speech.held_out, speech.held_out_s if base in trained else 0.0))
        del codec  # Free its memory before training.
        for view in those:

            def advance(name: str = view.name) -> None:
                if progress is not None:
                    progress(next(done), total, name)

            measured[view.name] = _measure(view, encoded, held_out, n_steps, plan, advance)
    return {
        **head("lm-cost"),
        "settings": {
            "splits": splits,
            "train_minutes": train_minutes,
            "held_out_minutes": held_out_minutes,
            "n_steps": n_steps,
            **asdict(plan),
        },
        "speech": speech.facts(),
        "machine": conditions.facts(),
        "codecs": {view.name: measured[view.name] for view in views},
    }


def encode(codec: Codec, parts: list[Part], limit_s: float) -> Iterator[Tokens]:
    """Encode up to `limit_s` seconds of speech, and yield the tokens of each block of audio."""
    for clip, seconds in parts:
        left_s = min(seconds, limit_s)
        if left_s <= 0:
            return
        limit_s -= left_s
        for wave in waves((clip, left_s)):
            yield codec.encode(wave, SILK_SAMPLE_RATE)


def _load_all(codecs: Sequence[str], cost_only: Sequence[str]) -> tuple[dict[str, Codec], list[View]]:
    """Load each codec once.

    Returns:
        The codecs, keyed by name, and a `View` for each requested codec and grouping.

    Raises:
        ArgumentError: No codec is given, a codec is given twice, or a grouping is invalid. See also `load`.
    """
    if not codecs and not cost_only:
        raise ArgumentError("Pass at least one codec with --codecs or --cost-only.")
    loaded: dict[str, Codec] = {}
    views: list[View] = []
    for requested, bits in [*((name, True) for name in codecs), *((name, False) for name in cost_only)]:
        match = REGROUPED.fullmatch(requested)
        base, dims = ("silk", int(match[1])) if match else (requested, None)
        if dims is not None:
            codebook_sizes(dims)  # This raises ArgumentError if the grouping is invalid.
        if base not in loaded:
            loaded[base] = load(base)
        # All weights folders of Silk have the codec name "silk", so they are named after the folder.
        own = Path(base).resolve().name if Path(base).is_dir() else loaded[base].name
        name = own + (f"/{dims}" if dims not in (None, DIMS_PER_TOKEN) else "")
        if name in {view.name for view in views}:
            raise ArgumentError(f"Codecs must have different names; got '{name}' twice.")
        views.append(View(name, base, dims, bits))
    return loaded, views


def _measure(
    view: View,
    encoded: list[Tokens],
    held_out: list[Tokens],
    n_steps: int,
    plan: TrainingPlan,
    advance: lm_training.Advance,
) -> dict[str, Any]:
    """Measure one codec with one grouping of its tokens."""
    encoded, held_out = ([view.regroup(tokens) for tokens in part] for part in (encoded, held_out))
    layout = Layout.of(max(encoded, key=lambda tokens: tokens.n_frames))
    frames = join(layout, encoded)
    sizes, rate = layout.head_sizes, layout.frame_rate
    figures: dict[str, Any] = {"codec_id": encoded[0].codec, "cost_only": not view.bits, **arithmetic(layout)}
    step_speech_s = plan.batch * plan.window_frames(rate) / rate
    if view.bits:
        held_out_frames = join(layout, held_out)
        model, run = lm_training.train(sizes, rate, frames, held_out_frames, n_steps, plan, advance)
        step_s = run["wall_s"] / n_steps
        reached = bootstrap(run["bits_per_second_of_windows"], plan.seed)
        figures |= {
            "bits_per_second": reached,
            "share_of_raw_bits": reached["mean"] / layout.raw_bits_per_second,
            "order0_bits_per_second": lm_training.order0_bits_per_second(sizes, rate, frames, held_out_frames),
            "curve": run["curve"],
        }
    else:
        model, step_s = lm_training.time_steps(sizes, rate, frames, plan)
    return figures | _times(model, rate, step_s, step_speech_s, plan)


def _times(
    model: FrameLanguageModel, frame_rate: float, step_s: float, step_speech_s: float, plan: TrainingPlan
) -> dict[str, Any]:
    return {
        "parameters": model.n_parameters(),
        "train_steps_per_second": 1 / step_s,
        "train_s_per_hour": step_s / step_speech_s * 3600,
        "sampling_times_real_time": lm_training.sampling_times_real_time(model, frame_rate, plan),
    }


def join(layout: Layout, many: list[Tokens]) -> Frames:
    """Join the tokens of several recordings into one sequence of frames, int64 [F, P, H]."""
    return np.concatenate([layout.frames(tokens) for tokens in many])
