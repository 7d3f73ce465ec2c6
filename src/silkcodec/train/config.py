"""One TOML file says everything about a run; a small file may extend another one.

    extends = "base.toml"       # a file beside this one, or one of the packaged configs
    [optim]
    batch_crops = 24            # only what differs

Packaged configs: ``base``, ``tiny``, ``default`` (see `configs/`).
"""

from __future__ import annotations

import dataclasses
import tomllib
import typing
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from silkcodec.errors import ArgumentError
from silkcodec.nn.config import ModelConfig


@dataclass(frozen=True)
class DataConfig:
    """Where the speech comes from and how it is cut."""

    folder: str = ""  # any folder of audio: wav, flac, ogg, opus, mp3, ...
    index: str = ""  # optional table (.tsv, .csv) inside `folder` with a column `path`
    split_column: str = "split"  # column of `index` that says which files are for validation
    valid_value: str = "valid"  # its value for them; every other row trains
    valid_percent: float = 5.0  # without an index: share of files held out, chosen by a hash of their name
    cache: str = ""  # folder for the decoded audio (24 kHz int16, 173 MB an hour); default: <run>/../cache
    crop_frames: int = 10  # frames of 400 ms in a crop
    gain_db: float = 6.0  # random gain, uniform in +- this
    bandwidth_share: float = 0.1  # share of crops low-passed at 3.4-8 kHz, input and target alike
    noise_share: float = 0.1  # share of crops with white noise added, input and target alike
    noise_db: float = -45.0  # loudest such noise, dB below full scale (the quietest is 30 dB less)


@dataclass(frozen=True)
class OptimConfig:
    """The optimiser, shared by all stages."""

    optimizer: str = "muon"  # muon (matrices; AdamW for the rest) or adamw
    batch_crops: int = 12  # crops a step, over all processes
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    warmup_steps: int = 200
    clip_norm: float = 1.0
    ema_decay: float = 0.999  # of the weights that are validated and exported
    precision: str = "bf16"  # bf16 or fp32; the quantizer, the mel and the losses are float32 always
    compile: bool = True  # torch.compile: a minute at the start, several times faster afterwards
    threads: int = 0  # CPU threads; 0 = all cores


@dataclass(frozen=True)
class AdversaryConfig:
    """The discriminators of stages that weigh ``adversarial`` or ``features``."""

    width: int = 32  # channels; 8 is bearable on a CPU
    periods: tuple[int, ...] = (2, 3, 5, 7, 11)  # samples
    fft_sizes: tuple[int, ...] = (78, 126, 206, 334, 542, 876, 1418, 2296)  # samples
    learning_rate: float = 2e-4


@dataclass(frozen=True)
class StageConfig:
    """One leg of a run. Stages follow each other; each decays its learning rate to zero over its last part."""

    name: str
    steps: int
    losses: dict[str, float]  # loss name -> weight: mel, convergence, magnitude, adversarial, features
    learning_rate_scale: float = 1.0  # times optim.learning_rate
    decay_share: float = 0.25  # share of the steps over which the learning rate falls linearly to zero
    train_encoder: bool = True  # false: the encoder is frozen, so tokens no longer change


@dataclass(frozen=True)
class LogConfig:
    """What is written down, and how often."""

    checkpoint_minutes: float = 3.0
    validate_steps: int = 500
    validate_clips: int = 12
    validate_clip_s: float = 8.0
    progress_steps: int = 10


@dataclass(frozen=True)
class TrainConfig:
    seed: int = 1
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    log: LogConfig = field(default_factory=LogConfig)
    stage: tuple[StageConfig, ...] = ()


def load_config(path: str | Path, overrides: typing.Sequence[str] = ()) -> TrainConfig:
    """Read a config by path, or a packaged one by name; apply ``key.path=value`` overrides (TOML values).

    Raises:
        ArgumentError: no such file, not TOML, an unknown key, or a value of the wrong type.
    """
    tree = _read(path)
    for override in overrides:
        _apply(tree, override)
    config = _build(TrainConfig, tree, "")
    if not config.stage:
        raise ArgumentError(f"a config must have at least one [[stage]]; got none in {path}.")
    return config


def dump_config(config: TrainConfig) -> str:
    """The config as TOML, complete: reading it back needs no other file."""
    lines = [f"seed = {config.seed}"]
    for name in ("model", "data", "optim", "adversary", "log"):
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
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return repr(value)


def _read(path: str | Path) -> dict[str, Any]:
    file = Path(path)
    if not file.suffix:
        file = Path(str(resources.files("silkcodec.train") / "configs" / f"{path}.toml"))
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArgumentError(f"a training config must exist; found no {path}. Packaged: {', '.join(packaged())}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"a training config must be TOML; {path}: {error}.") from None
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    beside = file.parent / parent
    return _merge(_read(beside if beside.exists() else Path(parent).stem), tree)


def packaged() -> list[str]:
    """Names of the configs that come with the package."""
    folder = resources.files("silkcodec.train") / "configs"
    return sorted(item.name.removesuffix(".toml") for item in folder.iterdir() if item.name.endswith(".toml"))


def _merge(base: dict[str, Any], delta: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in delta.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged


def _apply(tree: dict[str, Any], override: str) -> None:
    """``stage.0.steps=2000`` or ``data.folder="speech"``; a bare word is taken as a string."""
    name, equals, text = override.partition("=")
    if not equals:
        raise ArgumentError(f"an override must read KEY=VALUE; got {override!r}.")
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
        raise ArgumentError(f"an override must name a key of the config; got {name!r}.") from None


def _build(kind: Any, tree: Any, where: str) -> Any:
    """A dataclass from a dict, every key and type checked."""
    hints = typing.get_type_hints(kind)
    names = {f.name: f for f in dataclasses.fields(kind)}
    if not isinstance(tree, dict):
        raise ArgumentError(f"{where or 'a config'} must be a table; got {tree!r}.")
    for key in tree:
        if key not in names:
            raise ArgumentError(f"a config may hold {', '.join(names)} in [{where or 'top'}]; got {key!r}.")
    values = {}
    for key, value in tree.items():
        values[key] = _value(hints[key], value, f"{where}.{key}".lstrip("."))
    missing = [n for n, f in names.items() if n not in values and not _has_default(f)]
    if missing:
        raise ArgumentError(f"[{where}] must say {', '.join(missing)}; it does not.")
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
        return {key: float(item) for key, item in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise ArgumentError(f"{where} must be {hint.__name__}; got {value!r}.")
    return value
