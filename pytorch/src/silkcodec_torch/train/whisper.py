"""Run Whisper's frozen encoder (Radford et al., 2022, https://arxiv.org/abs/2212.04356) on audio of up to 30 s.

A weights folder can have one of two formats:

    model.safetensors + config.json   saved by `transformers`
    model.bin                         converted for CTranslate2 (faster-whisper)

Neither library is required.
"""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional

from silkcodec.errors import WeightsError
from silkcodec_torch.nn.slaney_mel import mel_power

MAX_S = 30.0  # duration that Whisper's position embeddings cover


def log_mel(wave: Tensor, filters: Tensor, sample_rate: int) -> Tensor:
    """Return Whisper's log-mel spectrogram ([B, n_mels, T / hop]) of waveforms (float32 [B, T]).

    The computation is differentiable. The values are scaled to about -1..1.
    """
    logs = torch.log10(mel_power(wave, filters, sample_rate)[:, :, :-1].clamp(min=1e-10))
    # The floor is detached. Otherwise, every quiet band would send a gradient to the loudest band.
    return (torch.maximum(logs, logs.detach().amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


class WhisperLayer(nn.Module):
    """Apply pre-norm self-attention and a feed-forward network."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_ff = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the layer, with the shape of `x`, [B, S, D]."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, S, D / H]
            for part in self.qkv(self.norm_attention(x)).chunk(3, dim=-1)
        )
        # The attention is written out because the backward pass of the fused CPU kernel is slower.
        weights = ((q @ k.transpose(-1, -2)).float() / q.shape[-1] ** 0.5).softmax(dim=-1).to(v.dtype)
        x = x + self.out((weights @ v).transpose(1, 2).flatten(2))
        return x + self.down(functional.gelu(self.up(self.norm_ff(x))))


class WhisperEncoder(nn.Module):
    """Compute hidden features of a log-mel spectrogram, one vector per 20 ms.

    Unlike in Whisper, input shorter than 30 s is not padded, which saves computation.
    """

    def __init__(self, n_mels: int, width: int, heads: int, hidden: int, n_layers: int, n_positions: int):
        super().__init__()
        self.n_mels = n_mels
        self.conv1 = nn.Conv1d(n_mels, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.register_buffer("position", torch.zeros(n_positions, width))
        self.layers = nn.ModuleList(WhisperLayer(width, heads, hidden) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, mel: Tensor, n_layers: int | None = None) -> list[Tensor]:
        """Return the output of each layer ([B, ceil(T / 2), D]) for a log-mel spectrogram ([B, n_mels, T]).

        Args:
            mel: log-mel spectrogram.
            n_layers: number of layers to compute. By default, all.
        """
        x = functional.gelu(self.conv2(functional.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.position[: x.shape[1]]
        features = []
        for layer in self.layers[:n_layers]:
            x = layer(x)
            features.append(x)
        if len(features) == len(self.layers):
            features[-1] = self.norm(x)
        return features


def load_encoder(folder: Path) -> WhisperEncoder:
    """Load the frozen encoder in float32 from a folder of Whisper weights.

    Raises:
        WeightsError: the folder does not exist, has an unsupported format, is damaged, or is not a Whisper model.
    """
    if (folder / "model.safetensors").is_file():
        tensors, heads = _read_transformers(folder)
    elif (folder / "model.bin").is_file():
        tensors, heads = _read_ctranslate2(folder / "model.bin")
    else:
        raise WeightsError(
            "recognizer.weights must be a folder with model.safetensors and config.json (transformers) or with"
            f" model.bin (CTranslate2); '{folder}' contains neither."
        )
    try:
        width, n_mels, _ = tensors["conv1.weight"].shape
        hidden, n_positions = len(tensors["layers.0.up.weight"]), len(tensors["position"])
        n_layers = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("layers."))
        encoder = WhisperEncoder(n_mels, width, heads, hidden, n_layers, n_positions)
        encoder.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        raise WeightsError(f"Cannot read a Whisper encoder from '{folder}': {_line(error)}.") from None
    return encoder.eval().requires_grad_(False)


def _line(error: Exception) -> str:
    """Return the last line of an error message."""
    return (str(error).strip() or type(error).__name__).splitlines()[-1].strip().rstrip(".")


# --- transformers

_TRANSFORMERS = (
    (r"^layer_norm\.", "norm."),
    (r"^embed_positions\.weight", "position"),
    (r"self_attn_layer_norm", "norm_attention"),
    (r"final_layer_norm", "norm_ff"),
    (r"self_attn\.out_proj", "out"),
    (r"\bfc1", "up"),
    (r"\bfc2", "down"),
)


def _read_transformers(folder: Path) -> tuple[dict[str, Tensor], int]:
    found: dict[str, Tensor] = {}
    try:
        heads = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["encoder_attention_heads"])
        with safe_open(folder / "model.safetensors", framework="pt") as handle:
            for key in handle.keys():  # noqa: SIM118 (safe_open is not a mapping)
                _, encoder, name = key.rpartition("encoder.")
                if encoder:
                    found[_renamed(name, _TRANSFORMERS)] = handle.get_tensor(key).float()
        for name in [name for name in found if name.endswith("self_attn.q_proj.weight")]:
            layer = name.removesuffix("self_attn.q_proj.weight")
            parts = [found.pop(f"{layer}self_attn.{part}_proj.weight") for part in "qkv"]
            bias = {part: found.pop(f"{layer}self_attn.{part}_proj.bias") for part in "qv"}  # keys have no bias
            found[f"{layer}qkv.weight"] = torch.cat(parts)
            found[f"{layer}qkv.bias"] = torch.cat([bias["q"], torch.zeros_like(bias["q"]), bias["v"]])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"Cannot read the Whisper model (Transformers format) in '{folder}': {_line(error)}."
        ) from None
    return found, heads


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


# --- CTranslate2: https://github.com/OpenNMT/CTranslate2, specs/model_spec.py, ModelSpec._serialize

_CTRANSLATE2 = (
    (r"^layer_(\d+)/", r"layers.\1."),
    (r"^position_encodings/encodings", "position"),
    (r"^layer_norm/", "norm/"),
    (r"self_attention/layer_norm", "norm_attention"),
    (r"self_attention/linear_0", "qkv"),
    (r"self_attention/linear_1", "out"),
    (r"ffn/layer_norm", "norm_ff"),
    (r"ffn/linear_0", "up"),
    (r"ffn/linear_1", "down"),
    (r"/gamma$", ".weight"),
    (r"/beta$", ".bias"),
    (r"/", "."),
)
_TYPES = ("<f4", "i1", "<i2", "<i4", "<f2", "<u2")  # the last is bfloat16, which NumPy does not have
_VERSIONS = range(4, 7)  # versions of the file format; since version 4, types are stored as numbers


def _read_ctranslate2(file: Path) -> tuple[dict[str, Tensor], int]:
    try:
        variables = _variables(file)
        heads = int(variables.pop("num_heads"))
        # Integers are stored with a scale for each row or for the whole tensor.
        scales = {name: variables.pop(name) for name in list(variables) if name.endswith("_scale")}
        for name, scale in scales.items():
            value = variables[name.removesuffix("_scale")]
            variables[name.removesuffix("_scale")] = value / scale.reshape(-1, *[1] * (value.ndim - 1))
    except (OSError, struct.error, ValueError, KeyError, IndexError) as error:
        raise WeightsError(f"Cannot read the Whisper model (CTranslate2 format) in '{file}': {_line(error)}.") from None
    return {_renamed(name, _CTRANSLATE2): torch.from_numpy(value) for name, value in variables.items()}, heads


def _variables(file: Path) -> dict[str, NDArray[np.float32]]:
    """Return the float32 variables of the encoder in a CTranslate2 file, keyed by name.

    The file starts with the format version, the name of the model class, its revision, and the number of variables.
    Each variable has a name, dimensions, a type, a size in bytes, and data. Numbers are little-endian. A
    string is stored as its length + 1, its characters, and a zero byte.
    """
    variables = {}
    with file.open("rb") as handle:

        def number(code: str) -> int:
            return int(struct.unpack(f"<{code}", handle.read(struct.calcsize(code)))[0])

        def text() -> str:
            return handle.read(number("H"))[:-1].decode()

        version, kind = number("I"), text()
        if version not in _VERSIONS or kind != "WhisperSpec":
            raise ValueError(
                f"the model class must be WhisperSpec and the version must be between 4 and 6; "
                f"got '{kind}' and {version}"
            )
        _, n_variables = number("I"), number("I")
        for _ in range(n_variables):
            name, shape = text(), [number("I") for _ in range(number("B"))]
            kind_of_number, n_bytes = _TYPES[number("B")], number("I")
            data = handle.read(n_bytes)
            # Variables without dimensions are settings. Only two of them are needed.
            if name.startswith("encoder/") and (shape or name.endswith(("/num_heads", "_scale"))):
                value = np.frombuffer(data, kind_of_number)
                if kind_of_number == "<u2":
                    value = (value.astype(np.uint32) << 16).view(np.float32)
                variables[name.removeprefix("encoder/")] = value.reshape(shape).astype(np.float32)
    return variables
