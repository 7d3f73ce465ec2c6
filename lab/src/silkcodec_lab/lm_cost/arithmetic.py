"""Compute sequence lengths, vocabulary sizes and numbers of output parameters from the layout of a codec's tokens."""

from __future__ import annotations

import math
from typing import Any

from silkcodec.lm.layout import Layout, heads

MODEL_WIDTH = 1_024  # width of the language model whose output parameters are counted
MINUTE_S = 60


def arithmetic(layout: Layout) -> dict[str, Any]:
    """Return the sequence lengths, vocabulary sizes and numbers of output parameters for a token layout.

    Output parameters are the weights of the output layers of a language model that is `MODEL_WIDTH` wide. They are
    counted for one layer per codebook ("whole") and for one layer per head of a codebook ("factorized").

    A sequence length is the number of language-model steps for one minute of speech. It depends on how the tokens are
    arranged in steps:

        flat     one step per token
        frame    one step per frame; the tokens of a frame are predicted together or by a small second model
        delay    one step per frame, with token p delayed by p steps (MusicGen, arXiv 2306.05284); this adds P - 1 steps
                 for P tokens per frame
    """
    n_frames = math.ceil(round(MINUTE_S * layout.frame_rate, 6))
    n_tokens = len(layout.codebook_of)
    outputs = sum(layout.codebook_sizes)
    factorized = sum(map(sum, heads(layout.codebook_sizes)))
    return {
        "frame_rate_hz": layout.frame_rate,
        "tokens_per_frame": n_tokens,
        "tokens_per_second": layout.tokens_per_second,
        "raw_bits_per_second": layout.raw_bits_per_second,
        "codebook_sizes": list(layout.codebook_sizes),
        "minute_steps": {"flat": n_frames * n_tokens, "frame": n_frames, "delay": n_frames + n_tokens - 1},
        "speech_s_per_step": {"flat": 1 / (layout.frame_rate * n_tokens), "frame": 1 / layout.frame_rate},
        "outputs": {"whole": outputs, "factorized": factorized},
        "output_parameters": {"whole": outputs * MODEL_WIDTH, "factorized": factorized * MODEL_WIDTH},
        "model_width": MODEL_WIDTH,
    }
