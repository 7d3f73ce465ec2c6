"""The page and the figure of this experiment. Every number is the JSON's."""

from __future__ import annotations

import io
from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.pages import Result, made

NOTABLE_RISE = 0.005  # of held-out bits above their lowest: more than that is called overfitting

TITLE = "What do a codec's tokens cost a language model?"

QUESTION = (
    "A voice language model reads and writes the tokens of a codec. What do they cost: how many steps per minute of "
    "speech, how large a vocabulary, how many bits per second to predict, and how much time for training and sampling?"
)

WOULD_CHANGE = (
    "**More speech, a larger model, more steps.** Bits fall with each, and not equally fast for every codec: a "
    "codec with a larger vocabulary needs more speech before its heads learn anything. The ranking above is for a "
    "tiny model and little speech.",
    "**Another split between body and depth.** All codecs get the same two parts; a codec with few, large frames may "
    "need a larger depth part, and one with many small frames a longer context.",
    "**A chain instead of independent heads.** The heads of a factorised token are predicted at once. Regrouped to "
    "smaller tokens (`silk/4`, `silk/1`) more of them are conditioned on each other, at the cost of more steps.",
    "**Other hardware, a larger body.** The times are for a tiny model on a CPU, where overhead is as large as the "
    "arithmetic. The counts of steps do not depend on it; the relative cost of body and depth steps does.",
    "**Trained weights for the codecs marked as cost only.** Their times would stay, and they would get bits.",
    "**Quality.** Nothing here measures the quality of the decoded speech.",
)


def method(result: Result) -> list[str]:
    settings, size = result["settings"], result["settings"]["size"]
    parts = _parameters(result)
    trained_h = settings["n_steps"] * settings["batch"] * settings["window_s"] / 3600
    return [
        "**Counted.** Frames, tokens and codebooks are those of tokens that were produced. *Flat* is one step a "
        "token; *frames* is one step a frame, its tokens predicted at once or by a small model of their own; the "
        "*delay* pattern is one step a frame, each further token of a frame one step later. Tokens of a frame stand "
        "in the order of their time, coarser codebooks first.",
        "**Factorised.** Where no codebook has more than 4,096 codes, a token has one head (softmax). Else every "
        "code is written in base 8, exactly, and each digit has a head of 8: Silk's 8^7 = 2,097,152 codes are 7 "
        "heads of 8, which are its FSQ levels. The heads of one token are predicted at once, independently of each "
        "other: a token stays one step. `silk/4` is the same recording regrouped to 32 tokens of 4,096 a frame, "
        "`silk/1` to 128 of 8.",
        f"**Tried.** The same model for every codec: a transformer over frames ({size['width']} wide, {size['layers']} "
        f"layers, {parts['body']}) and a smaller one over the tokens of a frame ({size['depth_width']} wide, "
        f"{size['depth_layers']} layers, {parts['depth']}), as in the RQ-Transformer "
        "([arXiv 2203.01941](https://arxiv.org/abs/2203.01941)) that Moshi uses over Mimi "
        "([arXiv 2410.00037](https://arxiv.org/abs/2410.00037)). Token vectors and heads come on top: as many as the "
        "vocabulary asks for. Heads begin at zero, so an untrained model costs exactly the raw bits.",
        f"**Trained** on the same speech, {_speech(result['speech']['train'])}, with AdamW at "
        f"{settings['learning_rate']:g} after {settings['warmup_steps']} steps of warm-up, seed {settings['seed']}, "
        f"{settings['n_steps']} steps of {settings['batch']} windows of {settings['window_s']:.3g} s at the same "
        f"moments for every codec: {trained_h:.2g} h in all. The learning rate stays constant, so each point of "
        "a curve is what a run that ended there had reached.",
        f"**Scored** on held-out speech, {_speech(result['speech']['held_out'])}, in windows of the same length, "
        "each from its own start. Bits per second are the cross-entropy of all tokens, summed, over the seconds of "
        "their frames; the interval is the 95 % bootstrap over windows, not over training runs: there was one. "
        "*Frequencies* is the cost by the frequency of each head's codes in the training speech.",
    ]


