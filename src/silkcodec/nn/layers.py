"""The two blocks of the network, each with its streaming state as an argument and a result.

A block is called as ``x, state = block(x, state)``. A fresh stream is all zeros, in training and at
inference alike, so no mask marks where a stream begins: the network learned what zeros before it mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL = 7  # columns a depthwise convolution sees: 70 ms at 100 Hz
STEPS = 10  # transformer steps in one frame: 400 ms at 25 Hz


class ConvNeXtBlock(nn.Module):
    """Causal ConvNeXt block (Liu et al., 2022, https://arxiv.org/abs/2201.03545), 1-D, padded on the left only."""

    def __init__(self, width: int, expansion: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, KERNEL, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, width * expansion)
        self.down = nn.Linear(width * expansion, width)
        self.state_shape = (KERNEL - 1, width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, C] and the last 6 columns before it, state [B, 6, C] -> the same shapes."""
        seen = torch.cat([state.to(x.dtype), x], dim=1)  # [B, 6 + T, C]
        y = self.filter(seen, x.shape[1])
        y = self.down(functional.gelu(self.up(self.norm(y))))
        return x + y, seen[:, -(KERNEL - 1) :]

    def filter(self, seen: Tensor, n_columns: int | Tensor) -> Tensor:
        """The depthwise convolution, seen [B, 6 + T, C] -> [B, T, C].

        Written as seven shifted products: a compiler fuses them into one pass, where the bfloat16
        convolution of PyTorch on a CPU takes three times as long as all the rest of the network. ONNX
        Runtime fuses no such thing, and has a good convolution.
        """
        if torch.compiler.is_exporting():
            return self.depthwise(seen.transpose(1, 2)).transpose(1, 2)
        weight, y = self.depthwise.weight[:, 0].to(seen.dtype), self.depthwise.bias.to(seen.dtype)
        for shift in range(KERNEL):
            y = y + seen[:, shift : shift + n_columns] * weight[:, shift]
        return y


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding (Su et al., 2021, https://arxiv.org/abs/2104.09864) of x [B, H, T, C / H]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


def rope_tables(n_positions: int | Tensor, head_width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """cos and sin, each float32 [n_positions, head_width / 2]; wavelengths from 2 pi to 2 pi 1,000 steps."""
    frequency = 1000.0 ** (-torch.arange(0, head_width, 2, device=device, dtype=torch.float32) / head_width)
    angle = torch.arange(n_positions, device=device, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


def block_causal_mask(n_frames: int | Tensor, past_frames: int, device: torch.device) -> Tensor:
    """bool [F * 10, (P + F) * 10], true where a step may look: its whole frame and `past_frames` before it."""
    query = torch.arange(n_frames * STEPS, device=device)[:, None] // STEPS
    key = torch.arange((past_frames + n_frames) * STEPS, device=device)[None, :] // STEPS
    return (key >= query) & (key <= query + past_frames)


class TransformerLayer(nn.Module):
    """Pre-norm attention and feed-forward; attention is block-causal with a bounded past.

    The cached keys are kept before rotation and the positions are counted from the start of the cache:
    only differences of positions matter, so an hour into a stream is no different from its first second.
    """

    def __init__(self, width: int, heads: int, expansion: int, past_frames: int):
        super().__init__()
        self.heads = heads
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

    def forward(self, x: Tensor, state: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """x [B, T, D], state [B, 2, P * 10, D] (keys, values), RoPE tables of P * 10 + T rows, mask [T, P * 10 + T]."""
        q, k, v = self.qkv(self.norm_attention(x)).chunk(3, dim=-1)  # [B, T, D] each
        q = self.norm_q(q.unflatten(-1, (self.heads, -1)))  # [B, T, H, D / H]
        k = self.norm_k(k.unflatten(-1, (self.heads, -1))).flatten(2)
        past = state.to(v.dtype)
        keys = torch.cat([past[:, 0], k.to(v.dtype)], dim=1)  # [B, P * 10 + T, D]
        values = torch.cat([past[:, 1], v], dim=1)
        next_state = torch.stack([keys[:, -self.past_steps :], values[:, -self.past_steps :]], dim=1)
        q = rotate(q.transpose(1, 2).float(), cos[self.past_steps :], sin[self.past_steps :]).to(v.dtype)
        k = rotate(keys.unflatten(-1, (self.heads, -1)).transpose(1, 2).float(), cos, sin).to(v.dtype)
        scores = (q @ k.transpose(-1, -2)).float() / q.shape[-1] ** 0.5  # [B, H, T, P * 10 + T]
        weights = scores.masked_fill(~mask, -1e9).softmax(dim=-1).to(v.dtype)
        attended = weights @ values.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [B, H, T, D / H]
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        x = x + self.down(functional.gelu(self.up(self.norm_ff(x))))
        return x, next_state


class Transformer(nn.Module):
    """A stack of `TransformerLayer` over whole frames, with a learned position inside the frame."""

    def __init__(self, width: int, heads: int, expansion: int, n_layers: int, past_frames: int):
        super().__init__()
        self.head_width = width // heads
        self.past_frames = past_frames
        self.position = nn.Parameter(torch.zeros(STEPS, width))
        self.layers = nn.ModuleList(TransformerLayer(width, heads, expansion, past_frames) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)

    @property
    def state_shapes(self) -> list[tuple[int, ...]]:
        return [layer.state_shape for layer in self.layers]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """x [B, F, 10, D], one state a layer -> the same shapes."""
        frames = x.shape[1]
        cos, sin = rope_tables((self.past_frames + frames) * STEPS, self.head_width, x.device)
        mask = block_causal_mask(frames, self.past_frames, x.device)
        x = (x + self.position).flatten(1, 2)  # [B, F * 10, D]
        next_states = []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state, cos, sin, mask)
            next_states.append(state)
        return self.norm(x).unflatten(1, (-1, STEPS)), next_states
