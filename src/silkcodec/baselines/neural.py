"""What the neural baselines (EnCodec, DAC, Mimi, SNAC) share: checks, Tokens, batches.

A baseline's file holds its presets and two methods, `_encode` and `_decode`; here is everything around them. Its
weights come through `weights.py`, and long audio goes through its convolutions in pieces, see `reach.py`.
PyTorch and the models' packages are imported when a codec is built, never before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.bare_codes import as_tokens, check_batch, check_n_codebooks
from silkcodec.codec import parse
from silkcodec.errors import TokensError
from silkcodec.parallel.rebuilt import recipe
from silkcodec.tokens import Tokens

if TYPE_CHECKING:
    import torch

Wave = NDArray[np.float32]

PIECE_S = 10.0  # of audio at once: bounds the memory; most utterances are one piece


class NeuralCodec:
    """The base of the neural baselines: a `Codec` around a PyTorch model. Stateless between calls.

    Attributes:
        name: with the preset, without the source: "mimi:8".
        codec_id: the published model's name and the hash of its weights, as its tokens carry it.
        quantizer: "RVQ", "split RVQ" or "multi-scale RVQ".
        latency_s: how far ahead of a sample of the output the input must be known; from the architecture.
        batch_exact: `encode_batch` and `decode_batch` give what single calls give, to the bit: the clips are
            run one after another. Stacked into one tensor they would have to be padded, which changes the
            codes of all of these models but Mimi; clips of equal lengths would still be rounded otherwise, and
            on a CPU it saves no time: these convolutions fill its cores with one clip.
    """

    quantizer = "RVQ"
    batch_exact = True

    name: str
    codec_id: str
    _source: str | None  # of the weights, as an absolute path where it is a folder; None: as published
    sample_rate: int
    latency_s: float
    codebook_sizes: tuple[int, ...]  # of the preset
    frame_rates: tuple[float, ...]
    all_codebook_sizes: tuple[int, ...]  # of the model: tokens of any preset of the same weights can be decoded
    all_frame_rates: tuple[float, ...]

    def _set_codebooks(self, sizes: Sequence[int], rates: Sequence[float], n_preset: int) -> None:
        """Sizes and rates (Hz) of all the model's codebooks, of which the preset uses the first."""
        self.all_codebook_sizes, self.all_frame_rates = tuple(sizes), tuple(rates)
        self.codebook_sizes, self.frame_rates = self.all_codebook_sizes[:n_preset], self.all_frame_rates[:n_preset]

    def __reduce__(self) -> Any:
        """Send this codec to another process as its arguments; there it loads its own model. See `rebuilt.py`."""
        return recipe(self, preset=parse(self.name)[1], source=self._source)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.codec_id!r})"

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Tokens of a wave; see `Codec.encode`.

        Raises:
            AudioError: no samples, NaN or Inf, not a wave. ArgumentError: n_codebooks is out of range.
        """
        import torch

        k = self.check_n_codebooks(n_codebooks)
        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        with torch.inference_mode():
            codes = self._encode(torch.from_numpy(mono), k)
        return Tokens(
            codes=tuple(np.asarray(row) for row in codes),
            codebook_sizes=self.codebook_sizes[:k],
            frame_rates=self.frame_rates[:k],
            sample_rate=self.sample_rate,
            n_samples=len(mono),
            codec=self.codec_id,
        )

    def decode(
        self, tokens: Tokens | ArrayLike, *, n_samples: int | None = None, n_codebooks: int | None = None
    ) -> Wave:
        """Return the wave of these tokens, of any preset of these weights: float32 [tokens.n_samples].

        Args:
            tokens: what `encode` returned; or bare codes, int [K, F], one row per codebook, as `Tokens.codes`.
            n_samples: of the wave, of bare codes only; None: what their frames span.
            n_codebooks: K, of bare codes only; None: all of the preset's.

        Raises:
            TokensError: of another codec or other weights, or their number does not fit their n_samples.
        """
        import torch

        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        self.check_tokens(tokens)
        with torch.inference_mode():
            wave = self._decode([torch.tensor(row) for row in tokens.codes], tokens.n_samples)
        exact: Wave = wave[: tokens.n_samples].numpy().astype(np.float32)
        assert exact.shape == (tokens.n_samples,), "a decoder must reach the end of the wave"
        return exact

    def encode_batch(
        self, waves: Sequence[ArrayLike], sample_rate: int, *, n_codebooks: int | None = None
    ) -> list[Tokens]:
        """Tokens of many clips of any lengths: what `encode` makes of each, to the bit. See `batch_exact`."""
        check_batch(waves)
        return [self.encode(wave, sample_rate, n_codebooks=n_codebooks) for wave in waves]

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """The waves of many clips: what `decode` makes of each, to the bit."""
        check_batch(many)
        return [self.decode(tokens) for tokens in many]

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """n_codebooks as a number, all of the preset's for None. Raises ArgumentError."""
        return check_n_codebooks(self, n_codebooks)

    def check_tokens(self, tokens: Tokens) -> None:
        """Check that `decode` accepts these tokens. Raises TokensError."""
        if tokens.codec != self.codec_id:
            raise TokensError(
                f"Tokens must be of '{self.codec_id}'; got '{tokens.codec}';"
                " load the codec, and the weights, that made them."
            )
        k = len(tokens.codes)
        layout = tokens.codebook_sizes, tokens.frame_rates, tokens.sample_rate
        if layout != (self.all_codebook_sizes[:k], self.all_frame_rates[:k], self.sample_rate):
            raise TokensError(
                f"Tokens of '{self.name}' must be the first of its {len(self.all_codebook_sizes)} codebooks"
                f" at {self.sample_rate} Hz; got {tokens!r}."
            )
        expected, got = self._n_codes(tokens.n_samples)[:k], tuple(len(row) for row in tokens.codes)
        if got != expected:
            raise TokensError(f"{tokens.n_samples} samples must have {expected} codes of '{self.name}'; got {got}.")

    def _piece_frames(self, hop: int) -> int:
        """Frames of `hop` samples in a piece of a long clip."""
        return max(1, int(PIECE_S * self.sample_rate) // hop)

    # --- what a baseline fills in

    def _n_codes(self, n_samples: int) -> tuple[int, ...]:
        """The number of codes of each of the model's codebooks that a wave of n_samples makes."""
        raise NotImplementedError

    def _encode(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        """A wave, float32 [T], to the codes of the first k codebooks, each int64 [F_k]."""
        raise NotImplementedError

    def _decode(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        """The codes of the first codebooks to a wave, float32 [at least n_samples]."""
        raise NotImplementedError
