"""Convert between tokens and text for a text model's tokenizer. '<|silk:3:17|>' is code 17 of codebook 3.

    <|silk:0:17|><|silk:1:1804|>...<|silk:18:5|> <|silk:0:9|>...<|silk:18:60|> <|silk:end:21600|>
    '-------- frame 0, in time order --------'   '----- frame 1 -----'        '-- n_samples --'

If Silk tokens are regrouped, the strings include the group size: '<|silk/4:31:4095|>'. Silk's default grouping requires
too many strings for a tokenizer. Groups of 2 dimensions require 4,096 strings, and groups of 4 require 131,072.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from silkcodec.errors import TokensError
from silkcodec.lm.layout import Layout
from silkcodec.lm.sequences import whole_frames
from silkcodec.spec import DIMS_PER_TOKEN
from silkcodec.tokens import Tokens

TOKEN = re.compile(r"<\|([^|<>]+?):(?:(\d+):(\d+)|end:(\d+))\|>")


def to_text(tokens: Tokens, *, end: bool = True) -> str:
    """Convert tokens from any codec to text.

    Args:
        tokens: tokens to convert.
        end: append a string with the number of samples. Without it, the text decodes to whole frames.

    Returns:
        The text, with one string per token.

    Raises:
        TokensError: the codes do not fill whole frames, or the codec's name contains |, < or >.
    """
    layout = Layout.of(tokens)
    name = name_of(layout)
    rows = layout.codes(tokens).tolist()
    text = "".join(f"<|{name}:{k}:{code}|>" for row in rows for k, code in zip(layout.codebook_of, row, strict=True))
    return text + (f"<|{name}:end:{tokens.n_samples}|>" if end else "")


def from_text(text: str, layout: Layout, *, cut: bool = False) -> Tokens:
    """Convert text to Tokens. This is the inverse of `to_text`.

    Args:
        text: text with the tokens of one recording.
        layout: layout of the tokens, from `Layout.of_codec(codec)`, or from `Layout.of(tokens)` with tokens of the same
            codec and grouping.
        cut: drop the tokens of an incomplete last frame.

    Returns:
        The tokens.

    Raises:
        TokensError: the text contains something other than one recording's tokens, or a frame is incomplete and `cut`
            is False.
    """
    found = segments(text, layout, cut=cut)
    parts = [part for part in found if isinstance(part, Tokens) or part.strip()]
    if len(parts) != 1 or not isinstance(parts[0], Tokens):
        other = next((part.strip() for part in parts if isinstance(part, str)), None)
        got = f"{len(parts)} recordings" if other is None and parts else repr((other or "")[:40])
        raise TokensError(
            f"Text must contain the tokens of one recording, as in '<|{name_of(layout)}:0:17|>...'; got {got}."
        )
    return parts[0]


def segments(text: str, layout: Layout, *, cut: bool = False) -> list[str | Tokens]:
    """Split text that contains words and speech tokens into strings and Tokens.

    Args:
        text: text with words and the tokens of any number of recordings.
        layout: layout of the tokens; see `from_text`.
        cut: drop the tokens of an incomplete last frame.

    Returns:
        Strings and Tokens in the order of the text.

    Raises:
        TokensError: the speech tokens of the layout's codec are not in order, or do not form whole frames.

    >>> import numpy as np
    >>> tokens = Tokens((np.array([17]), np.array([5])), (64, 64), (2.5, 2.5), 24_000, 9_600, "demo@0a1b2c")
    >>> segments("Hello! <|demo:0:17|><|demo:1:5|><|demo:end:9600|> Again?", Layout.of(tokens))
    ['Hello! ', Tokens('demo@0a1b2c', 2 tokens in 2 codebooks, 0.400 s at 24000 Hz), ' Again?']
    """
    name = name_of(layout)
    parts: list[str | Tokens] = []
    codes: list[int] = []
    position = 0

    def close(n_samples: int | None) -> None:
        n_tokens = layout.n_tokens
        whole = whole_frames(codes, n_tokens, cut)
        parts.append(layout.tokens([whole[i : i + n_tokens] for i in range(0, len(whole), n_tokens)], n_samples))
        codes.clear()

    for match in TOKEN.finditer(text):
        if match[1] != name:
            continue
        between = text[position : match.start()]
        if between.strip() or (between and not codes):
            if codes:
                close(None)
            parts.append(between)
        position = match.end()
        if max(map(len, filter(None, match.groups()[1:]))) > 19:  # An int64 has at most 19 digits.
            raise TokensError(f"Numbers in tokens must have at most 19 digits; got '{match[0]:.40}...'.")
        if match[4] is not None:
            close(int(match[4]))
            continue
        expected = layout.codebook_of[len(codes) % layout.n_tokens]
        if int(match[2]) != expected:
            raise TokensError(
                f"The token at character {match.start()} must be from codebook {expected}; got '{match[0]}'."
            )
        codes.append(int(match[3]))
    if codes:
        close(None)
    return parts + [text[position:]] * (position < len(text))


def strings(layout: Layout) -> Iterator[str]:
    """Yield the strings of all codes, for `tokenizer.add_tokens(list(strings(layout)))`.

    Args:
        layout: layout of the tokens.

    Raises:
        TokensError: the codec's name contains |, < or >.
    """
    name = name_of(layout)
    for k, size in enumerate(layout.codebook_sizes):
        yield from (f"<|{name}:{k}:{code}|>" for code in range(size))


def name_of(layout: Layout) -> str:
    """Return the codec name that token strings contain, e.g. "silk", or "silk/4" for groups of 4 dimensions.

    Args:
        layout: layout of the tokens.

    Raises:
        TokensError: the codec's name contains |, < or >.
    """
    name, _, _ = layout.codec.partition("@")
    if not TOKEN.fullmatch(f"<|{name}:0:0|>"):
        raise TokensError(f"A codec name in token strings must not contain |, < or >; got '{name}'.")
    dims = (layout.codebook_sizes[0].bit_length() - 1) // 3  # 8^n has 3n + 1 bits
    return name if name != "silk" or dims == DIMS_PER_TOKEN else f"{name}/{dims}"
