"""Write the page and draw the figure of the experiment from its JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import interval, number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.pages import Result, provenance
from silkcodec_lab.selection import describe_speech

NOTABLE_RISE = 0.005  # relative increase of held-out bits above their minimum that is reported as overfitting

TITLE = "Cost of tokens for a language model"

QUESTION = (
    "A voice language model reads and predicts the tokens of a codec. How many steps does it need per minute of "
    "speech? How large is its vocabulary, how many bits per second must it predict, and how long do training and "
    "sampling take?"
)

LIMITATIONS = (
    "**Small model and little speech.** More speech, a larger model and more steps reduce the bits, but not by the "
    "same amount for all codecs. Codecs with a large vocabulary need more speech. The ranking applies to a tiny model "
    "and little speech.",
    "**Sizes of body and depth part.** The body and the depth part have the same size for all codecs. Codecs with few, "
    "large frames might need a larger depth part, and codecs with many small frames might need a longer context.",
    "**Independent heads.** The heads of a factorized token are predicted independently. With smaller tokens "
    "(`silk/4`, `silk/1`), fewer levels are predicted independently, but the model needs more steps.",
    "**Hardware.** Times are measured with a tiny model on a CPU, where overhead takes as long as the computation. The "
    "number of steps does not depend on the hardware, but the relative cost of body and depth steps does.",
    "**Random weights.** For codecs with random weights, only the cost is measured. With trained weights, their bits "
    "could also be measured. Their times would not change.",
    "**Quality.** This experiment does not measure the quality of the decoded speech.",
)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the method section."""
    settings, size = result["settings"], result["settings"]["size"]
    parts = _parameters(result)
    trained_h = settings["n_steps"] * settings["batch"] * settings["window_s"] / 3600
    return [
        "**Sequence lengths.** A pattern arranges tokens in steps. Sequence lengths are counted for three patterns. "
        "The tokens of a frame are ordered by time, and then from coarse to fine codebooks.",
        "- *flat*: one step per token.\n"
        "- *frame*: one step per frame. The tokens of a frame are predicted together or by a small second model.\n"
        "- *delay*: one step per frame. Within a frame, each token is delayed by one step relative to the previous "
        "token.",
        "**Factorized outputs.** If all codebooks have at most 4,096 entries, each token has one output head. "
        "Otherwise, each code is written in base 8, and each digit has a head with 8 outputs. Most tokens of Silk have "
        "8^7 = 2,097,152 possible codes and therefore 7 heads, one for each FSQ level. The heads of a token are "
        "predicted in the same step and independently of each other. `silk/4` regroups the levels of a frame into 32 "
        "tokens with 4,096 possible codes, and `silk/1` into 128 tokens with 8 possible codes.",
        f"**Model.** All codecs use the same model, which has two parts. The body is a transformer over frames "
        f"({size['width']} wide, {size['layers']} layers, {parts['body']}). The depth part is a smaller transformer "
        f"over the tokens of a frame ({size['depth_width']} wide, {size['depth_layers']} layers, {parts['depth']}). "
        "This is the design of the RQ-Transformer ([arXiv 2203.01941](https://arxiv.org/abs/2203.01941)), which Moshi "
        "uses with Mimi ([arXiv 2410.00037](https://arxiv.org/abs/2410.00037)). The model also has token embeddings "
        "and heads. Their sizes depend on the vocabulary. The heads are initialized with zeros, so the "
        "cross-entropy of an untrained model equals the raw bits.",
        f"**Training.** The training speech consists of {describe_speech(result['speech']['train'])}. The models are "
        f"trained with AdamW for {settings['n_steps']} steps (seed {settings['seed']}). Each step uses "
        f"{settings['batch']} windows of {settings['window_s']:.3g} s, for a total of {trained_h:.2g} h. All models "
        f"are trained on the same excerpts of the speech. The learning rate is {settings['learning_rate']:g} after "
        f"{settings['warmup_steps']} warm-up steps and then stays constant. Each point on a training curve is "
        "therefore the final result of a shorter run.",
        f"**Scores.** The held-out speech consists of {describe_speech(result['speech']['held_out'])}. Bits per second "
        "are measured in windows of the same length as in training, without context from before the window. They are "
        "the summed cross-entropy of all tokens, divided by the duration of their frames. Intervals are 95 % bootstrap "
        "intervals over windows. They do not include the variation between training runs, because there is one run "
        "per codec. *Frequencies* is the cross-entropy without a model, based on the frequencies of codes in the "
        "training speech.",
    ]


def findings(result: Result) -> list[str]:
    """Return the paragraphs and tables of the results section."""
    codecs = result["codecs"]
    trained = {name: found for name, found in codecs.items() if not found["cost_only"]}
    parts = ["### Sequence lengths and vocabulary", _counted(codecs), _counted_note(codecs)]
    if trained:
        parts += [
            "### Bits per second",
            _predicted(trained, result["settings"]["equal_time_s"]),
            "**Bits per second do not measure quality.** If a codec keeps less information, the model has fewer bits "
            "to predict. The ratio of the model's bits to the raw bits can be compared between codecs. It shows how "
            "predictable the tokens are for a model of this size.",
            *_overfitted(trained),
        ]
    parts += ["### Training and sampling time", _timed(codecs)]
    if len(trained) < len(codecs):
        names = ", ".join(f"`{name}`" for name in codecs if name not in trained)
        parts.append(
            f"For these codecs, only the cost is measured: {names}. These codecs have the published architecture with "
            "random weights. Their tokens have the correct layout but no content, so bits are not measured."
        )
    return parts


