"""What the shape of a codec's frames alone costs a language model; the shape is `silkcodec.lm.layout`'s."""

from __future__ import annotations

import math
from typing import Any

from silkcodec.lm.layout import Layout, heads

MODEL_WIDTH = 1_024  # of the language model whose output parameters are counted
MINUTE_S = 60


def arithmetic(layout: Layout) -> dict[str, Any]:
    """What the layout alone costs a language model: lengths, steps, vocabulary, output parameters.

    A minute is as many frames as it takes to fill it. `flat`: one step a token. `frame`: one step a frame, its
    tokens predicted at once or by a small model of their own. `delay`: one step a frame, token p of a frame p
    steps late (MusicGen, arXiv 2306.05284), so P - 1 steps more for the whole sequence.
    """
    n_frames = math.ceil(round(MINUTE_S * layout.frame_rate, 6))
    n_tokens = len(layout.codebook_of)
    outputs = sum(layout.codebook_sizes)
    factorised = sum(map(sum, heads(layout.codebook_sizes)))
    return {
        "frame_rate_hz": layout.frame_rate,
        "tokens_per_frame": n_tokens,
        "tokens_per_second": layout.tokens_per_second,
        "raw_bits_per_second": layout.raw_bits_per_second,
        "codebook_sizes": list(layout.codebook_sizes),
        "heads_per_frame": int((layout.head_sizes > 1).sum()),
        "minute_steps": {"flat": n_frames * n_tokens, "frame": n_frames, "delay": n_frames + n_tokens - 1},
        "speech_s_per_step": {"flat": 1 / (layout.frame_rate * n_tokens), "frame": 1 / layout.frame_rate},
        "outputs": {"whole": outputs, "factorised": factorised},
        "output_parameters": {"whole": outputs * MODEL_WIDTH, "factorised": factorised * MODEL_WIDTH},
        "model_width": MODEL_WIDTH,
    }
