"""Define the tiny language model of the experiment, which has the same design for all codecs.

It is an RQ-Transformer (Lee et al., 2022, https://arxiv.org/abs/2203.01941) with a transformer over frames (the body)
and a smaller transformer over the tokens of a frame (the depth transformer). Moshi uses the same design with Mimi
(https://arxiv.org/abs/2410.00037).

    codes [B, F, P, H] -> token vectors [B, F, P, W'], summed over the heads of a token
      -> the P vectors of a frame, concatenated and projected [B, F, W], delayed by one frame -> body
      -> output of the body + vector of the previous token + embedding of the token index -> depth transformer
      -> logits of all heads of all tokens

B is the number of sequences. W and W' are the widths of the body and of the depth transformer. For F, P and H, see
`silkcodec.lm.layout`. A head is an output layer for one part of a token. The heads are initialized with zeros, so
an untrained model predicts a uniform distribution, and its cross-entropy equals the bit rate of the tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

Cache = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class ModelSize:
    """Hold the sizes of the body and the depth transformer.

    Fields with the `depth_` prefix belong to the depth transformer.
    """

    width: int = 192
    layers: int = 4
    heads: int = 3
    depth_width: int = 96
    depth_layers: int = 2
    depth_heads: int = 2


class CausalLayer(nn.Module):
    """Apply pre-norm causal attention with rotary position embeddings, and a feed-forward network."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.norm_ff = nn.RMSNorm(width)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, past: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the output ([B, T, W]) and the keys and values of all positions.

        Args:
            x: Input, [B, T, W].
            cos: RoPE cosines for the positions of x, [T, W / heads / 2].
            sin: RoPE sines for the positions of x, [T, W / heads / 2].
            past: Keys and values of previous positions.
        """
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)  # [B, heads, T, W / heads]
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=x.shape[1] > 1)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        x = x + self.down(functional.gelu(self.up(self.norm_ff(x))))
        return x, (k, v)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embeddings to x, [..., T, W]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class CausalTransformer(nn.Module):
    """Apply a stack of causal transformer layers with a key-value cache."""

    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.layers = nn.ModuleList(CausalLayer(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        frequency = 10_000.0 ** (-torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("frequency", frequency, persistent=False)

    def forward(self, x: Tensor, cache: Cache | None = None) -> tuple[Tensor, Cache]:
        """Return the output for x ([B, T, W]) and the cache for the next call. If `cache` is given, T must be 1."""
        start = cache[0][0].shape[2] if cache else 0
        angle = torch.arange(start, start + x.shape[1])[:, None] * self.frequency
        cos, sin, new_cache = angle.cos(), angle.sin(), []
        for i, layer in enumerate(self.layers):
            x, keys_and_values = layer(x, cos, sin, cache[i] if cache else None)
            new_cache.append(keys_and_values)
        return self.norm(x), new_cache


class FrameLanguageModel(nn.Module):
    """Predict each token of a codec from the previous tokens.

    Args:
        head_sizes: Number of codes for each head, int [P, H]; see `silkcodec.lm.layout`.
        size: Sizes of the transformers.
    """

    def __init__(self, head_sizes: NDArray, size: ModelSize):
        super().__init__()
        sizes = torch.as_tensor(head_sizes)  # [P, H]
        n_tokens, n_heads = sizes.shape
        largest = int(sizes.max())
        self.register_buffer("first_row", (torch.arange(sizes.numel()) * largest).view(n_tokens, n_heads))
        closed = torch.arange(largest) >= sizes[:, :, None]  # [P, H, S]: True for codes that the head does not have
        self.register_buffer("closed", torch.zeros(closed.shape).masked_fill(closed, -math.inf))
        self.vectors = nn.Parameter(torch.randn(sizes.numel() * largest, size.depth_width) * 0.5)
        self.join = nn.Linear(n_tokens * size.depth_width, size.width, bias=False)
        self.start = nn.Parameter(torch.randn(size.width) * 0.5)  # RMSNorm has no gradient at 0.
        self.body = CausalTransformer(size.width, size.heads, size.layers)
        self.to_depth = nn.Linear(size.width, size.depth_width, bias=False)
        self.which = nn.Parameter(torch.randn(n_tokens, size.depth_width) * 0.5)
        self.depth = CausalTransformer(size.depth_width, size.depth_heads, size.depth_layers)
        self.out = nn.Parameter(torch.zeros(n_tokens, size.depth_width, n_heads * largest))

    def embed(self, codes: Tensor) -> Tensor:
        """Return the embedding of each token ([..., P, W']) for codes ([..., P, H])."""
        return functional.embedding(codes + self.first_row, self.vectors).sum(-2)

    def logits(self, x: Tensor) -> Tensor:
        """Return logits ([P, N, H, S]) for the outputs of the depth transformer ([N, P, W']).

        S is the number of codes of the largest head. For smaller heads, the remaining logits are -inf.
        """
        scores = torch.bmm(x.transpose(0, 1), self.out).unflatten(-1, self.closed.shape[1:])
        return scores + self.closed[:, None]

    def forward(self, codes: Tensor) -> Tensor:
        """Return logits ([P, B * F, H, S]) for codes (int64 [B, F, P, H])."""
        vectors = self.embed(codes)  # [B, F, P, W']
        frames = self.join(vectors.flatten(2))
        delayed = torch.cat([self.start.expand(len(codes), 1, -1), frames[:, :-1]], dim=1)
        context = self.to_depth(self.body(delayed)[0]).flatten(0, 1)  # [B * F, W']
        previous = functional.pad(vectors.flatten(0, 1)[:, :-1], (0, 0, 1, 0))  # [B * F, P, W'], delayed by one token
        return self.logits(self.depth(context[:, None] + previous + self.which)[0])

    def bits(self, codes: Tensor) -> Tensor:
        """Return the cross-entropy of each frame in bits (float32 [B, F]) for codes (int64 [B, F, P, H])."""
        logits = self(codes)
        target = codes.flatten(0, 1).transpose(0, 1)  # [P, B * F, H]
        nats = functional.cross_entropy(logits.flatten(0, 2), target.flatten(), reduction="none")
        return nats.view(target.shape).sum((0, 2)).view(codes.shape[:2]) / math.log(2)

    @torch.inference_mode()
    def sample(self, n_frames: int, generator: torch.Generator) -> Tensor:
        """Sample a sequence of codes, int64 [n_frames, P, H]."""
        frames, cache, x = [], None, self.start.view(1, 1, -1)
        for _ in range(n_frames):
            output, cache = self.body(x, cache)
            frames.append(self._sample_frame(self.to_depth(output[:, 0]), generator))
            x = self.join(self.embed(frames[-1]).flatten()).view(1, 1, -1)
        return torch.stack(frames)

    def _sample_frame(self, context: Tensor, generator: torch.Generator) -> Tensor:
        """Sample the codes of one frame (int64 [P, H]) given a context vector ([1, W'])."""
        codes, cache, previous = [], None, torch.zeros_like(context)
        for p in range(len(self.which)):
            x, cache = self.depth((context + previous + self.which[p])[:, None], cache)
            scores = (x[0, 0] @ self.out[p]).view(self.closed.shape[1:]) + self.closed[p]  # [H, S]
            codes.append(torch.multinomial(scores.softmax(-1), 1, generator=generator)[:, 0])
            previous = functional.embedding(codes[-1] + self.first_row[p], self.vectors).sum(0)
        return torch.stack(codes)

    def n_parameters(self) -> dict[str, int]:
        """Return the number of parameters of the body, of the depth transformer and, as "vocabulary", of the rest.

        The rest consists of the token vectors, the heads and `join`, whose sizes depend on the tokens.
        """
        counts = {name: sum(p.numel() for p in part.parameters()) for name, part in self.named_children()}
        total = sum(p.numel() for p in self.parameters())
        fixed = counts["body"] + counts["depth"] + counts["to_depth"]
        return {"body": counts["body"], "depth": counts["depth"], "vocabulary": total - fixed}
