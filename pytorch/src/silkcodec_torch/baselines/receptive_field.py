"""Compute the receptive fields of convolutional networks, and split long clips into pieces.

A piece is processed together with enough context on both sides to fill the receptive field, and the output for the
context is discarded. The result is the same as for the whole clip, apart from float32 rounding. Rounding can change a
code if two codebook entries are almost equally close.

The neural baselines belong to two families: causal SEANet networks (EnCodec and Mimi), and symmetric networks with
snake activations (DAC and SNAC).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class ReceptiveField:
    """Compute the receptive field of a network from its layers. Add the layers in order.

    Attributes:
        step: distance between adjacent output values, in audio samples.
        left: number of preceding audio samples that affect an output value.
        right: number of following audio samples that affect an output value.
    """

    step: int = 1
    left: int = 0
    right: int = 0

    def conv(self, kernel: int, pad: int, stride: int = 1, dilation: int = 1) -> None:
        """Add a convolution that pads its input with `pad` values on the left."""
        self.left += pad * self.step
        self.right += ((kernel - 1) * dilation - pad) * self.step
        self.step *= stride

    def transposed(self, kernel: int, pad: int, stride: int) -> None:
        """Add a transposed convolution that drops the first `pad` values of its output."""
        self.step //= stride
        self.left += (kernel - 1 - pad) * self.step
        self.right += pad * self.step

    def attention(self, window: int) -> None:
        """Add attention within windows of `window` values."""
        self.left += (window - 1) * self.step
        self.right += (window - 1) * self.step

    def frames(self, hop: int) -> tuple[int, int]:
        """Return `left` and `right` in frames of `hop` samples, rounded up."""
        return math.ceil(self.left / hop), math.ceil(self.right / hop)


@dataclass(frozen=True)
class Piece:
    """Describe one piece of a clip.

    The piece consists of the frames from `start` to `stop`. Its input, which includes context, consists of the
    frames from `left` to `right`.
    """

    left: int
    start: int
    stop: int
    right: int

    def keep(self, hop: int = 1) -> slice:
        """Return the slice that removes the context from the output, which has `hop` values per frame."""
        return slice((self.start - self.left) * hop, (self.stop - self.left) * hop)


def pieces(n_frames: int, piece: int, left: int, right: int) -> Iterator[Piece]:
    """Split a clip into pieces.

    Args:
        n_frames: length of the clip.
        piece: length of a piece.
        left: length of the context before a piece.
        right: length of the context after a piece. All lengths are in frames.

    Yields:
        The pieces, in order.
    """
    for start in range(0, n_frames, piece):
        stop = min(start + piece, n_frames)
        yield Piece(max(0, start - left), start, stop, min(n_frames, stop + right))


def seanet_encoder(config: Any) -> ReceptiveField:
    """Return the receptive field of the EnCodec or Mimi encoder, excluding LSTM and transformer layers."""
    field = ReceptiveField()
    field.conv(config.kernel_size, config.kernel_size - 1)
    for ratio in reversed(config.upsampling_ratios):
        _seanet_residuals(field, config)
        field.conv(2 * ratio, ratio, stride=ratio)
    field.conv(config.last_kernel_size, config.last_kernel_size - 1)
    return field


def seanet_decoder(config: Any) -> ReceptiveField:
    """Return the receptive field of the EnCodec or Mimi decoder, excluding LSTM and transformer layers."""
    field = ReceptiveField(step=math.prod(config.upsampling_ratios))
    field.conv(config.kernel_size, config.kernel_size - 1)
    for ratio in config.upsampling_ratios:
        field.transposed(2 * ratio, 0, ratio)
        _seanet_residuals(field, config)
    field.conv(config.last_kernel_size, config.last_kernel_size - 1)
    return field


def _seanet_residuals(field: ReceptiveField, config: Any) -> None:
    for i in range(config.num_residual_layers):
        dilation = config.dilation_growth_rate**i
        field.conv(config.residual_kernel_size, (config.residual_kernel_size - 1) * dilation, dilation=dilation)


def snake_encoder(strides: Sequence[int], last_kernel: int, window: int = 1) -> ReceptiveField:
    """Return the receptive field of the DAC or SNAC encoder.

    Args:
        strides: strides of the encoder.
        last_kernel: kernel size of the last convolution.
        window: size of the attention windows in frames. 1 means no attention.
    """
    field = ReceptiveField()
    field.conv(7, 3)
    for stride in strides:
        _snake_residuals(field)
        field.conv(2 * stride, math.ceil(stride / 2), stride=stride)
    field.attention(window)
    field.conv(last_kernel, last_kernel // 2)
    return field


def snake_decoder(strides: Sequence[int], window: int = 1) -> ReceptiveField:
    """Return the receptive field of the DAC or SNAC decoder.

    Args:
        strides: strides of the decoder.
        window: size of the attention windows in frames. 1 means no attention.
    """
    field = ReceptiveField(step=math.prod(strides))
    field.conv(7, 3)
    field.attention(window)
    for stride in strides:
        field.transposed(2 * stride, math.ceil(stride / 2), stride)
        _snake_residuals(field)
    field.conv(7, 3)
    return field


def _snake_residuals(field: ReceptiveField) -> None:
    for dilation in (1, 3, 9):
        field.conv(7, 3 * dilation, dilation=dilation)