def findings(result: Result) -> list[str]:
    codecs = result["codecs"]
    trained = {name: found for name, found in codecs.items() if not found["cost_only"]}
    parts = ["### Counted", _counted(codecs), _counted_note(codecs)]
    if trained:
        parts += [
            "### Predicted",
            _predicted(trained, result["settings"]["equal_time_s"]),
            "**Bits per second of different codecs do not compare as quality**: a codec that keeps less of the "
            "speech has fewer bits to predict. The share of the raw bits can be compared (how predictable the tokens "
            "are for a model of this size), and so can the cost of training.",
            *_overfitted(trained),
        ]
    parts += ["### Timed", _timed(codecs)]
    if len(trained) < len(codecs):
        names = ", ".join(f"`{name}`" for name in codecs if name not in trained)
        parts.append(
            f"Cost only: {names}. Their weights are random, in the published architecture: the tokens have the right "
            "shape and no meaning, so lengths and times are measured, and bits are not."
        )
    return parts


def _counted(codecs: dict[str, Any]) -> str:
    header = [
        "codec",
        "frames/s",
        "tokens a frame",
        "tokens/s",
        "steps a minute: flat",
        "frames",
        "delay",
        "speech a step: flat",
        "frames",
        "vocabulary",
        "outputs, factorised",
        "head parameters, whole",
        "factorised",
    ]
    rows = []
    for name, found in codecs.items():
        minute, step_s = found["minute_steps"], found["speech_s_per_step"]
        rows.append(
            [
                name,
                number(found["frame_rate_hz"], 1),
                str(found["tokens_per_frame"]),
                number(found["tokens_per_second"], 1),
                *(f"{minute[layout]:,}" for layout in ("flat", "frame", "delay")),
                *(f"{1000 * step_s[layout]:.3g} ms" for layout in ("flat", "frame")),
                _vocabulary(found["codebook_sizes"]),
                f"{found['outputs']['factorised']:,}",
                *(_millions(found["output_parameters"][way]) for way in ("whole", "factorised")),
            ]
        )
    return table(header, rows)


def _counted_note(codecs: dict[str, Any]) -> str:
    width = next(iter(codecs.values()))["model_width"]
    minutes = {name: found["minute_steps"] for name, found in codecs.items()}
    flat, frames = (min(minutes, key=lambda name: minutes[name][layout]) for layout in ("flat", "frame"))
    return (
        f"Fewest steps a minute: flat, `{flat}` with {minutes[flat]['flat']:,}; of frames, `{frames}` with "
        f"{minutes[frames]['frame']:,}. Head parameters are for a model {width:,} wide, with one output a "
        "code (*whole*) or factorised."
    )


def _predicted(trained: dict[str, Any], equal_time_s: float) -> str:
    header = [
        "codec",
        "raw bit/s",
        "frequencies, bit/s",
        "model, bit/s",
        "model / raw",
        f"model / raw after {number(equal_time_s, 0 if equal_time_s >= 10 else 1)} s of training",
    ]
    rows = []
    for name, found in trained.items():
        rows.append(
            [
                name,
                number(found["raw_bits_per_second"], 0),
                number(found["order0_bits_per_second"], 0),
                _bits(found["bits_per_second"]),
                _percent(found["share_of_raw_bits"]),
                _percent(found["share_of_raw_bits_at_equal_time"]),
            ]
        )
    return table(header, rows)


def _overfitted(trained: dict[str, Any]) -> list[str]:
    """Return a sentence for each codec whose held-out bits rise again."""
    sentences = []
    for name, found in trained.items():
        lowest = min(found["curve"], key=lambda point: point["bits_per_second"])
        last = found["curve"][-1]["bits_per_second"]
        if last > (1 + NOTABLE_RISE) * lowest["bits_per_second"]:
            sentences.append(
                f"`{name}` **overfits**: its bits fell to {_percent(_share(lowest, found))} of the raw ones "
                f"after {lowest['speech_s']:.0f} s of training speech and rose again, with "
                f"{_millions(found['parameters']['vocabulary'])} parameters for its vocabulary alone. It needs more "
                "speech than this, or smaller heads."
            )
    return sentences


def _timed(codecs: dict[str, Any]) -> str:
    header = [
        "codec",
        "body steps a second of speech",
        "depth steps",
        "training steps/s",
        "training, s per hour of speech",
        "sampling, x real time",
        "parameters for the vocabulary",
    ]
    rows = []
    for name, found in codecs.items():
        rows.append(
            [
                name,
                number(found["frame_rate_hz"], 1),
                number(found["tokens_per_second"], 1),
                f"{found['train_steps_per_second']:.3g}",
                f"{found['train_s_per_hour']:.3g}",
                f"{found['sampling_times_real_time']:.3g}",
                _millions(found["parameters"]["vocabulary"]),
            ]
        )
    return table(header, rows)


