"""Write the model card, which describes the training, its data, the licenses, the quality and the limitations."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError, SilkError
from silkcodec.evaluate import markdown, report
from silkcodec_torch.train import checkpoint
from silkcodec_torch.train.config import FinishConfig, TrainConfig, load_config
from silkcodec_torch.train.data import index_rows, is_synthetic

COPYLEFT = {  # name -> regular expression for a license in the index
    "CC-BY-SA": r"CC[- ]BY[- ]SA",
    "FDL": r"FDL",
    "Free Art License": r"Free Art",
    "GPL": r"\bL?GPL",
}


def model_card(config: TrainConfig, progress: dict[str, Any], written: dict, results: dict | None, out: Path) -> str:
    """Return the model card as Markdown.

    Args:
        config: config of the run.
        progress: progress from the checkpoint of the run.
        written: contents of the exported config.json.
        results: results of `silk compare` for these weights, if available.
        out: folder of the exported weights.

    Raises:
        ArgumentError: `results` were measured with different weights, or a duration in the index is not a number.
    """
    megabytes = sum((out / written[part]["file"]).stat().st_size for part in ("encoder", "decoder")) / 1e6
    data = [*data_lines(config), *starting_data_lines(config)]
    lines = [
        f"# Silk {written['weights_hash']}",
        "",
        "A neural codec for 24 kHz speech: 47.5 tokens per second (960 bit/s), 400 ms frames, 20 ms look-ahead.",
        f"Two ONNX graphs of {megabytes:.1f} MB in total, with float16 weights and float32 arithmetic.",
        "",
        "## Training",
        "",
        *training_lines(config, progress),
        "",
        "## Training data",
        "",
        *data,
        "",
        "## License",
        "",
        *license_lines("\n".join(data)),
        "",
        "## Quality",
        "",
        *quality_lines(results, written["weights_hash"]),
        "",
        "## Limitations",
        "",
        "Audio that differs from the training data can sound worse. Voices can change slightly. Do not use the model",
        "to identify speakers.",
    ]
    return "\n".join(lines) + "\n"


def training_lines(config: TrainConfig, progress: dict[str, Any]) -> list[str]:
    """Return Markdown lines on the training of a run up to a checkpoint.

    Args:
        config: config of the run.
        progress: progress from the checkpoint.
    """
    config = reached(config, progress)
    lengths = [f"{stage.length:.12g} {stage.unit}" for stage in config.stage]
    if len(config.stage) > progress["stage"]:  # The last one is not complete.
        done = progress["steps_in_stage"] if config.stage[-1].steps else round(progress["seconds_in_stage"] / 60, 1)
        lengths[-1] = f"{done} of {lengths[-1]}"
    parts = {(True, True): "", (True, False): ", encoder only", (False, True): ", decoder only"}
    stages = [
        f"{stage.name} ({length}{parts.get((stage.train_encoder, stage.train_decoder), ', discriminators only')})"
        for stage, length in zip(config.stage, lengths, strict=True)
    ]
    audio_s = progress["step"] * config.optim.batch_crops * config.data.crop_s
    return [
        f"- Code: `silk train`; seed {config.seed}; stages: {', '.join(stages)}; losses of the last stage:"
        f" {losses(config)}.",
        f"- Steps: {progress['step']}, each on {config.optim.batch_crops} crops of {config.data.crop_s:g} s:",
        f"  {audio_s / 3600:.1f} hours of audio in total, with repetition.",
        f"- Time in training steps: {progress['seconds'] / 3600:.2f} hours.",
        f"- Optimizer: {config.optim.optimizer}; peak learning rate {config.optim.learning_rate:g}; averaged weights.",
        *start_lines(config),
        *finish_lines(config),
        *optimistic_metric_lines(config),
    ]


def reached(config: TrainConfig, progress: dict[str, Any]) -> TrainConfig:
    """Return a config with only the stages that a run started, and with [finish] only if it was applied.

    Args:
        config: config of the run.
        progress: progress from a checkpoint of the run.
    """
    n_stages = progress["stage"] + (progress["steps_in_stage"] > 0)
    finish = config.finish if progress.get("finished") else FinishConfig()
    return replace(config, stage=config.stage[:n_stages], finish=finish)


def losses(config: TrainConfig) -> str:
    """Return the losses of the last training stage with their weights, for example `mel 1, convergence 0.5`."""
    last = config.stage[-1].losses if config.stage else {}
    return ", ".join(f"{name} {weight:g}" for name, weight in last.items()) or "none"


def starts(config: TrainConfig) -> Iterator[tuple[Path, TrainConfig | None, dict[str, Any]]]:
    """Yield the weights in the chain of initializations that led to a run, most recent first.

    Yields:
        Each run, checkpoint file or folder of exported weights, the config of the run that it belongs to, and the
            run's progress. The config contains only what was `reached`. For exported weights, and for runs that no
            longer exist, it is None. Without a checkpoint, the progress is empty and the config is complete.
    """
    current: TrainConfig | None = config
    seen: set[str] = set()
    while current is not None and current.init and current.init not in seen:
        seen.add(current.init)
        source, progress = Path(current.init), dict[str, Any]()
        current = None
        try:
            current = load_config(run_folder(source) / "config.toml")
            _, progress = checkpoint.load(checkpoint.find(source, "init") or source, tensors=False)
            current = reached(current, progress)
        except SilkError:
            pass  # Part of the run is missing.
        yield source, current, progress


def run_folder(source: Path) -> Path:
    """Return the folder of a run, given the folder or a checkpoint in it."""
    return source.parent if source.suffix == ".safetensors" else source


def start_lines(config: TrainConfig) -> list[str]:
    """Return a Markdown line on the runs and weights that a run was initialized from, if any."""
    chain = []
    for source, earlier, progress in starts(config):
        try:
            written = json.loads((source / "config.json").read_text(encoding="utf-8"))
            chain.append(f"the Silk weights {written['weights_hash']}")
            break
        except (OSError, ValueError, KeyError):  # The source is a run, or is no longer available.
            name = f"the run '{run_folder(source).name}'"
        if earlier is None or not progress:
            chain.append(name)
            break
        chain.append(f"{name} ({progress['step']} steps, {progress['seconds'] / 3600:.2f} hours; {losses(earlier)})")
    if not chain:
        return []
    return [f"- Started from {', which started from '.join(chain)}. The numbers above do not include earlier training."]


def finish_lines(config: TrainConfig) -> list[str]:
    """Return Markdown lines about the adjustments made to the weights after training."""
    lines = []
    if share := config.finish.blend_share:
        lines.append(
            f"- Weights averaged with those of {Path(config.finish.blend).name}, which have a share of {share:g}."
        )
    if config.finish.equalize_clips:
        lines.append(
            "- Output level at each frequency raised by up to 6 dB toward that of up to"
            f" {config.finish.equalize_clips} training clips."
        )
    return lines


def optimistic_metric_lines(config: TrainConfig) -> list[str]:
    """Return Markdown lines on metrics that are optimistic because a training loss optimizes them directly.

    The losses are those of the run and of the runs that it started from, as far as these are known.
    """
    lines = loss_lines(config)
    for source, earlier, _ in starts(config):
        if earlier is not None:
            lines += loss_lines(earlier)
        else:  # the same lines of an earlier card, in which an item can continue on the next line
            items = re.findall(r"^- .*(?:\n  .*)*", _card(source), re.MULTILINE)
            lines += [" ".join(item.split()) for item in items if item.endswith("optimistic.")]
    return list(dict.fromkeys(lines))


def loss_lines(config: TrainConfig) -> list[str]:
    """Return Markdown lines on metrics that a training loss of a single run optimizes directly."""
    close = {"loudness": "PESQ", "envelope": "STOI and ESTOI"}
    lines = [
        f"- The {name} loss is similar to {metric}, so {metric} {'are' if ' and ' in metric else 'is'} optimistic."
        for name, metric in close.items()
        if config.uses(name)
    ]
    return [*lines, *recognizer_lines(config), *speaker_lines(config)]


def recognizer_lines(config: TrainConfig) -> list[str]:
    """Return a Markdown line on the speech recognizer that was used for a training loss, if any."""
    if not config.uses("recognizer"):
        return []
    layers = ", ".join(map(str, config.recognizer.layers)) or "every second layer"
    return [
        f"- The recognizer loss uses the encoder of {Path(config.recognizer.weights).name}, layers: {layers}."
        " Word error rates from recognizers of the same family are therefore optimistic."
    ]


def speaker_lines(config: TrainConfig) -> list[str]:
    """Return a Markdown line on the speaker encoder that was used for a training loss, if any."""
    if not config.uses("speaker"):
        return []
    name = Path(config.speaker.weights).name
    return [f"- The speaker loss uses {name}, so speaker similarity measured with it is optimistic."]


def data_lines(config: TrainConfig) -> list[str]:
    """Return Markdown lines on the training data, with a table of sources if available.

    Raises:
        ArgumentError: a duration in the index is not a number.
    """
    if not config.data.index:
        return [f"About {100 - config.data.valid_percent:g} % of the files in one folder."]
    try:
        rows = index_rows(config.data)["train"]
    except ArgumentError:
        return ["The training data was not available when this card was written."]
    if not all(any(name in row for row in rows) for name in ("source", "licence", "duration_s")):
        return [f"{len(rows)} files of an index without source, licence and duration_s columns."]
    hours: dict[str, float] = defaultdict(float)
    licences: dict[str, set[str]] = defaultdict(set)
    languages: dict[str, set[str]] = defaultdict(set)
    synthetic_hours = 0.0
    for row in rows:
        source = row.get("source", "not stated")
        duration_h = _duration_s(row) / 3600
        if is_synthetic(row):
            source += " (synthetic)"
            synthetic_hours += duration_h
        hours[source] += duration_h
        licences[source].add(row.get("licence", "none"))
        languages[source].add(row.get("language", ""))
    cells = [
        [source, f"{hours[source]:.2f}", str(len(languages[source])), "; ".join(sorted(licences[source]))]
        for source in sorted(hours, key=lambda name: -hours[name])
    ]
    every = {language for names in languages.values() for language in names}
    shown = markdown.table(["source", "hours", "languages", "licenses as stated"], cells, numeric=False)
    total = sum(hours.values())
    lines = [shown, "", f"Total: {total:.1f} hours, {len(every)} languages and variants."]
    if synthetic_hours:
        limit = config.data.synthetic_share
        limited = f", from which at most {100 * limit:g} % of the crops were drawn" if limit < 1 else ""
        lines.append(
            f"{total - synthetic_hours:.1f} hours are recordings; {synthetic_hours:.1f} hours are synthetic{limited}."
        )
    return lines


def _duration_s(row: dict[str, str]) -> float:
    text = row.get("duration_s", "0")
    try:
        if math.isfinite(duration_s := float(text)):
            return duration_s
    except ValueError:
        pass
    raise ArgumentError(
        f"The 'duration_s' column must contain a number of seconds; got {text!r} for '{row['path']}'. Correct it."
    )


def starting_data_lines(config: TrainConfig) -> list[str]:
    """Return Markdown lines on the training data of the weights that a run was initialized from.

    Runs with the same training data as an earlier entry are not listed again.
    """
    sections = ["\n".join(data_lines(config))]
    for source, earlier, _ in starts(config):
        section = _data_section(source) if earlier is None else "\n".join(data_lines(earlier))
        if section and section not in sections:
            sections.append(section)
    lines = [line for section in sections[1:] for line in ("", section)]
    return ["", "The weights that the run started from were trained on:", *lines] if lines else []


def _data_section(weights: Path) -> str:
    """Return the section on training data in the model card of exported weights, or "" if there is none."""
    pattern = r"^## (?:Training data|Speech it learned from)\n(.*?)^## "
    section = re.search(pattern, _card(weights), re.DOTALL | re.MULTILINE)
    return section.group(1).strip() if section else ""


def _card(weights: Path) -> str:
    """Return the model card of exported weights, or "" if there is none."""
    try:
        return (weights / "README.md").read_text(encoding="utf-8")
    except OSError:
        return ""


def license_lines(data: str) -> list[str]:
    """Return Markdown lines on the licenses of the code, the weights and the training data.

    Args:
        data: the model card's section on the training data.
    """
    found = [name for name, pattern in COPYLEFT.items() if re.search(pattern, data)]
    return [
        "Silk's code is licensed under Apache-2.0. To the extent that it has the right to do so, the Silk",
        "project releases the weights in its package under the same license.",
        "",
        *([f"Some of the training speech is under copyleft licenses: {', '.join(found)}."] if found else []),
        "The Silk project cannot say whether the licenses of training speech also apply to weights. If you need",
        "certainty, get legal advice or train on other speech.",
    ]


def quality_lines(results: dict | None, weights_hash: str) -> list[str]:
    """Return Markdown lines with a table of mean scores.

    Raises:
        ArgumentError: `results` were measured with different weights.
    """
    if results is None:
        return ["Not measured yet. Run `silk compare` to measure it."]
    measured = results["codecs"].get("silk", {}).get("codec_id", "another codec")
    if measured != f"silk@{weights_hash}":
        raise ArgumentError(f"The results must be for silk@{weights_hash}; got {measured}. Run silk compare again.")
    shown = (  # metrics that are unrelated to training losses first
        *("distillmos", "fricative_scatter_db", "visqol", "speaker_similarity"),
        *("pesq_wb", "stoi", "estoi", "mel_distance"),
    )
    names = [name for name in shown if name in report.measured(results)]
    rows = []
    for codec in results["settings"]["codecs"]:
        rate = markdown.number(results["codecs"][codec].get("bits_per_second"), 0)
        figures = (markdown.interval(results["means"][codec][name], markdown.digits(name)) for name in names)
        rows.append([codec, rate, *figures])
    return [
        f"Mean and 95 % bootstrap interval over {results['clips']['n']} clips"
        f" ({results['clips']['duration_s'] / 3600:.2f} hours), the same for every codec. The program that wrote this"
        " card does not check whether the training data contains these clips.",
        "",
        markdown.table(["codec", "bit/s", *(results["metrics"][name]["label"] for name in names)], rows),
    ]
