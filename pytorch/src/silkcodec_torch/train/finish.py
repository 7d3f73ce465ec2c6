"""Adjust the averaged weights after training: average them with other weights, and equalize the output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from silkcodec.errors import WeightsError
from silkcodec.mel import HOP
from silkcodec_torch.nn.decoder import BINS, BINS_PER_KNOT, WINDOW
from silkcodec_torch.nn.model import SilkNetwork
from silkcodec_torch.train import checkpoint

LOUD_SHARE = 0.2  # in each bin, only this share of the columns is compared: those with the highest power near the bin
NEAR_BINS = 15  # bins over which the power is averaged to select these columns (500 Hz)
SMOOTH_BINS = 25  # width of the Hann kernel that smooths the gains across frequency (833 Hz)
MAX_GAIN_DB = 6.0
POWER_FLOOR = 1e-9


def weights_of(source: Path) -> dict[str, Tensor]:
    """Load the averaged parameters of a run or a checkpoint, or exported weights, keyed by name.

    Raises:
        WeightsError: `source` is none of these, or its files are damaged.
    """
    if (file := checkpoint.find(source, "finish.blend")) is not None:
        return checkpoint.load(file)[0].get("ema", {})
    from silkcodec_torch.train.export import exported_weights  # It imports onnx, which only this case needs.

    return exported_weights(source)


def check_sizes(model: SilkNetwork, other: dict[str, Tensor]) -> None:
    """Check that `blend` can average the parameters of a model with other weights.

    Raises:
        WeightsError: a parameter is missing in `other`, or has another size. The decoder's noise parameters may be
            missing.
    """
    for name, parameter in model.named_parameters():
        if name.startswith("decoder.head.noise.") and name not in other:
            continue
        if name not in other or other[name].shape != parameter.shape:
            raise WeightsError(
                f"The weights in finish.blend must have the sizes set in [model]; the size of '{name}' differs."
            )


@torch.no_grad()
def blend(model: SilkNetwork, other: dict[str, Tensor], share: float) -> None:
    """Average the parameters of a model with other weights, in place (Wortsman et al., 2022, arXiv 2109.01903).

    Args:
        model: network to change. Its quantizer must not have learned codebooks, which are not averaged.
        other: parameters of a network of the same size, keyed by name. If the decoder's noise parameters are missing,
            the noise of `model` becomes quieter by the factor (1 - `share`).
        share: weight of `other` in the average, at least 0 and below 1.

    Raises:
        WeightsError: see `check_sizes`.
    """
    check_sizes(model, other)
    for name, parameter in model.named_parameters():
        if name in other:
            parameter.lerp_(other[name].to(parameter), share)
    noise = model.decoder.head.noise
    if noise is not None and "decoder.head.noise.bias" not in other:
        noise.bias += math.log(1 - share)


@torch.no_grad()
def equalize(model: SilkNetwork, recordings: Sequence[np.ndarray]) -> Tensor:
    """Adjust the decoder's biases to bring its mean output level at each frequency closer to that of the original.

    The gains are smoothed across frequency and clamped to 0..6 dB.

    Args:
        model: network in evaluation mode, on any device.
        recordings: full-band speech at 24 kHz, float32 [T] each. Recordings shorter than 720 samples are ignored.

    Returns:
        The gain in each frequency bin in dB, float32 [361]. If all recordings are too short, it is 0.
    """
    head = model.decoder.head
    recordings = [recording for recording in recordings if len(recording) >= WINDOW]
    if not recordings:
        return head.window.new_zeros(BINS)
    window = torch.hann_window(WINDOW, device=head.window.device)
    missing = []
    for recording in recordings:
        target = torch.from_numpy(recording).to(window)
        output = model.decode(model.encode(target[None]), len(target))[0]
        power, ours = (
            torch.stft(x, WINDOW, HOP, window=window, center=False, return_complex=True).abs().square()
            for x in (target, output)
        )  # [361, columns]
        nearby = functional.avg_pool1d(power.T, NEAR_BINS, 1, NEAR_BINS // 2, count_include_pad=False).T
        loudest = nearby.topk(max(1, int(LOUD_SHARE * nearby.shape[1])), dim=1).indices
        means = [x.gather(1, loudest).mean(dim=1) + POWER_FLOOR for x in (power, ours)]
        missing.append(10 * torch.log10(means[0] / means[1]))
    median = torch.stack(missing).median(dim=0).values[None]
    kernel = torch.hann_window(SMOOTH_BINS + 2, periodic=False, device=window.device)[None, None, 1:-1]
    padded = functional.pad(median, (SMOOTH_BINS // 2, SMOOTH_BINS // 2), mode="replicate")
    gain = functional.conv1d(padded, kernel / kernel.sum())[0].clamp(0, MAX_GAIN_DB)
    logarithm = gain * (math.log(10) / 20)
    head.project.bias[: len(gain)] += logarithm  # the first outputs are the log-magnitudes
    if head.noise is not None:
        head.noise.bias += logarithm[::BINS_PER_KNOT]
    return gain
