"""Define SilkTokenizer, which converts audio tokens in text form, '<|silk/2:3:17|>...', to ids and back.

To add the same token strings to the tokenizer of a text model, call `tokenizer.add_tokens(list(lm.strings(layout)))`.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

from transformers import PreTrainedTokenizer

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.lm import Flat, Layout, from_text, strings, to_text
from silkcodec.lm.text import TOKEN, name_of
from silkcodec.spec import DIMS_PER_TOKEN, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens, codebook_sizes

MAX_DIMS = 4  # With more dimensions, the vocabulary is too large to list.
BOS, EOS, PAD = "<|silk:bos|>", "<|silk:eos|>", "<|silk:pad|>"


class SilkTokenizer(PreTrainedTokenizer):
    """Convert Silk tokens in text form to ids and back. The special tokens are bos, eos and pad.

    Args:
        dims_per_token: number of FSQ dimensions per token, 1 to 4; see `Tokens.regroup`. With 2, a frame has 64 tokens,
            and the vocabulary has 4,096 entries. With 4, a frame has 32 tokens, and the vocabulary has 131,072 entries.
            These numbers do not include the special tokens.
        codec: codec id of the tokens that `to_tokens` returns, e.g. "silk@0a1b2c3d4e5f".
        kwargs: additional options for `PreTrainedTokenizer`.

    Raises:
        ArgumentError: `dims_per_token` is not between 1 and 4.
    """

    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012 - as in transformers

    def __init__(self, dims_per_token: int = 2, codec: str = "silk", **kwargs: Any) -> None:
        sizes = codebook_sizes(dims_per_token)
        if dims_per_token > MAX_DIMS:
            raise ArgumentError(
                f"dims_per_token must be between 1 and {MAX_DIMS} for a tokenizer; got {dims_per_token}."
            )
        rates = (SILK_FRAME_RATE,) * len(sizes)
        order = tuple(range(len(sizes)))
        self.layout = Layout(codec, SILK_SAMPLE_RATE, rates, sizes, order, SILK_FRAME_RATE * len(sizes))
        self.flat = Flat(self.layout)
        self._first = [self.flat.allowed(k).start for k in range(len(sizes))]  # id of code 0 in each codebook
        self._specials = (BOS, EOS, PAD)
        for name, token in zip(("bos_token", "eos_token", "pad_token"), self._specials, strict=True):
            kwargs.setdefault(name, token)
        kwargs.setdefault("clean_up_tokenization_spaces", False)
        self._added_tokens_decoder: dict[int, Any] = {}
        super().__init__(dims_per_token=dims_per_token, codec=codec, special_tokens_pattern="bos_eos", **kwargs)

    @property
    def vocab_size(self) -> int:
        """Return the size of the vocabulary, including the special tokens."""
        return self.flat.size

    def get_vocab(self) -> dict[str, int]:
        """Return a dictionary that maps every token string to its id."""
        every = enumerate([*self._specials, *strings(self.layout)])
        return {token: i for i, token in every} | self._added_tokens_encoder

    def _update_total_vocab_size(self) -> None:
        self.total_vocab_size = self.flat.size + sum(i >= self.flat.size for i in self._added_tokens_decoder)

    def encode_tokens(self, tokens: Tokens) -> list[int]:
        """Convert a Tokens object to a list of ids, with bos at the start and eos at the end.

        Args:
            tokens: Silk tokens in any grouping; see `Tokens.regroup`.

        Returns:
            The list of ids.
        """
        ids: list[int] = self.flat.encode(tokens.regroup(self.dims_per_token)).tolist()
        return ids

    def to_tokens(self, ids_or_text: list[int] | str, n_samples: int | None = None, *, cut: bool = False) -> Tokens:
        """Convert ids or text to a Tokens object with Silk's default of 7 FSQ dimensions per token.

        Args:
            ids_or_text: list of ids, or text.
            n_samples: number of audio samples. By default, it is read from the text or, if the text does not contain
                it, computed from the number of frames.
            cut: whether to drop an incomplete last frame instead of raising an error.

        Returns:
            The tokens.

        Raises:
            TokensError: the input does not consist of whole frames of one recording.
        """
        if isinstance(ids_or_text, str):
            found = from_text(ids_or_text, self.layout, cut=cut)
        else:
            found = self.flat.decode(ids_or_text, n_samples=n_samples, cut=cut)
        own = found.regroup(DIMS_PER_TOKEN)
        if n_samples is None or n_samples == own.n_samples:
            return own
        return Tokens(own.codes, own.codebook_sizes, own.frame_rates, own.sample_rate, n_samples, own.codec)

    def to_text(self, tokens: Tokens) -> str:
        """Convert a Tokens object to text that this tokenizer accepts.

        Args:
            tokens: Silk tokens in any grouping; see `Tokens.regroup`.

        Returns:
            The text, with one string per token.
        """
        return to_text(tokens.regroup(self.dims_per_token), end=False)

    @property
    def dims_per_token(self) -> int:
        """Return the number of FSQ dimensions in a token."""
        return (self.layout.codebook_sizes[0].bit_length() - 1) // 3

    def _tokenize(self, text: str, **_: Any) -> list[str]:
        found = list(TOKEN.finditer(text))
        rest = TOKEN.sub("", text).strip()
        wrong = rest or next((m[0] for m in found if m[1] != name_of(self.layout) or m[4] is not None), "")
        if wrong:
            raise TokensError(
                f"The text must contain only tokens like '<|{name_of(self.layout)}:0:17|>'; got {wrong[:40]!r}."
            )
        return [match[0] for match in found]

    def _convert_token_to_id(self, token: str) -> int:
        if token in self._specials:
            return self._specials.index(token)
        match = TOKEN.fullmatch(token)
        sizes = self.layout.codebook_sizes
        if match is None or match[4] is not None or match[1] != name_of(self.layout):
            raise TokensError(f"A token must have the form '<|{name_of(self.layout)}:0:17|>'; got {token[:40]!r}.")
        k, code = int(match[2]), int(match[3])
        if k >= len(sizes) or code >= sizes[k]:
            raise TokensError(
                f"The codebook in '{token}' must be between 0 and {len(sizes) - 1}, and the code must be below the size"
                " of that codebook."
            )
        return self._first[k] + code

    def _convert_id_to_token(self, index: int) -> str:
        if 0 <= index < len(self._specials):
            return self._specials[index]
        k = bisect_right(self._first, index) - 1
        if k >= 0 and index < self.flat.size:
            return f"<|{name_of(self.layout)}:{k}:{index - self._first[k]}|>"
        raise TokensError(f"An id must be between 0 and {self.flat.size - 1}; got {index}.")

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Return the concatenated token strings.

        Args:
            tokens: token strings.
        """
        return "".join(tokens)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write nothing, because `dims_per_token` in tokenizer_config.json defines the vocabulary.

        Args:
            save_directory, filename_prefix: not used.

        Returns:
            An empty tuple.
        """
        return ()
