"""Define the two streaming blocks of the network: `ConvNeXtBlock` and `TransformerLayer`.

A block takes and returns its state: ``x, state = block(x, state)``. At the start of a stream, the state is all zeros.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 7  # kernel size of the depthwise convolution in columns: 70 ms at 100 Hz
STEPS = 10  # transformer steps per frame: 400 ms at 25 Hz


class ConvNeXtBlock(nn.Module):
    """Apply a causal 1-D ConvNeXt block, padded on the left (Liu et al., 2022, https://arxiv.org/abs/2201.03545)."""

    def __init__(self, width: int, expansion: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        self.state_shape = (KERNEL - 1, width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output (same shape as `x`) and the next state (same shape as `state`).

        Args:
            x: input, [B, T, C].
            state: the 6 time steps before `x`, [B, 6, C].
        """
        seen = torch.cat([state.to(x.dtype), x], dim=1)  # [B, 6 + T, C]
        y = self.filter(seen, x.shape[1])
        y = self.down(functional.gelu(self.up(self.norm(y))))
        return x + y, seen[:, -(KERNEL - 1) :]

    def filter(self, seen: Tensor, n_columns: int | Tensor) -> Tensor:
        """Return the depthwise convolution ([B, T, C]) of `seen` ([B, 6 + T, C]).

        PyTorch's bfloat16 convolution is slow on a CPU. Training therefore uses seven shifted products, which
        `torch.compile` fuses. The exported graph uses a convolution node, which is faster in ONNX Runtime.
        """
        if torch.compiler.is_exporting():
            return self.depthwise(seen.transpose(1, 2)).transpose(1, 2)
        weight, y = self.depthwise.weight[:, 0].to(seen.dtype), self.depthwise.bias.to(seen.dtype)
        for shift in range(KERNEL):
            y = y + seen[:, shift : shift + n_columns] * weight[:, shift]
        return y


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embeddings to x [..., T, C] (Su et al., 2021, https://arxiv.org/abs/2104.09864)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def rope_tables(n_positions: int, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the cosines and sines of the rotary position embeddings, each float32 [n_positions, head_width / 2]."""
    frequency = 1000.0 ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angle = torch.arange(n_positions, device=device, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def frame_windows(x: Tensor, past_frames: int) -> Tensor:
    """Return the attention windows, [B, F, (P + 1) * 10, D], each with one frame and the P frames before it.

    Args:
        x: time steps of P past and F new frames, [B, (P + F) * 10, D].
        past_frames: number of past frames in a window (P).
    """
    frames = x.unflatten(1, (-1, STEPS))  # [B, P + F, 10, D]
    n_frames = frames.shape[1] - past_frames
    return torch.cat([frames[:, i : i + n_frames] for i in range(past_frames + 1)], dim=2)


class TransformerLayer(nn.Module):
    """Apply pre-norm attention and a feed-forward network.

    Each frame attends to itself and to the `past_frames` (P) frames before it. Positions are counted from the start of
    this window, so the output for a frame does not depend on its position in the stream.
    """

    def __init__(self, width: int, heads: int, expansion: int, past_frames: int):
        super().__init__()
        self.heads = heads
        self.past_frames = past_frames
        self.past_steps = past_frames * STEPS
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.norm_q = nn.LayerNorm(width // heads, bias=False)
        self.norm_k = nn.LayerNorm(width // heads, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_ff = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        self.state_shape = (2, self.past_steps, width)

    def forward(self, x: Tensor, state: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output (same shape as `x`) and the next state (same shape as `state`).

        Args:
            x: input, [B, F * 10, D].
            state: keys (before rotation) and values of the past frames, [B, 2, P * 10, D].
            cos, sin: rotary position embeddings with (P + 1) * 10 rows.
        """
        q, k, v = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)  # [B, T, D] each
        q = self.norm_q(q.unflatten(-1, (self.heads, -1)))  # [B, T, H, D / H]
        k = self.norm_k(k.unflatten(-1, (self.heads, -1))).flatten(2)
        past = state.to(v.dtype)
        keys = torch.cat([past[:, 0], k.to(v.dtype)], dim=1)  # [B, P * 10 + T, D]
        values = torch.cat([past[:, 1], v], dim=1)
        next_state = torch.stack([keys[:, -self.past_steps :], values[:, -self.past_steps :]], dim=1)
        q = q.unflatten(1, (-1, STEPS)).transpose(2, 3)  # [B, F, H, 10, D / H]
        k, v = (
            frame_windows(y, self.past_frames).unflatten(-1, (self.heads, -1)).transpose(2, 3) for y in (keys, values)
        )  # [B, F, H, (P + 1) * 10, D / H]
        q = rotate(q.float(), cos[self.past_steps :], sin[self.past_steps :]).to(v.dtype)
        k = rotate(k.float(), cos, sin).to(v.dtype)
        scores = (q @ k.transpose(-1, -2)).float() / q.shape[-1] ** 0.5  # [B, F, H, 10, (P + 1) * 10]
        attended = scores.softmax(dim=-1).to(v.dtype) @ v  # [B, F, H, 10, D / H]
        x = x + self.out(attended.transpose(2, 3).flatten(3).flatten(1, 2))
        x = x + self.down(functional.gelu(self.up(self.norm_ff(x))))
        return x, next_state


class Transformer(nn.Module):
    """Add learned position embeddings to frames, and apply a stack of transformer layers."""

    def __init__(self, width: int, heads: int, expansion: int, n_layers: int, past_frames: int):
        super().__init__()
        self.head_width = width // heads
        self.past_frames = past_frames
        self.position = nn.Parameter(torch.zeros(STEPS, width))
        self.layers = nn.ModuleList(TransformerLayer(width, heads, expansion, past_frames) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        """Return the shapes of the layers' streaming states, without the batch dimension."""
        return [layer.state_shape for layer in self.layers]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the output (same shape as `x`) and the next states (same shapes as `states`).

        Args:
            x: input, [B, F, 10, D].
            states: one state per layer.
        """
        cos, sin = rope_tables((self.past_frames + 1) * STEPS, self.head_width, x.device)
        x = (x + self.position).flatten(1, 2)  # [B, F * 10, D]
        next_states = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state, cos, sin)
            next_states.append(state)
        return self.norm(x).unflatten(1, (-1, STEPS)), next_states
