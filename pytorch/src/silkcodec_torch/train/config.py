"""Read the config of a training run from a TOML file, which can extend another TOML file.

    extends = "base"            # a packaged config, or the path of a file such as "mine.toml"
    [optim]
    batch_crops = 24            # list only the values that differ

The packaged configs are in `configs/`: ``base``, ``default``, ``decoder``, ``gpu``, ``tiny``, ``small``, and four that
extend ``small``: ``fsq``, ``vq``, ``rvq`` and ``multiscale``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError
from silkcodec.mel import FRAME, SAMPLE_RATE
from silkcodec_torch.nn.sizes import ModelConfig

OPTIMIZERS = ("muon", "adamw")
QUANTIZERS = (
    "fsq",
    "vq",
    "rvq",
    "multiscale",
)  # names of silkcodec_torch.quantizers.QUANTIZERS, without importing PyTorch
PRECISIONS = ("auto", "bf16", "fp32")
LOSSES = (
    *("mel", "convergence", "magnitude", "loudness", "envelope"),
    *("adversarial", "features", "recognizer", "speaker", "rate"),
)


@dataclass(frozen=True)
class DataConfig:
    """Configure the training data and its augmentation."""

    folder: str = ""  # any folder of audio: wav, flac, ogg, opus, mp3, ...
    # Optional table (.tsv, .csv) in `folder` with a `path` column. A filter after its name selects some of the rows,
    # e.g. "INDEX.tsv:licence=CC0*|MIT".
    index: str = ""
    split_column: str = "split"  # column of `index` that marks the validation files
    valid_value: str = "valid"  # value of this column for validation files; all other rows are for training
    more: tuple[str, ...] = ()  # additional tables, with paths relative to their own folders; needs `index`
    exclude: str = ""  # optional table of evaluation clips; its `held_out` column states what both splits omit
    bandwidth_column: str = ""  # column of `index` with the bandwidth of each file in Hz
    min_bandwidth_hz: float = 0.0  # minimum for training files; lower values teach the decoder to omit high frequencies
    # If a file's bandwidth is below this value, the losses ignore frequencies above it. The decoder then learns high
    # frequencies only from full-band files. 0: the losses use all frequencies of every file.
    full_band_hz: float = 0.0
    synthetic_share: float = 1.0  # maximum share of crops from files with "yes" in the `synthetic` column
    valid_percent: float = 5.0  # percentage of files held out by a hash of their name, if there is no index
    cache: str = ""  # folder for decoded audio (173 MB per hour), which runs can share; default: <run>/../cache
    crop_frames: int = 10  # length of a crop in 400 ms frames
    gain_db: float = 6.0  # random gain, uniform between -gain_db and +gain_db
    bandwidth_share: float = 0.1  # share of crops with a low-pass filter at 3.4-8 kHz, in both input and target
    noise_share: float = 0.1  # share of crops with added white noise, in both input and target
    noise_db: float = -45.0  # level of the loudest noise in dBFS; the quietest is 30 dB lower
    speed_change: float = 0.0  # random change of speed and pitch: 0.1 selects factors between 0.9 and 1.1
    room_share: float = 0.0  # share of crops with artificial reverberation
    mixture_share: float = 0.0  # share of crops with a second clip, 5 to 20 dB quieter
    clean_targets: bool = False  # if true, the target has no added noise, reverberation or second clip

    @property
    def uses_bandwidth(self) -> bool:
        """Return whether the bandwidth of each file is needed."""
        return bool(self.min_bandwidth_hz or self.full_band_hz)

    @property
    def crop_s(self) -> float:
        """Return the duration of a crop in seconds."""
        return self.crop_frames * FRAME / SAMPLE_RATE


@dataclass(frozen=True)
class OptimConfig:
    """Configure the optimizer."""

    optimizer: str = "muon"  # muon (AdamW for parameters that are not matrices) or adamw
    batch_crops: int = 12  # crops per step, summed over all processes
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup_steps: int = 200
    clip_norm: float = 10.0  # higher than usual gradient norms (5 to 8), so that only outliers are clipped
    ema_decay: float = 0.999  # decay of the averaged weights, which are validated and exported
    # "auto" selects bf16 if the device supports it natively, otherwise fp32. The quantizer, the log-mel spectrogram and
    # the losses always use float32.
    precision: str = "auto"
    compile: bool = True  # use torch.compile: it takes a minute, and steps are then several times faster
    threads: int = 0  # number of CPU threads; 0: one per core


@dataclass(frozen=True)
class AdversaryConfig:
    """Configure the discriminators, for stages with an ``adversarial`` or ``features`` loss."""

    width: int = 32  # number of channels; 8 is practical on a CPU
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)  # in samples
    fft_sizes: tuple[int, ...] = (512, 1024, 2048)  # in samples
    learning_rate: float = 2e-4
    every_steps: int = 1  # codec steps per discriminator step, unless a stage trains only the discriminators
    ramp_steps: int = 0  # steps at the start of a stage in which the weight of `adversarial` rises from 0
    crop_s: float = 0.0  # duration of the random segment of each crop to process; 0: the whole crop


@dataclass(frozen=True)
class RecognizerConfig:
    """Configure the frozen speech recognizer, for stages with a ``recognizer`` loss."""

    weights: str = ""  # folder of Whisper weights, in transformers or CTranslate2 format
    layers: tuple[int, ...] = ()  # encoder layers to compare, counted from 1; default: every second one up to the last
    crops: int = 4  # crops per batch to process, summed over all processes; 4 of 12 add 20 % to a step on a CPU


@dataclass(frozen=True)
class SpeakerConfig:
    """Configure the frozen speaker encoder, for stages with a ``speaker`` loss."""

    weights: str = ""  # Resemblyzer's pretrained.pt


@dataclass(frozen=True)
class RateConfig:
    """Configure the model that predicts the levels, for stages with a ``rate`` loss."""

    width: int = 256  # size of its recurrent state
    learning_rate: float = 1e-3


@dataclass(frozen=True)
class StageConfig:
    """Configure a training stage, whose length is given in steps or minutes.

    Over the last part of each stage, set by `decay_share`, the learning rate falls linearly to zero.
    """

    name: str
    losses: dict[str, float]  # name, one of `LOSSES` -> weight
    steps: int = 0
    minutes: float = 0.0  # time spent in training steps, including compilation; useful on rented machines
    learning_rate_scale: float = 1.0  # multiplies optim.learning_rate
    decay_share: float = 0.25  # share of the stage in which the learning rate falls linearly to zero
    train_encoder: bool = True  # if false, the encoder is frozen, so the tokens do not change
    train_decoder: bool = True  # if false, it is frozen; if both are false, only the discriminators learn

    @property
    def trains_codec(self) -> bool:
        """Return whether the stage trains the encoder or the decoder."""
        return self.train_encoder or self.train_decoder

    @property
    def unit(self) -> str:
        """Return the unit of `length`, "steps" or "minutes"."""
        return "steps" if self.steps else "minutes"

    @property
    def length(self) -> float:
        """Return the length of the stage, in steps or minutes."""
        return self.steps or self.minutes


@dataclass(frozen=True)
class FinishConfig:
    """Configure the adjustments made to the weights after training; see `train/finish.py`."""

    blend: str = ""  # weights folder or run folder to average the weights with; requires the fsq quantizer
    blend_share: float = 0.0  # share of these weights in the average, at least 0 and below 1
    equalize_clips: int = 0  # number of training clips for equalizing the output; 0: no equalization


@dataclass(frozen=True)
class LogConfig:
    """Configure how often a run saves checkpoints, validates the model and reports its progress."""

    checkpoint_minutes: float = 3.0
    validate_steps: int = 500
    validate_clips: int = 12
    validate_clip_s: float = 8.0
    progress_steps: int = 10


@dataclass(frozen=True)
class TrainConfig:
    """Configure a training run."""

    seed: int = 1
    init: str = ""  # exported weights or a run to start from, unless this run has a checkpoint
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    recognizer: RecognizerConfig = field(default_factory=RecognizerConfig)
    speaker: SpeakerConfig = field(default_factory=SpeakerConfig)
    rate: RateConfig = field(default_factory=RateConfig)
    finish: FinishConfig = field(default_factory=FinishConfig)
    log: LogConfig = field(default_factory=LogConfig)
    stage: tuple[StageConfig, ...] = ()

    def uses(self, *losses: str) -> bool:
        """Return whether any stage uses any of these losses."""
        return any(stage.losses.get(name) for stage in self.stage for name in losses)


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> TrainConfig:
    """Read and check a training config.

    Args:
        path: TOML file, or name of a packaged config.
        overrides: values that replace those in the file, as ``key.path=value`` in TOML syntax.

    Raises:
        ArgumentError: the file does not exist or is not TOML, a key is unknown, or a value is invalid.
    """
    tree = _read(path)
    for override in overrides:
        _apply(tree, override)
    config = _build(TrainConfig, tree, "")
    _check(config)
    return config


def dump_config(config: TrainConfig) -> str:
    """Return the complete config as TOML text, without ``extends``."""
    lines = [f"seed = {config.seed}", f"init = {_toml(config.init)}"]
    for name in ("model", "data", "optim", "adversary", "recognizer", "speaker", "rate", "finish", "log"):
        lines += ["", f"[{name}]", *_lines(getattr(config, name))]
    for stage in config.stage:
        lines += ["", "[[stage]]", *_lines(stage)]
    return "\n".join(lines) + "\n"


def _lines(section: Any) -> list[str]:
    return [f"{f.name} = {_toml(getattr(section, f.name))}" for f in dataclasses.fields(section)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML supports all JSON escapes.
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


def _read(path: str | Path, children: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Read a config and merge it with the config that it extends.

    Args:
        path: file, or name of a packaged config.
        children: files that extend this config, for detecting cycles.
    """
    file = Path(path)
    if not file.suffix:
        file = Path(str(resources.files("silkcodec_torch.train") / "configs" / f"{path}.toml"))
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArgumentError(
            f"Config not found: '{path}'. Pass a .toml file or one of: {', '.join(packaged())}."
        ) from None
    except OSError as error:
        raise ArgumentError(f"Cannot read the config '{path}': {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"Cannot read the config '{path}' as TOML: {error}.") from None
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    if not isinstance(parent, str):
        raise ArgumentError(f"extends must be the name or path of a config; got {parent!r} in '{path}'.")
    children = (*children, file.resolve())
    path_or_name = file.parent / parent if Path(parent).suffix else parent
    if isinstance(path_or_name, Path) and path_or_name.resolve() in children:
        raise ArgumentError(f"A config cannot extend itself; '{path}' does so through {parent!r}.")
    return _merge(_read(path_or_name, children), tree)


def packaged() -> list[str]:
    """Return the names of the packaged configs."""
    folder = resources.files("silkcodec_torch.train") / "configs"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def _merge(base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in delta.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def _apply(tree: dict[str, Any], override: str) -> None:
    """Apply an override such as ``stage.0.steps=2000`` to a config.

    A value that is not valid TOML is used as a string.
    """
    name, equals, text = override.partition("=")
    if not equals:
        raise ArgumentError(f"An override must have the form KEY=VALUE; got {override!r}.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = name.strip().split(".")
    node: Any = tree
    try:
        for parent in parents:
            node = node[int(parent)] if isinstance(node, list) else node.setdefault(parent, {})
        node[last] = value
    except (ValueError, IndexError, TypeError, AttributeError):
        raise ArgumentError(f"An override must name a key of the config; got {name!r}.") from None


def _build(kind: Any, tree: Any, where: str) -> Any:
    """Build a config dataclass from a TOML table, and check the keys and types."""
    hints = typing.get_type_hints(kind)
    names = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(tree, dict):
        raise ArgumentError(f"{where or 'A config'} must be a table; got {tree!r}.")
    for key in tree:
        if key not in names:
            section = f"[{where}]" if where else "the top level"
            raise ArgumentError(f"Unknown key {key!r} in {section} of the config. Valid keys: {', '.join(names)}.")
    values = {}
    for key, value in tree.items():
        values[key] = _value(hints[key], value, f"{where}.{key}".lstrip("."))
    missing = [n for n, f in names.items() if n not in values and not _has_default(f)]
    if missing:
        raise ArgumentError(f"[{where}] must set {', '.join(missing)}.")
    return kind(**values)


def _has_default(f: dataclasses.Field[Any]) -> bool:
    return f.default is not dataclasses.MISSING or f.default_factory is not dataclasses.MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list):
            raise ArgumentError(f"{where} must be an array; got {value!r}.")
        return tuple(_value(typing.get_args(hint)[0], item, f"{where}.{i}") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ArgumentError(f"{where} must be a table of numbers; got {value!r}.")
        return {key: _value(typing.get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ArgumentError(f"{where} must be of type {hint.__name__}; got {value!r}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ArgumentError(f"{where} must be a finite number; got {value!r}.")
    return value


def _check(config: TrainConfig) -> None:
    """Check that all values are in their allowed ranges.

    Raises:
        ArgumentError: a value is out of range.
    """
    model, data, optim, log, adversary = config.model, config.data, config.optim, config.log, config.adversary
    _must(config.seed >= 0, "seed must be at least 0", config.seed)
    sizes = [f for f in dataclasses.fields(model) if f.type == "int"]
    for size in sizes:
        _must(getattr(model, size.name) >= 1, f"model.{size.name} must be at least 1", getattr(model, size.name))
    _must(model.width % (2 * model.heads) == 0, "model.width must be a multiple of 2 * model.heads", model.width)
    _must(model.quantizer in QUANTIZERS, f"model.quantizer must be one of {', '.join(QUANTIZERS)}", model.quantizer)
    for name in ("mel_floor", "mel_std"):
        _must(getattr(model, name) > 0, f"model.{name} must be above 0", getattr(model, name))
    for name in ("bandwidth_share", "noise_share", "room_share", "mixture_share", "synthetic_share"):
        _must(0 <= getattr(data, name) <= 1, f"data.{name} must be between 0 and 1", getattr(data, name))
    _must(0 < data.valid_percent < 100, "data.valid_percent must be above 0 and below 100", data.valid_percent)
    _must(data.crop_frames >= 1, "data.crop_frames must be at least 1", data.crop_frames)
    _must(data.gain_db >= 0, "data.gain_db must be at least 0", data.gain_db)
    _must(0 <= data.speed_change <= 0.5, "data.speed_change must be between 0 and 0.5", data.speed_change)
    _must(optim.optimizer in OPTIMIZERS, f"optim.optimizer must be {' or '.join(OPTIMIZERS)}", optim.optimizer)
    _must(optim.precision in PRECISIONS, f"optim.precision must be {' or '.join(PRECISIONS)}", optim.precision)
    _must(optim.batch_crops >= 1, "optim.batch_crops must be at least 1", optim.batch_crops)
    _must(optim.clip_norm > 0, "optim.clip_norm must be above 0", optim.clip_norm)
    _must(0 <= optim.ema_decay < 1, "optim.ema_decay must be at least 0 and below 1", optim.ema_decay)
    _must(optim.weight_decay >= 0, "optim.weight_decay must be at least 0", optim.weight_decay)
    for name in ("optim", "adversary", "rate"):
        rate = getattr(config, name).learning_rate
        _must(rate >= 0, f"{name}.learning_rate must be at least 0", rate)
    _must(optim.threads >= 0, "optim.threads must be at least 0", optim.threads)
    for name in ("validate_steps", "validate_clips", "progress_steps"):
        _must(getattr(log, name) >= 1, f"log.{name} must be at least 1", getattr(log, name))
    frame_s = FRAME / SAMPLE_RATE
    rule = f"log.validate_clip_s must be at least {frame_s:g} s, the length of a frame"
    _must(log.validate_clip_s >= frame_s, rule, log.validate_clip_s)
    rule = f"adversary.crop_s must be 0, or between 0.1 and {data.crop_s:g} s, the length of a crop"
    _must(adversary.crop_s == 0 or 0.1 <= adversary.crop_s <= data.crop_s, rule, adversary.crop_s)
    _must(config.recognizer.crops >= 1, "recognizer.crops must be at least 1", config.recognizer.crops)
    if config.uses("recognizer"):
        rule = "recognizer.weights must be a folder of Whisper weights, because a stage uses the recognizer loss"
        _must(bool(config.recognizer.weights), rule, config.recognizer.weights)
        _must(
            data.crop_frames <= 75,
            "data.crop_frames must be at most 75 (30 s) if a stage uses the recognizer loss",
            data.crop_frames,
        )
    if config.uses("speaker"):
        rule = "speaker.weights must be the path of Resemblyzer's pretrained.pt, because a stage uses the speaker loss"
        _must(bool(config.speaker.weights), rule, config.speaker.weights)
        rule = "data.crop_frames must be at least 4 (1.6 s) if a stage uses the speaker loss"
        _must(data.crop_frames >= 4, rule, data.crop_frames)
    if config.uses("rate"):
        _must(model.quantizer == "fsq", "model.quantizer must be fsq if a stage uses the rate loss", model.quantizer)
    _must(config.rate.width >= 1, "rate.width must be at least 1", config.rate.width)
    if config.uses("adversarial", "features"):
        rule = "adversary.periods and adversary.fft_sizes must not both be empty if a stage uses discriminators"
        _must(bool(adversary.periods or adversary.fft_sizes), rule, [])
    share = config.finish.blend_share
    _must(0 <= share < 1, "finish.blend_share must be at least 0 and below 1", share)
    rule = "finish.blend must be a weights folder or a run folder if finish.blend_share is above 0"
    _must(bool(config.finish.blend) or not share, rule, config.finish.blend)
    rule = "model.quantizer must be fsq if finish.blend_share is above 0, because learned codebooks cannot be averaged"
    _must(model.quantizer == "fsq" or not share, rule, model.quantizer)
    _must(config.finish.equalize_clips >= 0, "finish.equalize_clips must be at least 0", config.finish.equalize_clips)
    _must(len(config.stage) >= 1, "A config must have at least one [[stage]]", 0)
    for name, least in (("width", 1), ("every_steps", 1), ("ramp_steps", 0)):
        value = getattr(adversary, name)
        _must(value >= least, f"adversary.{name} must be at least {least}", value)
    for name, least in (("periods", 1), ("fft_sizes", 128)):
        values = getattr(adversary, name)
        _must(all(value >= least for value in values), f"adversary.{name} must be at least {least}", list(values))
    name = "min_bandwidth_hz" if data.min_bandwidth_hz else "full_band_hz"
    rule = f"data.bandwidth_column must name a column of data.index if data.{name} is set"
    _must(not data.uses_bandwidth or bool(data.index and data.bandwidth_column), rule, data.bandwidth_column)
    for i, stage in enumerate(config.stage):
        length = {"steps": stage.steps, "minutes": stage.minutes}
        rule = f"stage.{i} must set either steps to at least 1 or minutes to more than 0"
        _must(min(length.values()) == 0 < max(length.values()), rule, length)
        _must(0 <= stage.decay_share <= 1, f"stage.{i}.decay_share must be between 0 and 1", stage.decay_share)
        rule = f"stage.{i}.learning_rate_scale must be at least 0"
        _must(stage.learning_rate_scale >= 0, rule, stage.learning_rate_scale)
        unknown = [name for name in stage.losses if name not in LOSSES]
        _must(not unknown, f"stage.{i}.losses can contain only {', '.join(LOSSES)}", unknown)
        _must(any(stage.losses.values()), f"stage.{i}.losses must have at least one weight other than 0", stage.losses)
        rule = f"stage.{i} must train the encoder or the decoder, or use the adversarial or features loss"
        adversarial = bool(stage.losses.get("adversarial") or stage.losses.get("features"))
        _must(stage.trains_codec or adversarial, rule, stage.losses)


def _must(held: bool, rule: str, got: Any) -> None:
    if not held:
        raise ArgumentError(f"{rule}; got {got!r}.")
