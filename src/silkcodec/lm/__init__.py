"""Tokens for language models: how a recording becomes the rows that a model is trained on, and comes back.

    layout.py      Layout: what a frame of a codec's tokens looks like; codes [F, P], their digits [F, P, H]
    sequences.py   Flat, Factorised, Heads: Tokens <-> the integers of a sequence, with bos, eos and pad; delay
    text.py        Tokens <-> '<|silk:3:17|>...', to be put into a text tokenizer

Everything comes back without loss. A sequence says whole frames; the number of samples of the recording, which ends
somewhere in its last frame, is given beside it where it matters (`n_samples`). NumPy is all this needs.

    S  steps of a sequence   F  frames   P  tokens in a frame   H  heads (digits) of a token
"""

from silkcodec.lm.layout import Frames, Layout, heads
from silkcodec.lm.sequences import Factorised, Flat, Heads, delay, pad, undelay
from silkcodec.lm.text import from_text, segments, strings, to_text

__all__ = [
    "Factorised", "Flat", "Frames", "Heads", "Layout", "delay", "from_text", "heads", "pad", "segments", "strings",
    "to_text", "undelay",
]  # fmt: skip
