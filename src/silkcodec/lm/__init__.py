"""Convert between tokens and sequences for language models.

    layout.py      Layout: the order of the tokens in a frame; codes [F, P] and their digits [F, P, H]
    sequences.py   Flat, Factorized, Heads: Tokens <-> sequences of integers with bos, eos and pad, and optional delays
    text.py        Tokens <-> '<|silk:3:17|>...', for use with a text tokenizer

All conversions are lossless. A sequence contains only whole frames, so decoders take the number of samples as a
separate argument.

Letters in shapes: S steps of a sequence, F frames, P tokens in a frame, H heads (digits) of a token.
"""

from silkcodec.lm.layout import Frames, Layout, heads
from silkcodec.lm.sequences import Factorized, Flat, Heads, delay, pad, undelay
from silkcodec.lm.text import from_text, segments, strings, to_text

__all__ = [
    "Factorized", "Flat", "Frames", "Heads", "Layout", "delay", "from_text", "heads", "pad", "segments", "strings",
    "to_text", "undelay",
]  # fmt: skip