def _counted(codecs: dict[str, Any]) -> str:
    header = [
        "codec",
        "frames/s",
        "tokens per frame",
        "tokens/s",
        "steps per minute, flat",
        "steps per minute, frame",
        "steps per minute, delay",
        "speech per step, flat",
        "speech per step, frame",
        "vocabulary",
        "factorized outputs",
        "head parameters, not factorized",
        "head parameters, factorized",
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
    n_flat, n_frame = f"{minutes[flat]['flat']:,}", f"{minutes[frames]['frame']:,}"
    fewest = (
        f"`{flat}` needs the fewest steps per minute: {n_flat} with the pattern *flat*, and {n_frame} with *frame*."
        if flat == frames
        else f"`{flat}` needs the fewest steps per minute with the pattern *flat* ({n_flat}), and `{frames}` needs the "
        f"fewest with *frame* ({n_frame})."
    )
    return (
        f"{fewest} Head parameters are counted for a model of width {width:,} with one output per code (not "
        "factorized) or with factorized outputs."
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
    """Return sentences for each codec whose bits per second on held-out speech rise again during training."""
    sentences = []
    for name, found in trained.items():
        lowest = min(found["curve"], key=lambda point: point["bits_per_second"])
        last = found["curve"][-1]["bits_per_second"]
        if last > (1 + NOTABLE_RISE) * lowest["bits_per_second"]:
            sentences.append(
                f"The model **overfits** on `{name}`. Its cross-entropy fell to {_percent(_share(lowest, found))} of "
                f"the raw bits after {lowest['speech_s']:.0f} s of training speech and then rose. The model has "
                f"{_millions(found['parameters']['vocabulary'])} parameters for the vocabulary alone, so it needs "
                "more speech or smaller heads."
            )
    return sentences


def _timed(codecs: dict[str, Any]) -> str:
    header = [
        "codec",
        "body steps per second of speech",
        "depth steps per second of speech",
        "training steps/s",
        "training, s per hour of speech",
        "sampling, x real time",
        "vocabulary parameters",
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


def reproduce(result: Result) -> str:
    """Return the command, the versions and the machine that produced a result."""
    codecs, settings = result["codecs"], result["settings"]
    trained = ",".join(name for name, found in codecs.items() if not found["cost_only"])
    cost_only = ",".join(f"{name}@FOLDER" for name, found in codecs.items() if found["cost_only"])
    command = ["silk lab lm-cost SPEECH"]
    command += [f"--codecs {trained}"] if trained else []
    command += [f"--cost-only {cost_only}"] if cost_only else []
    command += [f"--splits {','.join(settings['splits'])}"] if settings["splits"] else []
    command += [f"--minutes {settings['train_minutes']:g} --held-out-minutes {settings['held_out_minutes']:g}"]
    command += [f"--passes {settings['passes']:g} --seed {settings['seed']} -o FOLDER"]
    ids = ", ".join(sorted({found["codec_id"] for found in codecs.values()}))
    threads = settings["threads"] or result["machine"]["threads"]
    return (
        f"`{' '.join(command)}`\n\n{provenance(result, times=True)} Training used {threads} threads. Sampling used one "
        f"thread and one sequence. Codec IDs: {ids}."
    )


def figure(result: Result) -> bytes:
    """Return the figure as PNG.

    The first plot shows language-model steps per minute of speech. The other two plots show the bits that the language
    model needs for held-out speech, relative to the raw bits of the tokens: one as a function of the amount of training
    speech, the other as a function of the training time.
    """
    codecs = result["codecs"]
    drawing = new_figure(13, 4.4)
    bars, speech, seconds = drawing.subplots(1, 3)
    places = range(len(codecs))
    for shift, layout, label in ((-0.2, "flat", "one step per token"), (0.2, "frame", "one step per frame")):
        counts = [found["minute_steps"][layout] for found in codecs.values()]
        drawn = bars.barh([place + shift for place in places], counts, height=0.38, label=label)
        bars.bar_label(drawn, [f"{count:,}" for count in counts], padding=3, fontsize=7)
    bars.set(yticks=list(places), yticklabels=list(codecs), xscale="log", title="steps per minute of speech")
    bars.margins(x=0.15)
    bars.invert_yaxis()
    bars.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, -0.25), ncols=2)
    for axes, key, label in ((speech, "speech_s", "training speech, s"), (seconds, "wall_s", "training time, s")):
        for name, found in codecs.items():
            if not found["cost_only"]:
                points = found["curve"][1:]  # The first point is at 0, which a logarithmic axis cannot show.
                shares = [_share(point, found) for point in points]
                axes.plot([point[key] for point in points], shares, marker="o", markersize=3, label=name)
        axes.set(xscale="log", xlabel=label, title="bits / raw bits, held-out speech")
        axes.grid(alpha=0.3)
    if speech.lines:
        speech.legend(fontsize=8)
    return to_png(drawing)


def _share(point: dict[str, Any], found: dict[str, Any]) -> float:
    return float(point["bits_per_second"] / found["raw_bits_per_second"])


def _bits(entry: dict[str, Any]) -> str:
    """Format the mean bits per second, with their interval if there is more than one window."""
    return interval(entry, 0) if entry["n"] > 1 else number(entry["mean"], 0)


def _parameters(result: Result) -> dict[str, str]:
    counted = next(iter(result["codecs"].values()))["parameters"]
    return {part: f"{_millions(counted[part])} parameters" for part in ("body", "depth")}


def _vocabulary(sizes: list[int]) -> str:
    """Format codebook sizes and combine runs of equal sizes, e.g. `18 x 2,097,152 + 64`."""
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
