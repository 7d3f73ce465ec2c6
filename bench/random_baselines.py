"""Write random weights for the neural baselines, in their published architectures and file formats.

    python bench/random_baselines.py OUT_FOLDER [NAMES...] [--small]

Each model gets a folder, such as OUT_FOLDER/mimi, which `silkcodec.load("mimi:8@OUT_FOLDER/mimi")` loads. Use the
weights to measure token rate, bit rate, speed and memory. **Their audio quality is meaningless.** `--small` reduces the
number of channels, for tests.

The configurations have these sources:

- EnCodec at 24 kHz and Mimi: the defaults of `transformers`
- EnCodec at 48 kHz: its conversion script in `transformers`
- DAC: conf/final in descript-audio-codec
- SNAC: its config.json, which agrees with the parameters and bit rates in its README
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import program
import torch
from safetensors.torch import save_file

from silkcodec_torch.baselines.weights import require

SEED = 0
SNAC_GAIN = 1.2  # compensates for the strong attenuation of SNAC's layers after default initialization


def encodec_24khz(small: bool) -> Any:
    return _encodec(num_filters=2, hidden_size=8) if small else _encodec()


def encodec_48khz(small: bool) -> Any:
    published = {
        "target_bandwidths": [3.0, 6.0, 12.0, 24.0],
        "sampling_rate": 48_000,
        "audio_channels": 2,
        "use_causal_conv": False,
        "norm_type": "time_group_norm",
        "normalize": True,
        "chunk_length_s": 1.0,
        "overlap": 0.01,
    }
    return _encodec(**published, **({"num_filters": 2, "hidden_size": 8} if small else {}))


def dac_16khz(small: bool) -> Any:
    return _dac(small, sampling_rate=16_000, n_codebooks=12, downsampling_ratios=[2, 4, 5, 8])


def dac_24khz(small: bool) -> Any:
    return _dac(small, sampling_rate=24_000, n_codebooks=32, downsampling_ratios=[2, 4, 5, 8])


def dac_44khz(small: bool) -> Any:
    return _dac(small, sampling_rate=44_100, n_codebooks=9, downsampling_ratios=[2, 4, 8, 8])


def mimi(small: bool) -> Any:
    from transformers import MimiConfig, MimiModel

    narrow = {
        "num_filters": 2,
        "hidden_size": 16,
        "codebook_dim": 8,
        "vector_quantization_hidden_dimension": 8,
        "upsample_groups": 16,
        "intermediate_size": 16,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    return MimiModel(MimiConfig(**(narrow if small else {})))


def snac_24khz(small: bool) -> Any:
    # This model has no attention, 19.8 M parameters and 0.98 kbit/s.
    return _snac(small, 24_000, [2, 4, 8, 8], [4, 2, 1], encoder_dim=48, decoder_dim=1024, attn_window_size=None)


def snac_32khz(small: bool) -> Any:
    # 54.5 M parameters, 1.9 kbit/s.
    return _snac(small, 32_000, [2, 3, 8, 8], [8, 4, 2, 1], encoder_dim=64, decoder_dim=1536, attn_window_size=32)


def snac_44khz(small: bool) -> Any:
    # 54.5 M parameters, 2.6 kbit/s.
    return _snac(small, 44_100, [2, 3, 8, 8], [8, 4, 2, 1], encoder_dim=64, decoder_dim=1536, attn_window_size=32)


MODELS: dict[str, Callable[[bool], Any]] = {
    build.__name__: build
    for build in (
        encodec_24khz,
        encodec_48khz,
        dac_16khz,
        dac_24khz,
        dac_44khz,
        mimi,
        snac_24khz,
        snac_32khz,
        snac_44khz,
    )
}


def _encodec(**changes: Any) -> Any:
    from transformers import EncodecConfig, EncodecModel

    return EncodecModel(EncodecConfig(**changes))


def _dac(small: bool, **published: Any) -> Any:
    from transformers import DacConfig, DacModel

    return DacModel(DacConfig(**published, **({"encoder_hidden_size": 2, "decoder_hidden_size": 16} if small else {})))


def _snac(small: bool, sampling_rate: int, rates: list[int], strides: list[int], **published: Any) -> Any:
    require("snac", "snac")  # Import it without a PyTorch warning.
    from snac import SNAC

    if small:  # SNAC's attention heads are 64 wide, so decoder_dim cannot be smaller.
        published |= {"encoder_dim": 4, "decoder_dim": 64}
    config = {
        "sampling_rate": sampling_rate,
        "encoder_rates": rates,
        "decoder_rates": rates[::-1],
        "codebook_size": 4096,
        "codebook_dim": 8,
        "vq_strides": strides,
        "noise": True,
        "depthwise": True,
        **published,
    }
    model = SNAC(**config)
    model.config_fields = config
    return model


def _fit_codebooks(model: Any) -> None:
    """Move the codebook entries close to the latents of the random encoder, so that several codes are used."""
    rate = model.sampling_rate if hasattr(model, "sampling_rate") else model.config.sampling_rate
    channels = getattr(getattr(model, "config", None), "audio_channels", 1)
    noise = torch.randn(1, channels, rate - rate % 12_288)  # whole windows of every SNAC model
    if hasattr(model, "vq_strides"):  # SNAC compares only directions, and biases make the directions equal.
        for name, parameter in model.named_parameters():
            if name.endswith(".bias") and "norm" not in name:
                parameter.zero_()
            elif name.endswith("original0"):
                parameter.mul_(SNAC_GAIN)
    elif model.config.model_type == "encodec":
        _fill(model.quantizer.layers, model.encoder(noise))
    elif model.config.model_type == "mimi":
        latent, split = model.encoder(noise).latents, model.quantizer
        for part in (split.semantic_residual_vector_quantizer, split.acoustic_residual_vector_quantizer):
            _fill(part.layers, part.input_proj(latent))


def _fill(layers: Any, residual: Any) -> None:
    """Fill the empty codebooks of EnCodec and Mimi with random entries."""
    for layer in layers:
        entries = getattr(layer.codebook, "embed_sum", None)
        entries = layer.codebook.embed if entries is None else entries
        mean, std = residual.mean(dim=(0, 2)), residual.std(dim=(0, 2))
        entries.copy_(mean + std * torch.randn_like(entries))
        residual = residual - layer.decode(layer.encode(residual))


def write_model(name: str, folder: Path, *, small: bool = False) -> Path:
    """Write a model with reproducible random weights, and return its folder."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = MODELS[name](small).eval()
        with torch.no_grad():
            _fit_codebooks(model)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    if name.startswith("snac"):
        (target / "config.json").write_text(json.dumps(model.config_fields, indent=2))
        save_file(model.state_dict(), target / "model.safetensors")
    else:
        model.save_pretrained(target)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"models to write (default: all of {', '.join(MODELS)})"
    )
    parser.add_argument("--small", action="store_true", help="use few channels, for tests")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(MODELS))
    if unknown:
        parser.error(f"NAME must be one of {', '.join(MODELS)}; got {', '.join(unknown)}.")
    for name in arguments.names or MODELS:
        folder = write_model(name, arguments.folder, small=arguments.small)
        n_parameters = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 4e6
        print(f"{folder}: {n_parameters:.1f} M parameters")


if __name__ == "__main__":
    program.run(main)
