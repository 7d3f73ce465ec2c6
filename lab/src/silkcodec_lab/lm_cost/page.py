"""Write the page and draw the figure for the experiment from its JSON result."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import number, table
from silkcodec_lab.figures import new_figure, to_png
from silkcodec_lab.lm_cost.answer import remark
from silkcodec_lab.metric_tables import estimate, joined
from silkcodec_lab.pages import Description, Result, reproduction, weights
from silkcodec_lab.selection import describe_speech

NOTABLE_RISE = 0.005  # relative increase of held-out bits above their minimum that is reported as overfitting

TITLE = "Cost of tokens for a language model"

QUESTION = (
    "A voice language model reads and predicts codec tokens. How many steps does it need per minute of "
    "speech? How many bits per second must it predict, and how long do training and sampling take?"
)

CAPTION = (
    "The first plot shows steps per minute of speech. The other plots show the cross-entropy on held-out speech as a "
    "share of the raw bit rate, by amount of training speech and by training time."
)

LIMITATIONS = (
    "The model is tiny, and it is trained on very little speech. Codecs with a large vocabulary need more speech, so "
    "the ranking can change with larger models and more data.",
    "The transformers for all codecs have the same size. Another size might suit some codecs better.",
    "The digits of a Silk token are predicted independently of each other. With smaller tokens (`silk/4`, `silk/1`), "
    "each token is predicted as a whole, but the model needs more steps.",
    "Times are measured on a CPU. The number of steps does not depend on the hardware.",
    "The experiment does not measure the quality of the decoded speech.",
)


def describe(result: Result) -> Description:
    """Return the title, question, caption and limitations of the page."""
    return Description(TITLE, QUESTION, CAPTION, LIMITATIONS)


def summary(result: Result) -> str:
    """Answer the experiment's question in a few sentences, with numbers from a result."""
    codecs = result["codecs"]
    trained = {name: found for name, found in codecs.items() if not found["cost_only"]}
    minutes = {name: found["minute_steps"]["flat"] for name, found in codecs.items()}
    fewest, *others = sorted(minutes, key=lambda name: minutes[name])
    texts = [f"With one step per token, `{fewest}` needs {minutes[fewest]:,} steps per minute of speech."]
    if others:
        seconds = sorted(codecs[name]["train_s_per_hour"] for name in others)
        own = codecs[fewest]["train_s_per_hour"]
        texts += [
            f"The other codecs and groupings need {minutes[others[0]]:,} to {minutes[others[-1]]:,} steps.",
            f"With a tiny model, one pass over an hour of training speech takes {own:.3g} s for `{fewest}` and "
            f"{seconds[0]:.3g} to {seconds[-1]:.3g} s for the others.",
        ]
    if trained:
        percents = {name: _percent(found["share_of_raw_bits"]) for name, found in trained.items()}
        shares = [f"{percent} for `{name}`{remark(name)}" for name, percent in percents.items()]
        texts.append(
            f"The model's cross-entropy on held-out speech, as a share of the raw bit rate, is {joined(shares)}."
        )
        texts += _overfitted(trained)
    return " ".join(texts)


def method(result: Result) -> list[str]:
    """Return the paragraphs of the page's method section."""
    settings, size = result["settings"], result["settings"]["size"]
    parts = _parameters(result)
    trained_h = settings["n_steps"] * settings["batch"] * settings["window_s"] / 3600
    return [
        "**Steps.** With the *flat* pattern, the model needs one step per token. With *frame*, it needs one step per "
        "frame, and a second, smaller model can predict the tokens within the frame.",
        "**Output heads.** An output head predicts one token. If a codebook has more than 4,096 entries, its tokens "
        "are written in base 8, and a separate head with 8 outputs predicts each digit. Of the 19 tokens in a "
        "`silk` frame, 18 have 7 digits and the last has 2. In `silk/4` and `silk/1`, the same digits are regrouped "
        "into tokens of 4 digits and of 1 digit, respectively.",
        f"**Model.** A transformer over frames ({parts['body']}) is followed by a smaller transformer over the tokens "
        f"of a frame ({parts['depth']}), as in the [RQ-Transformer](https://arxiv.org/abs/2203.01941) and "
        f"[Moshi](https://arxiv.org/abs/2410.00037). The widths are {size['width']} and {size['depth_width']}. The "
        "other parameters (token embeddings, their projection to a frame, and heads) depend on the tokens.",
        f"**Training.** The training speech consists of {describe_speech(result['speech']['train'])}. Each model is "
        f"trained on the same excerpts for {settings['n_steps']} steps (seed {settings['seed']}). Each step uses "
        f"{settings['batch']} windows of {settings['window_s']:.3g} s, so training covers {trained_h:.2g} h of "
        "speech, including repetitions.",
        f"**Bits per second.** The held-out speech consists of {describe_speech(result['speech']['held_out'])}. The "
        "cross-entropy of all tokens is divided by the duration. Square brackets contain 95 % bootstrap intervals over "
        "windows. They do not include the variation between training runs. *Raw* is the bit rate of the codec. "
        "*Frequencies* is the cross-entropy if each code is predicted from its frequency alone.",
    ]


