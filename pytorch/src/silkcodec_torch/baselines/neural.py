"""Provide the base class of the neural baselines (EnCodec, DAC, Mimi, SNAC).

PyTorch and the packages that contain the models are imported only when a codec is created.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from silkcodec import audio
from silkcodec.audio import Wave
from silkcodec.bare_codes import as_tokens, check_batch, check_n_codebooks
from silkcodec.codec import parse
from silkcodec.errors import TokensError
from silkcodec.parallel.rebuilt import recipe
from silkcodec.tokens import Tokens

if TYPE_CHECKING:
    import torch


PIECE_S = 10.0  # duration of a piece, which limits memory; most utterances fit into one piece


class NeuralCodec:
    """Implement the `Codec` protocol for a PyTorch model.

    Attributes:
        name: codec name with the preset but without the source, e.g. "mimi:8".
        codec_id: name of the published model and hash of the weights, as stored in the tokens.
        quantizer: "RVQ", "split RVQ" or "multi-scale RVQ".
        latency_s: algorithmic latency in seconds, computed from the architecture.
        batch_exact: whether `encode_batch` and `decode_batch` return exactly the results of `encode` and `decode`.
            Always True, because both methods process one clip at a time.
    """

    quantizer = "RVQ"
    batch_exact = True

    name: str
    codec_id: str
    source: str | None  # source of the weights, with an absolute path if it is a folder; None: the published weights
    sample_rate: int
    latency_s: float
    codebook_sizes: tuple[int, ...]  # codebooks of the preset
    frame_rates: tuple[float, ...]
    all_codebook_sizes: tuple[int, ...]  # codebooks of the model, because `decode` accepts tokens of all its presets
    all_frame_rates: tuple[float, ...]

    def set_codebooks(self, sizes: Sequence[int], rates: Sequence[float], n_preset: int) -> None:
        """Set the sizes and frame rates (Hz) of all codebooks, and the number of codebooks that the preset uses."""
        self.all_codebook_sizes, self.all_frame_rates = tuple(sizes), tuple(rates)
        self.codebook_sizes, self.frame_rates = self.all_codebook_sizes[:n_preset], self.all_frame_rates[:n_preset]

    def __reduce__(self) -> Any:
        """Pickle only the constructor arguments of this codec. Unpickling loads the model again."""
        return recipe(self, preset=parse(self.name)[1], source=self.source)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.codec_id!r})"

    def encode(self, wave: ArrayLike, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        """Encode a waveform; see `Codec.encode`.

        Raises:
            AudioError: there are no samples, a sample is NaN or infinite, or the input is not a waveform.
            ArgumentError: `n_codebooks` is out of range.
        """
        import torch

        k = self.check_n_codebooks(n_codebooks)
        mono = audio.as_wave(wave, sample_rate, self.sample_rate)
        with torch.inference_mode():
            codes = self.encode_wave(torch.from_numpy(mono), k)
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
        """Decode tokens into a waveform, float32 [n_samples].

        Args:
            tokens: result of `encode` with any preset of the model, or integer codes [K, F].
            n_samples: length of the waveform in samples, only for integer codes. None means the total length of all
                frames.
            n_codebooks: number of codebooks (K), only for integer codes. None means the number in the preset.

        Raises:
            TokensError: the tokens come from a different codec or different weights, or the number of codes is wrong.
        """
        import torch

        tokens = as_tokens(self, tokens, n_samples, n_codebooks)
        self.check_tokens(tokens)
        with torch.inference_mode():
            wave = self.decode_codes([torch.tensor(row) for row in tokens.codes], tokens.n_samples)
        exact: Wave = wave[: tokens.n_samples].numpy().astype(np.float32)
        assert exact.shape == (tokens.n_samples,), "the decoder must return at least n_samples samples"
        return exact

    def encode_batch(
        self, waves: Sequence[ArrayLike], sample_rate: int, *, n_codebooks: int | None = None
    ) -> list[Tokens]:
        """Encode several clips. The results are identical to those of `encode`.

        Raises:
            AudioError, ArgumentError: see `encode`.
        """
        check_batch(waves)
        return [self.encode(wave, sample_rate, n_codebooks=n_codebooks) for wave in waves]

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """Decode the tokens of several clips. The results are identical to those of `decode`.

        Raises:
            TokensError: see `decode`.
        """
        check_batch(many)
        return [self.decode(tokens) for tokens in many]

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """Return `n_codebooks`, or the preset's number of codebooks if it is None.

        Raises:
            ArgumentError: `n_codebooks` is out of range.
        """
        return check_n_codebooks(self, n_codebooks)

    def check_tokens(self, tokens: Tokens) -> None:
        """Raise TokensError if the model cannot decode the tokens."""
        if tokens.codec != self.codec_id:
            raise TokensError(
                f"Tokens must be from '{self.codec_id}'; got tokens from '{tokens.codec}'."
                " Decode them with the codec and weights that they were encoded with."
            )
        k = len(tokens.codes)
        layout = tokens.codebook_sizes, tokens.frame_rates, tokens.sample_rate
        if layout != (self.all_codebook_sizes[:k], self.all_frame_rates[:k], self.sample_rate):
            raise TokensError(
                f"Tokens of '{self.name}' must use the model's codebooks in order, starting with the first, and have a"
                f" sample rate of {self.sample_rate} Hz; got {tokens!r}."
            )
        expected, got = self.count_codes(tokens.n_samples)[:k], tuple(len(row) for row in tokens.codes)
        if got != expected:
            raise TokensError(
                f"Tokens of '{self.name}' for {tokens.n_samples} samples must have {expected} codes per codebook; "
                f"got {got}."
            )

    def piece_frames(self, hop: int) -> int:
        """Return the number of frames per piece of a long clip, for frames of `hop` samples."""
        return max(1, int(PIECE_S * self.sample_rate) // hop)

    # --- implemented by each baseline

    def count_codes(self, n_samples: int) -> tuple[int, ...]:
        """Return the number of codes from each codebook for a clip of `n_samples` samples."""
        raise NotImplementedError

    def encode_wave(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        """Encode a waveform, float32 [T], with the first k codebooks. Return one int64 tensor of codes per codebook."""
        raise NotImplementedError

    def decode_codes(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        """Decode the codes of each codebook. Return at least `n_samples` samples, float32."""
        raise NotImplementedError
