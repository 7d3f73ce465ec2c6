"""Define a small language model for Silk's tokens: a transformer with one step per token and 19 steps per frame.

    codes [B, F, P, H]  a frame has P = 19 tokens, and a token has H = 7 FSQ levels (`silkcodec.lm.Factorized`)
      -> sum of the embeddings of the previous token's levels, plus a position embedding     [B, F * P, W]
      -> causal transformer                                                                  [B, F * P, W]
      -> logits of the 8 values of each level, given the earlier levels of the token         [B, F, P, H, 8]

The prediction of a level depends on the earlier levels of its token and on all earlier tokens. The output layer is
initialized with zeros, and its bias with the log frequency of each level. An untrained model is therefore a unigram
model.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LEVELS = 8


class Block(nn.Module):
    """Apply pre-norm attention with rotary position embeddings, and a feed-forward network."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_ff = nn.RMSNorm(width), nn.RMSNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        for last in (self.out, self.down):  # Each block starts as the identity.
            nn.init.zeros_(last.weight)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the output ([B, S, W]) and the keys and values of all steps.

        Args:
            x: input, [B, S, W].
            cos, sin: rotary position embeddings.
            past: keys and values of previous steps, [2, B, heads, S', W / heads], or None.
        """
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)  # [B, heads, S, W / heads]
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=past is None)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_ff(x)))), torch.stack([k, v])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary position embeddings."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1).to(x.dtype)


class SpeechModel(nn.Module):
    """Predict each level of a token from all earlier levels.

    Args:
        head_sizes: number of possible levels of each head, int [P, H].
        window: length of the context in frames, for training and sampling.
        width, layers, heads: size of the transformer.
    """

    def __init__(self, head_sizes: Tensor, window: int, width: int = 256, layers: int = 6, heads: int = 4):
        super().__init__()
        n_tokens, n_heads = head_sizes.shape
        self.n_tokens, self.n_heads, self.window = n_tokens, n_heads, window
        closed = torch.where(torch.arange(LEVELS) < head_sizes[..., None], 0.0, -math.inf)
        self.register_buffer("closed", closed, persistent=False)  # [P, H, 8]
        self.vectors = nn.Parameter(torch.randn(n_tokens * n_heads * LEVELS, width) * 0.02)
        self.which = nn.Parameter(torch.randn(n_tokens, width) * 0.02)
        self.start = nn.Parameter(torch.randn(width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.RMSNorm(width)
        self.out = nn.Parameter(torch.zeros(n_tokens, width, n_heads * LEVELS))
        self.bias = nn.Parameter(torch.zeros(n_tokens, n_heads, LEVELS))
        self.chain = nn.Parameter(torch.zeros(n_tokens, n_heads * LEVELS, n_heads * LEVELS))
        earlier = torch.ones(n_heads, n_heads).triu(1).repeat_interleave(LEVELS, 0).repeat_interleave(LEVELS, 1)
        self.register_buffer(
            "earlier", earlier, persistent=False
        )  # mask: 1 from each level to later levels of the token
        frequency = 10_000.0 ** (-torch.arange(0, width // heads, 2) / (width // heads))
        self.register_buffer("frequency", frequency, persistent=False)
        row = torch.arange(n_tokens * n_heads).view(n_tokens, n_heads) * LEVELS
        self.register_buffer("first_row", row, persistent=False)

    def transformer(self, x: Tensor, past: list[Tensor] | None = None, at: int = 0) -> tuple[Tensor, list[Tensor]]:
        """Return the output ([B, S, W]) and the keys and values of all steps.

        Args:
            x: input, [B, S, W].
            past: keys and values of previous steps, one tensor per layer, or None.
            at: index of the first step in `x`.
        """
        angle = torch.arange(at, at + x.shape[1])[:, None] * self.frequency
        cos, sin, after = angle.cos(), angle.sin(), []
        for i, block in enumerate(self.blocks):
            x, seen = block(x, cos, sin, past[i] if past else None)
            after.append(seen)
        return self.norm(x), after

    def bits(self, codes: Tensor) -> Tensor:
        """Return the cross-entropy of each frame in bits ([B, F]) for codes (int64 [B, F, P, H])."""
        batch, frames = codes.shape[:2]
        tokens = F.embedding(codes + self.first_row, self.vectors).sum(3).flatten(1, 2)  # [B, F * P, W]
        x = torch.cat([self.start.expand(batch, 1, -1), tokens[:, :-1]], dim=1) + self.which.repeat(frames, 1)
        x, _ = self.transformer(x)
        x = x.unflatten(1, (frames, self.n_tokens))  # [B, F, P, W]
        levels = F.one_hot(codes, LEVELS).flatten(3).to(x.dtype)  # [B, F, P, H * 8]
        logits = torch.einsum("bfpw,pwo->bfpo", x, self.out.to(x.dtype))
        logits = logits + torch.einsum("bfpi,pio->bfpo", levels, (self.chain * self.earlier).to(x.dtype))
        logits = logits.float().unflatten(3, (-1, LEVELS)) + self.bias + self.closed  # [B, F, P, H, 8]
        nats = F.cross_entropy(logits.flatten(0, 3), codes.flatten(), reduction="none")
        return nats.view(batch, frames, -1).sum(2) / math.log(2)

    @torch.inference_mode()
    def stream(
        self, generator: torch.Generator, temperature: float = 1.0, prompt: Tensor | None = None
    ) -> Iterator[Tensor]:
        """Yield sampled frames, [P, H], endlessly.

        Args:
            generator: random generator.
            temperature: sampling temperature.
            prompt: frames to continue, [F, P, H], or None.
        """
        past: list[Tensor] | None = None
        step, token, keep = 0, self.start, self.window * self.n_tokens - 1
        given = list(prompt) if prompt is not None else []
        while True:
            frame = torch.zeros(self.n_tokens, self.n_heads, dtype=torch.int64)
            prompted = given.pop(0) if given else None
            for p in range(self.n_tokens):
                x, past = self.transformer((token + self.which[p]).view(1, 1, -1), past, step)
                past = [seen[..., -keep:, :] for seen in past]
                if prompted is None:
                    frame[p] = self._draw(x[0, 0], p, generator, temperature)
                else:
                    frame[p] = prompted[p]
                token = self.vectors[frame[p] + self.first_row[p]].sum(0)
                step += 1
            if prompted is None:
                yield frame

    def _draw(self, x: Tensor, p: int, generator: torch.Generator, temperature: float) -> Tensor:
        """Sample the levels of one token."""
        logits = (x @ self.out[p]).view(self.n_heads, LEVELS) + self.bias[p] + self.closed[p]
        chain = self.chain[p] * self.earlier
        drawn = torch.zeros(self.n_heads, dtype=torch.int64)
        for h in range(self.n_heads):
            odds = (logits[h] / temperature).softmax(-1)
            drawn[h] = torch.multinomial(odds, 1, generator=generator)[0]
            logits = logits + chain[h * LEVELS + drawn[h]].view(self.n_heads, LEVELS)
        return drawn