def findings(result: Result) -> list[str]:
    """Return the headings, paragraphs and tables of the page's results section."""
    codecs = result["codecs"]
    trained = {name: found for name, found in codecs.items() if not found["cost_only"]}
    width = next(iter(codecs.values()))["model_width"]
    parts = [
        "### Sequence lengths and vocabulary",
        f"The last column shows the number of parameters in the output heads of a model of width {width:,}.",
        _counted(codecs),
    ]
    if trained:
        parts += [
            "### Bits per second",
            _predicted(trained),
            "**Bits per second do not measure quality.** If a codec keeps less information, the model has fewer bits "
            "to predict. The last column shows how predictable the tokens are for this model.",
        ]
    parts += ["### Training and sampling time", _timed(codecs)]
    if len(trained) < len(codecs):
        names = joined([f"`{name}`" for name in codecs if name not in trained])
        parts.append(
            f"For {names}, bits per second were not measured, because these codecs were run with random weights. "
            "Random weights affect neither the number of tokens nor the times."
        )
    return parts


def _counted(codecs: dict[str, Any]) -> str:
    header = ["codec", "frames/s", "tokens/s", "steps per minute, flat", "steps per minute, frame", "vocabulary"]
    rows = []
    for name, found in codecs.items():
        rows.append(
            [
                name,
                number(found["frame_rate_hz"], 1),
                number(found["tokens_per_second"], 1),
                *(f"{found['minute_steps'][layout]:,}" for layout in ("flat", "frame")),
                _vocabulary(found["codebook_sizes"]),
                _millions(found["output_parameters"]["factorized"]),
            ]
        )
    return table([*header, "head parameters"], rows)


def _predicted(trained: dict[str, Any]) -> str:
    rows = [
        [
            name,
            number(found["raw_bits_per_second"], 0),
            number(found["order0_bits_per_second"], 0),
            estimate(found["bits_per_second"], 0),
            _percent(found["share_of_raw_bits"]),
        ]
        for name, found in trained.items()
    ]
    return table(["codec", "raw bit/s", "frequencies, bit/s", "model, bit/s", "model / raw"], rows)


def _overfitted(trained: dict[str, Any]) -> list[str]:
    """Return sentences for each codec whose bits per second on held-out speech rise again during training."""
    sentences = []
    for name, found in trained.items():
        lowest = min(found["curve"], key=lambda point: point["bits_per_second"])
        last = found["curve"][-1]["bits_per_second"]
        if last > (1 + NOTABLE_RISE) * lowest["bits_per_second"]:
            sentences.append(
                f"The model **overfits** on `{name}`. Its cross-entropy is lowest ({_percent(_share(lowest, found))} "
                f"of the raw bit rate) after {lowest['speech_s'] / 60:.0f} min of training speech, including "
                "repetitions."
            )
    return sentences


def _timed(codecs: dict[str, Any]) -> str:
    header = ["codec", "training steps/s", "training, s per hour of speech", "sampling, x real time"]
    rows = []
    for name, found in codecs.items():
        times = (found[key] for key in ("train_steps_per_second", "train_s_per_hour", "sampling_times_real_time"))
        rows.append([name, *(f"{time:.3g}" for time in times), _millions(found["parameters"]["vocabulary"])])
    return table([*header, "other parameters"], rows)


def reproduce(result: Result) -> str:
    """Return the text of the page's reproduction section."""
    codecs, settings = result["codecs"], result["settings"]
    trained = ",".join(name for name, found in codecs.items() if not found["cost_only"])
    cost_only = ",".join(f"{name}@MODEL" for name, found in codecs.items() if found["cost_only"])
    command = ["silk lab lm-cost SPEECH"]
    command += [f"--codecs {trained}"] if trained else []
    command += [f"--cost-only {cost_only}"] if cost_only else []
    command += [f"--splits {','.join(settings['splits'])}"] if settings["splits"] else []
    command += [f"--minutes {settings['train_minutes']:g} --held-out-minutes {settings['held_out_minutes']:g}"]
    command += [f"--passes {settings['passes']:g} --seed {settings['seed']}"]
    command += [f"--threads {settings['threads']}"] if settings["threads"] else []
    command += ["-o FOLDER"]
    threads = settings["threads"] or result["machine"]["threads"]
    note = f"Training used {threads} threads. Sampling used one thread and generated one sequence at a time. "
    ids = (found["codec_id"] for name, found in codecs.items() if not found["cost_only"])
    return reproduction(result, command, times=True, note=note + weights(ids))


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
