"""What do a codec's tokens cost a language model? One command, every codec, the same speech.

    clips -codec-> Tokens -layout-> frames [F, P, H] -> the same tiny language model -> bits, steps, seconds

Two kinds of figures. What follows from the shape of the tokens alone (sequence lengths, vocabulary, output
parameters) is counted in tokens that were produced. What has to be tried is tried: the same transformer, trained
on the same seconds of speech, says how many bits a second of held-out speech costs, and how long all that takes.

A codec whose weights are random (a published architecture whose weights are not at hand) makes tokens of the right
shape and no meaning. It goes into `cost_only`: lengths and times are measured, bits are not.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from silkcodec.codec import Codec, load
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.statistics import bootstrap
from silkcodec.lm.layout import Frames, Layout
from silkcodec.spec import DIMS_PER_TOKEN
from silkcodec.tokens import Tokens, codebook_sizes
from silkcodec_lab.conditions import Conditions
from silkcodec_lab.lm_cost import training
from silkcodec_lab.lm_cost.arithmetic import arithmetic
from silkcodec_lab.lm_cost.model import FrameModel
from silkcodec_lab.lm_cost.training import Plan
from silkcodec_lab.pages import Result, head
from silkcodec_lab.selection import SAMPLE_RATE, Part, select, waves

REGROUPED = re.compile(r"silk/(\d+)")

Progress = Callable[[int, int, str], None]  # steps done, steps in all, the codec at work


@dataclass(frozen=True)
class View:
    """One way to read one codec's tokens: `silk/4` is Silk's, regrouped to 4 dimensions a token.

    Attributes:
        name: as it was asked for, without the place of its weights.
        base: what `silkcodec.load` takes.
        dims_per_token: None: as the codec makes them.
        bits: whether to train on them; False: lengths and times alone.
    """

    name: str
    base: str
    dims_per_token: int | None
    bits: bool

    def of(self, tokens: Tokens) -> Tokens:
        return tokens if self.dims_per_token is None else tokens.regroup(self.dims_per_token)


def lm_cost(
    inputs: Sequence[str | os.PathLike[str]],
    codecs: Sequence[str],
    *,
    cost_only: Sequence[str] = (),
    splits: tuple[str, str] | None = None,
    train_minutes: float = 60.0,
    held_out_minutes: float = 10.0,
    plan: Plan | None = None,
    progress: Progress | None = None,
) -> Result:
    """Measures what tokens cost a language model.

    Args:
        inputs: audio files, folders, or an INDEX.tsv.
        codecs: names as `silkcodec.load` takes them, and `silk/N`: Silk's tokens in groups of N dimensions.
        cost_only: further names whose bits mean nothing, since their weights are random.
        splits: of an INDEX.tsv, those to train on and to hold out; None: every tenth clip is held out.
        train_minutes, held_out_minutes: of speech at most; the clips are drawn at random with the plan's seed.
        plan: model and training, the same for all codecs.
        progress: called after each optimiser step.

    Returns:
        What goes to lm-cost.json: settings, speech, machine, and every codec's figures.

    Raises:
        ArgumentError, AudioError: the arguments or the clips, before anything is measured.
        MissingExtraError, WeightsError: a codec that cannot be loaded, likewise before.
        TokensError: tokens that no layout fits, see `silkcodec.lm.layout`.
    """
    plan = plan or Plan()
    loaded, views = _load_all(codecs, cost_only)
    speech = select(inputs, splits, 60 * train_minutes, 60 * held_out_minutes, plan.seed)
    plan = Plan(**{**vars(plan), "window_s": min(plan.window_s, speech.train_s, speech.held_out_s)})
    n_steps = plan.n_steps(speech.train_s)
    done, total = itertools.count(1), n_steps * sum(view.bits for view in views)
    conditions, measured = Conditions(), {}
    trained = {view.base for view in views if view.bits}
    for base in sorted(loaded, key=lambda base: base in trained):  # what takes seconds, first: it may fail
        codec, those = loaded.pop(base), [view for view in views if view.base == base]
        encoded = list(encode(codec, speech.train, speech.train_s if base in trained else plan.window_s))
        held_out = list(encode(codec, speech.held_out, speech.held_out_s if base in trained else 0.0))
        del codec  # and its memory, before training begins
        for view in those:

            def advance(_: int, name: str = view.name) -> None:
                if progress is not None:
                    progress(next(done), total, name)

            measured[view.name] = _measure(view, encoded, held_out, n_steps, plan, advance)
    figures = {view.name: measured[view.name] for view in views}
    equal_time_s = _compare_at_equal_time(figures)
    return {
        **head("lm-cost"),
        "settings": {
            "splits": splits,
            "train_minutes": train_minutes,
            "held_out_minutes": held_out_minutes,
            "n_steps": n_steps,
            "equal_time_s": equal_time_s,
            **asdict(plan),
        },
        "speech": speech.facts(),
        "machine": conditions.facts(),
        "codecs": figures,
    }


def encode(codec: Codec, parts: list[Part], limit_s: float) -> Iterator[Tokens]:
    """The tokens of the parts, one after another, until there are `limit_s` seconds of them."""
    for clip, seconds in parts:
        left_s = min(seconds, limit_s)
        if left_s <= 0:
            return
        limit_s -= left_s
        for wave in waves((clip, left_s)):
            yield codec.encode(wave, SAMPLE_RATE)


def _load_all(codecs: Sequence[str], cost_only: Sequence[str]) -> tuple[dict[str, Codec], list[View]]:
    """Every codec once, and every view of it. Fails here rather than in the middle of an hour.

    Raises:
        ArgumentError: no codec, one named twice, or a grouping that Silk does not have; also see `load`.
    """
    if not codecs and not cost_only:
        raise ArgumentError("the experiment needs one codec at least; got none.")
    loaded: dict[str, Codec] = {}
    views: list[View] = []
    for asked, bits in [*((name, True) for name in codecs), *((name, False) for name in cost_only)]:
        match = REGROUPED.fullmatch(asked)
        base, dims = ("silk", int(match[1])) if match else (asked, None)
        if dims is not None:
            codebook_sizes(dims)  # raises what must hold
        if base not in loaded:
            loaded[base] = load(base)
        name = loaded[base].name + (f"/{dims}" if dims not in (None, DIMS_PER_TOKEN) else "")
        if name in {view.name for view in views}:
            raise ArgumentError(f"a codec must be asked for once; got '{name}' again as '{asked}'.")
        views.append(View(name, base, dims, bits))
    return loaded, views


def _measure(
    view: View, encoded: list[Tokens], held_out: list[Tokens], n_steps: int, plan: Plan, advance: training.Advance
) -> dict[str, Any]:
    """All figures of one view."""
    encoded, held_out = ([view.of(tokens) for tokens in part] for part in (encoded, held_out))
    layout = Layout.of(max(encoded, key=lambda tokens: tokens.n_frames))
    frames = join(layout, encoded)
    sizes, rate = layout.head_sizes, layout.frame_rate
    figures: dict[str, Any] = {"codec_id": encoded[0].codec, "cost_only": not view.bits, **arithmetic(layout)}
    step_speech_s = plan.batch * plan.window_frames(rate) / rate
    if view.bits:
        held_out_frames = join(layout, held_out)
        model, run = training.train(sizes, rate, frames, held_out_frames, n_steps, plan, advance)
        step_s = run["wall_s"] / n_steps
        reached = bootstrap(run["bits_per_second_of_windows"], plan.seed)
        figures |= {
            "bits_per_second": reached,
            "share_of_raw_bits": reached["mean"] / layout.raw_bits_per_second,
            "order0_bits_per_second": training.order0_bits_per_second(sizes, rate, frames, held_out_frames),
            "train_wall_s": run["wall_s"],
            "curve": run["curve"],
        }
    else:
        model, step_s = training.time_steps(sizes, rate, frames, plan)
    return figures | _times(model, rate, step_s, step_speech_s, plan)


def _times(model: FrameModel, frame_rate: float, step_s: float, step_speech_s: float, plan: Plan) -> dict[str, Any]:
    return {
        "parameters": model.n_parameters(),
        "train_steps_per_second": 1 / step_s,
        "train_s_per_hour": step_s / step_speech_s * 3600,
        "sampling_times_real_time": training.sampling_times_real_time(model, frame_rate, plan),
    }


def join(layout: Layout, many: list[Tokens]) -> Frames:
    """The frames of many recordings as one stream, int64 [F, P, H]."""
    return np.concatenate([layout.frames(tokens) for tokens in many])


def _compare_at_equal_time(figures: dict[str, dict[str, Any]]) -> float | None:
    """Adds `share_of_raw_bits_at_equal_time`: after as much training time as the quickest codec took in all.

    Between two checkpoints it is interpolated.
    """
    trained = [found for found in figures.values() if not found["cost_only"]]
    if not trained:
        return None
    equal_s = min(found["train_wall_s"] for found in trained)
    for found in trained:
        walls = [point["wall_s"] for point in found["curve"]]
        shares = [point["bits_per_second"] / found["raw_bits_per_second"] for point in found["curve"]]
        found["share_of_raw_bits_at_equal_time"] = float(np.interp(equal_s, walls, shares))
    return equal_s
