"""Tokens <-> text: '<|silk:3:17|>' is code 17 of codebook 3, to be put into the tokenizer of a text model.

    <|silk:0:17|><|silk:1:1804|>...<|silk:18:5|> <|silk:0:9|>...<|silk:18:60|> <|silk:end:21600|>
    '-------- frame 0, in time order --------'   '----- frame 1 -----'        '-- n_samples --'

Silk's tokens in another grouping are called after it: '<|silk/4:31:4095|>'. The end says how many samples the
recording has; without it, as many as the frames hold.

A tokenizer that has each of these strings as one token (`strings` lists them) makes one step of a token. Silk's own
groups are too many for that: 4,096 strings in groups of 2 dimensions, 131,072 in groups of 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from silkcodec.errors import TokensError
from silkcodec.lm.layout import Layout
from silkcodec.spec import DIMS_PER_TOKEN
from silkcodec.tokens import Tokens

END = "end"
TOKEN = re.compile(r"<\|([^|<>]+?):(?:(\d+):(\d+)|end:(\d+))\|>")


def to_text(tokens: Tokens, *, end: bool = True) -> str:
    """Tokens of any codec as text.

    Args:
        end: whether it ends with the number of samples; without, whole frames come back.

    Raises:
        TokensError: codes that do not fill whole frames, or a codec's name that text cannot hold.
    """
    layout = Layout.of(tokens)
    name = name_of(layout)
    columns = layout.codebook_of
    rows = layout.codes(tokens).tolist()
    text = "".join(f"<|{name}:{k}:{code}|>" for row in rows for k, code in zip(columns, row, strict=True))
    return text + (f"<|{name}:{END}:{tokens.n_samples}|>" if end else "")


def from_text(text: str, layout: Layout, *, cut: bool = False) -> Tokens:
    """Text -> Tokens: the inverse of `to_text`. Spaces between the strings do not matter.

    Args:
        layout: what `to_text` had: `Layout.of_codec(codec)`, or of any tokens like these.
        cut: drop the tokens of a last frame that is not complete.

    Raises:
        TokensError: anything but the tokens of one recording, in the order of whole frames.
    """
    found = segments(text, layout, cut=cut)
    parts = [part for part in found if isinstance(part, Tokens) or part.strip()]
    if len(parts) != 1 or not isinstance(parts[0], Tokens):
        other = next((part.strip() for part in parts if isinstance(part, str)), None)
        got = f"{len(parts)} recordings" if other is None and parts else repr((other or "")[:40])
        raise TokensError(f"text must be the tokens of one recording, '<|{name_of(layout)}:0:17|>...'; got {got}.")
    return parts[0]


def segments(text: str, layout: Layout, *, cut: bool = False) -> list[str | Tokens]:
    """Text in which words and speech take turns, as a language model writes it -> its parts, in order.

    Raises:
        TokensError: tokens of the layout's codec that are not whole frames in order.

    >>> segments("Hello! <|silk:0:17|>...<|silk:18:5|> Again?", layout)     # doctest: +SKIP
    ['Hello! ', Tokens('silk@0a1b2c3d4e5f', 19 tokens in 19 codebooks, ...), ' Again?']
    """
    name = name_of(layout)
    parts: list[str | Tokens] = []
    codes: list[int] = []
    position = 0

    def close(n_samples: int | None) -> None:
        n_tokens = layout.n_tokens
        n_rest = len(codes) % n_tokens
        if n_rest == len(codes) or (n_rest and not cut):
            raise TokensError(
                f"the tokens of '{name}' in a text must be whole frames of {n_tokens}; got {len(codes)} in a row; "
                "cut=True drops those of a last frame that is not complete."
            )
        whole = [codes[i : i + n_tokens] for i in range(0, len(codes) - n_rest, n_tokens)]
        parts.append(layout.tokens(whole, n_samples))
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
        if match[4] is not None:
            close(int(match[4]))
            continue
        expected = layout.codebook_of[len(codes) % layout.n_tokens]
        if int(match[2]) != expected:
            raise TokensError(
                f"'{match[0]}' must be of codebook {expected}, the next in its frame; it stands at character "
                f"{match.start()}."
            )
        codes.append(int(match[3]))
    if codes:
        close(None)
    return parts + [text[position:]] * (position < len(text))


def strings(layout: Layout) -> Iterator[str]:
    """Every string that a tokenizer must know, codebook by codebook: `tokenizer.add_tokens(list(strings(layout)))`.

    Also good: `Flat(layout, offset=len(tokenizer))` gives the same codes as ids, without any text.
    """
    name = name_of(layout)
    for k, size in enumerate(layout.codebook_sizes):
        yield from (f"<|{name}:{k}:{code}|>" for code in range(size))


def name_of(layout: Layout) -> str:
    """What the strings of a layout are called: the codec without its hash, and Silk's grouping: "silk", "silk/4"."""
    name, _, _ = layout.codec.partition("@")
    if not TOKEN.fullmatch(f"<|{name}:0:0|>"):
        raise TokensError(f"a codec's name must not have | < > in it to be written as text; got {name!r}.")
    dims = (layout.codebook_sizes[0].bit_length() - 1) // 3  # 8^n has 3n + 1 bits
    return name if name != "silk" or dims == DIMS_PER_TOKEN else f"{name}/{dims}"
