"""How far convolutions reach, and how a long clip goes through them in pieces.

A piece goes in with as much of its neighbours on both sides as the layers reach, which is cut off what comes
out: the same numbers as in one piece (up to float32 rounding, which decides where two codes are equally
near), in the memory of one piece. The reach to the right is also the latency of a codec that is not causal.

The four neural baselines are two families: SEANet (EnCodec, Mimi; causal) and the one with snake activations (DAC,
SNAC; symmetric).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Reach:
    """How many samples of a wave a stack of convolutions sees to the left and right of the place it writes.

    Add the layers in order; `step` is the distance of two neighbouring values, in samples of the wave.
    """

    step: int = 1
    left: int = 0
    right: int = 0

    def conv(self, kernel: int, pad: int, stride: int = 1, dilation: int = 1) -> None:
        """A convolution padded by `pad` on the left: value n is made of inputs n * stride - pad and on."""
        self.left += pad * self.step
        self.right += ((kernel - 1) * dilation - pad) * self.step
        self.step *= stride

    def transposed(self, kernel: int, pad: int, stride: int) -> None:
        """A transposed one that drops `pad` on the left: input n goes to n * stride - pad and on."""
        self.step //= stride
        self.left += (kernel - 1 - pad) * self.step
        self.right += pad * self.step

    def attention(self, window: int) -> None:
        """Attention inside windows: a value sees, at worst, the rest of its window on either side."""
        self.left += (window - 1) * self.step
        self.right += (window - 1) * self.step

    def frames(self, hop: int) -> tuple[int, int]:
        """Left and right in whole frames of `hop` samples, rounded up."""
        return math.ceil(self.left / hop), math.ceil(self.right / hop)


@dataclass(frozen=True)
class Piece:
    """Frames start..stop of the whole, to be run with those from `left` to `right`."""

    left: int
    start: int
    stop: int
    right: int

    def keep(self, hop: int = 1) -> slice:
        """Of what comes out of the run, `hop` values a frame, those of this piece."""
        return slice((self.start - self.left) * hop, (self.stop - self.left) * hop)


def pieces(n_frames: int, piece: int, left: int, right: int) -> Iterator[Piece]:
    """n_frames cut into pieces of `piece` frames, each with its neighbours' frames on both sides."""
    for start in range(0, n_frames, piece):
        stop = min(start + piece, n_frames)
        yield Piece(max(0, start - left), start, stop, min(n_frames, stop + right))


def seanet_encoder(config: Any) -> Reach:
    """The convolutions of EnCodec's and Mimi's encoder, by their config."""
    reach = Reach()
    reach.conv(config.kernel_size, config.kernel_size - 1)
    for ratio in reversed(config.upsampling_ratios):
        _seanet_residuals(reach, config)
        reach.conv(2 * ratio, ratio, stride=ratio)
    reach.conv(config.last_kernel_size, config.last_kernel_size - 1)
    return reach


def seanet_decoder(config: Any) -> Reach:
    """The convolutions of EnCodec's and Mimi's decoder."""
    reach = Reach(step=math.prod(config.upsampling_ratios))
    reach.conv(config.kernel_size, config.kernel_size - 1)
    for ratio in config.upsampling_ratios:
        reach.transposed(2 * ratio, 0, ratio)
        _seanet_residuals(reach, config)
    reach.conv(config.last_kernel_size, config.last_kernel_size - 1)
    return reach


def _seanet_residuals(reach: Reach, config: Any) -> None:
    for i in range(config.num_residual_layers):
        dilation = config.dilation_growth_rate**i
        reach.conv(config.residual_kernel_size, (config.residual_kernel_size - 1) * dilation, dilation=dilation)


def snake_encoder(strides: Sequence[int], last_kernel: int, window: int = 1) -> Reach:
    """The encoder of DAC and SNAC; `window`: frames that attend to each other before the last convolution."""
    reach = Reach()
    reach.conv(7, 3)
    for stride in strides:
        _snake_residuals(reach)
        reach.conv(2 * stride, math.ceil(stride / 2), stride=stride)
    reach.attention(window)
    reach.conv(last_kernel, last_kernel // 2)
    return reach


def snake_decoder(strides: Sequence[int], window: int = 1) -> Reach:
    """The decoder of DAC and SNAC; `window`: frames that attend to each other after the first convolution."""
    reach = Reach(step=math.prod(strides))
    reach.conv(7, 3)
    reach.attention(window)
    for stride in strides:
        reach.transposed(2 * stride, math.ceil(stride / 2), stride)
        _snake_residuals(reach)
    reach.conv(7, 3)
    return reach


def _snake_residuals(reach: Reach) -> None:
    for dilation in (1, 3, 9):
        reach.conv(7, 3 * dilation, dilation=dilation)