def how_made(result: Result) -> str:
    codecs, settings = result["codecs"], result["settings"]
    asked = ",".join(name for name, found in codecs.items() if not found["cost_only"])
    cost_only = ",".join(f"{name}@FOLDER" for name, found in codecs.items() if found["cost_only"])
    command = ["silk lab lm-cost SPEECH"]
    command += [f"--codecs {asked}"] if asked else []
    command += [f"--cost-only {cost_only}"] if cost_only else []
    command += [f"--splits {','.join(settings['splits'])}"] if settings["splits"] else []
    command += [f"--minutes {settings['train_minutes']:g} --held-out-minutes {settings['held_out_minutes']:g}"]
    command += [f"--passes {settings['passes']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in codecs.values()}))
    threads = settings["threads"] or result["machine"]["threads"]
    return (
        f"`{' '.join(command)}`\n\n{made(result)} Threads in training: {threads}; in sampling one, and one sequence. "
        f"Codecs and weights: {ids}."
    )


def figure(result: Result) -> bytes:
    """A PNG: steps for a minute of speech, and the curves over training speech and training time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # not pyplot: no state, no display
    from matplotlib.figure import Figure

    codecs = result["codecs"]
    drawing = Figure(figsize=(13, 4.4), layout="constrained")
    FigureCanvasAgg(drawing)
    bars, speech, seconds = drawing.subplots(1, 3)
    places = range(len(codecs))
    for shift, layout, label in ((-0.2, "flat", "one step a token"), (0.2, "frame", "one step a frame")):
        counts = [found["minute_steps"][layout] for found in codecs.values()]
        drawn = bars.barh([place + shift for place in places], counts, height=0.38, label=label)
        bars.bar_label(drawn, [f"{count:,}" for count in counts], padding=3, fontsize=7)
    bars.set(yticks=list(places), yticklabels=list(codecs), xscale="log", title="steps for a minute of speech")
    bars.margins(x=0.15)
    bars.invert_yaxis()
    bars.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    for axes, key, label in ((speech, "speech_s", "training speech, s"), (seconds, "wall_s", "training time, s")):
        for name, found in codecs.items():
            if not found["cost_only"]:
                points = found["curve"][1:]  # the first is 1 at 0, which a logarithmic axis has not
                shares = [_share(point, found) for point in points]
                axes.plot([point[key] for point in points], shares, marker="o", markersize=3, label=name)
        axes.set(xscale="log", xlabel=label, title="bits left of the raw bits, held-out speech")
        axes.grid(alpha=0.3)
    if speech.lines:
        speech.legend(fontsize=8)
    image = io.BytesIO()
    drawing.savefig(image, format="png", dpi=110, metadata={"Software": None})
    return image.getvalue()


def _share(point: dict[str, Any], found: dict[str, Any]) -> float:
    return float(point["bits_per_second"] / found["raw_bits_per_second"])


def _bits(entry: dict[str, Any]) -> str:
    """With its interval where there is more than one window to take it from."""
    return interval(entry, 0) if entry["n"] > 1 else number(entry["mean"], 0)


def _parameters(result: Result) -> dict[str, str]:
    counted = next(iter(result["codecs"].values()))["parameters"]
    return {part: f"{_millions(counted[part])} parameters" for part in ("body", "depth")}


def _speech(found: dict[str, Any]) -> str:
    seconds, clips = found["duration_s"], found["n_clips"]
    duration = f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"
    return f"{duration} in {clips} clips" if clips > 1 else f"{duration} of one clip"


def _vocabulary(sizes: list[int]) -> str:
    """`18 x 2,097,152 + 64`: runs of codebooks of one size."""
    runs: list[list[int]] = []
    for size in sizes:
        if runs and runs[-1][1] == size:
            runs[-1][0] += 1
        else:
            runs.append([1, size])
    return " + ".join(f"{count} x {size:,}" if count > 1 else f"{size:,}" for count, size in runs)


def _millions(count: int) -> str:
    return f"{count / 1e6:,.3g} M" if count < 1e9 else f"{count / 1e9:,.3g} G"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
