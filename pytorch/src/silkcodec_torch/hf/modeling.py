"""Define SilkModel: the Silk network with the interface of EnCodec and Mimi in `transformers`.

    input_values [B, 1, T], padding_mask [B, T] -> encode -> audio_codes [B, 19, F], n_samples [B]
    audio_codes [B, 19, F], n_samples [B]       -> decode -> audio_values [B, 1, T]

Long recordings are processed in pieces to limit memory use. A recording has the same codes in a padded batch as on its
own, except that rounding changes about one level in ten million.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput

from silkcodec.errors import ArgumentError, TokensError
from silkcodec.mel import FRAME, HISTORY, LOOKAHEAD
from silkcodec.spec import DIMS_PER_TOKEN, LATENT_WIDTH, SILK_FRAME_RATE, SILK_SAMPLE_RATE
from silkcodec.tokens import Tokens
from silkcodec_torch.hf.configuration import SilkConfig
from silkcodec_torch.nn.decoder import Decoder, InverseSTFTHead, noise_table
from silkcodec_torch.nn.encoder import Encoder
from silkcodec_torch.nn.mel import LogMel
from silkcodec_torch.nn.model import fresh_states, initialize
from silkcodec_torch.quantizers import FSQ

PIECE_FRAMES = 25  # frames per piece: 10 s
MASK_RULE = "padding_mask must have the shape [batch, samples]. A row must have at least one 1 and no 1 after a 0."


@dataclass
class SilkEncoderOutput(ModelOutput):
    """Hold the output of `SilkModel.encode`.

    Attributes:
        audio_codes: codes, int64 [B, 19, F]. In padding frames, the codes represent silence.
        audio_codes_mask: bool [B, F]. True for the frames of the recording, False for padding.
        n_samples: number of samples in each recording, int64 [B].
    """

    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None
    n_samples: Tensor | None = None


@dataclass
class SilkDecoderOutput(ModelOutput):
    """Hold the output of `SilkModel.decode`.

    Attributes:
        audio_values: samples, float32 [B, 1, T], with zeros after the end of each recording.
    """

    audio_values: Tensor | None = None


@dataclass
class SilkOutput(ModelOutput):
    """Hold the output of a call to `SilkModel`. See `SilkEncoderOutput` and `SilkDecoderOutput`."""

    audio_codes: Tensor | None = None
    audio_codes_mask: Tensor | None = None
    n_samples: Tensor | None = None
    audio_values: Tensor | None = None


class SilkModel(PreTrainedModel):
    """Encode 24 kHz speech to 47.5 tokens per second, and decode tokens to speech.

    The weights must stay float32, because lower precision changes the codes.

    Args:
        config: network sizes and codec id.
    """

    config: SilkConfig
    config_class = SilkConfig
    base_model_prefix = "silk"
    main_input_name = "input_values"

    def __init__(self, config: SilkConfig) -> None:
        super().__init__(config)
        sizes = config.network()
        self.encoder = Encoder(sizes)
        self.quantizer = FSQ()
        self.decoder = Decoder(sizes)
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Initialize the weights and constants of a module."""
        if isinstance(module, LogMel):
            fresh = LogMel()
            module.basis.copy_(fresh.basis)
            module.filters.copy_(fresh.filters)
        elif isinstance(module, InverseSTFTHead):
            module.window.copy_(InverseSTFTHead(1).window)
            if module.noise is not None:
                module.noise_table.copy_(noise_table())
        elif isinstance(module, nn.Linear):
            initialize(module)
        else:
            super()._init_weights(module)

    @torch.no_grad()
    def encode(self, input_values: Tensor, padding_mask: Tensor | None = None) -> SilkEncoderOutput:
        """Encode audio to codes.

        Args:
            input_values: samples, float32 [B, 1, T] or [B, T] at 24 kHz.
            padding_mask: [B, T], 1 for samples and 0 for padding at the end. None means no padding.

        Returns:
            The codes, their mask and the number of samples per row; see `SilkEncoderOutput`.

        Raises:
            ArgumentError: a shape is wrong, a row has no samples, the padding is not at the end, or the weights are
                not float32.
        """
        wave, n_samples = self._waves(input_values, padding_mask)
        n_frames = -(-n_samples // FRAME)
        padded = nn.functional.pad(wave, (0, int(n_frames.max()) * FRAME + LOOKAHEAD - wave.shape[1]))
        states = fresh_states(self.encoder.state_shapes(), len(wave), wave.device)
        states[0][:, HISTORY:] = padded[:, :LOOKAHEAD]
        levels = []
        with torch.autocast(wave.device.type, enabled=False):
            for piece in padded[:, LOOKAHEAD:].split(PIECE_FRAMES * FRAME, dim=1):
                mel, states[0] = self.encoder.log_mel(piece, states[0])
                latent, states[1:] = self.encoder(mel, states[1:])
                levels.append(self.quantizer(latent).codes)
        mask = torch.arange(int(n_frames.max()), device=wave.device) < n_frames[:, None]
        return SilkEncoderOutput(levels_to_codes(torch.cat(levels, dim=1)), mask, n_samples)

    def decode(
        self, audio_codes: Tensor, n_samples: int | Tensor | None = None, padding_mask: Tensor | None = None
    ) -> SilkDecoderOutput:
        """Decode codes to audio.

        Args:
            audio_codes: codes, int64 [B, 19, F].
            n_samples: number of samples to return, either one number for all rows or one per row, [B]. By default, it
                is taken from `padding_mask`.
            padding_mask: [B, T], as for `encode`. Without `n_samples` and `padding_mask`, all frames are decoded in
                full.

        Returns:
            The samples; see `SilkDecoderOutput`.

        Raises:
            TokensError: the codes have the wrong shape or type, or are out of range.
            ArgumentError: `n_samples` is out of range for the number of frames, `n_samples` or `padding_mask` has the
                wrong shape, or the weights are not float32.
        """
        self._check_dtype()
        levels = codes_to_levels(audio_codes, self.config.codebook_sizes)
        batch, n_frames, _ = levels.shape
        if n_samples is None:
            n_samples = n_frames * FRAME if padding_mask is None else _rows(padding_mask, batch).sum(1)
        lengths = torch.as_tensor(n_samples, device=levels.device)
        if lengths.shape not in ((), (1,), (batch,)):
            raise ArgumentError(
                f"n_samples must be one number, or one number per row, [{batch}]; got the shape {list(lengths.shape)}."
            )
        lengths = lengths.expand(batch)
        if lengths.min() < 1 or lengths.max() > n_frames * FRAME:
            most = n_frames * FRAME
            raise ArgumentError(f"n_samples must be between 1 and {most} for {n_frames} frames; got {n_samples}.")
        states = fresh_states(self.decoder.state_shapes(), batch, levels.device)
        waves = []
        with torch.autocast(levels.device.type, enabled=False):
            for piece in levels.split(PIECE_FRAMES, dim=1):
                wave, states = self.decoder(self.quantizer.decode(piece), states)
                waves.append(wave)
        longest = int(lengths.max())
        own = torch.arange(longest, device=levels.device) < lengths[:, None]
        return SilkDecoderOutput((torch.cat(waves, dim=1)[:, :longest] * own)[:, None])

    def forward(
        self, input_values: Tensor, padding_mask: Tensor | None = None, audio_codes: Tensor | None = None
    ) -> SilkOutput:
        """Encode audio, and decode the codes to audio.

        Args:
            input_values, padding_mask: see `encode`.
            audio_codes: codes to decode instead of encoding the audio, int64 [B, 19, F].

        Returns:
            The codes and the decoded samples; see `SilkOutput`.

        Raises:
            ArgumentError: see `encode`.
            TokensError: see `decode`.
        """
        if audio_codes is None:
            found = self.encode(input_values, padding_mask)
        else:
            _, n_samples = self._waves(input_values, padding_mask)
            found = SilkEncoderOutput(audio_codes, None, n_samples)
        decoded = self.decode(found.audio_codes, found.n_samples)
        return SilkOutput(found.audio_codes, found.audio_codes_mask, found.n_samples, decoded.audio_values)

    def to_tokens(self, found: SilkEncoderOutput | SilkOutput) -> list[Tokens]:
        """Convert each row of a batch to a Tokens object.

        Args:
            found: output of `encode`, or of a call to the model.

        Returns:
            One Tokens object per row.

        Raises:
            ArgumentError: the output has no audio_codes or no n_samples.
        """
        if found.audio_codes is None or found.n_samples is None:
            raise ArgumentError(
                "to_tokens requires audio_codes and n_samples. Pass the output of encode() or of the model."
            )
        rows = zip(found.audio_codes.cpu().numpy(), found.n_samples.tolist(), strict=True)
        fixed = tuple(self.config.codebook_sizes), (SILK_FRAME_RATE,) * len(self.config.codebook_sizes)
        return [
            Tokens(tuple(codes[:, : -(-n // FRAME)]), *fixed, SILK_SAMPLE_RATE, n, self.config.codec)
            for codes, n in rows
        ]

    def from_tokens(self, many: Sequence[Tokens]) -> SilkEncoderOutput:
        """Convert Tokens objects to a batch of codes that `decode` accepts.

        Args:
            many: one Tokens object per row, in any grouping; see `Tokens.regroup`.

        Returns:
            The codes, their mask and the number of samples per row; see `SilkEncoderOutput`.

        Raises:
            ArgumentError: `many` is empty.
            TokensError: the codec id of the tokens differs from that of the model.
        """
        if not many:
            raise ArgumentError("from_tokens requires at least one Tokens object; got none.")
        for tokens in many:
            if tokens.codec != self.config.codec:
                raise TokensError(f"Tokens must be from '{self.config.codec}'; got tokens from '{tokens.codec}'.")
        n_frames = torch.tensor([tokens.n_frames for tokens in many])
        codes = torch.zeros(len(many), len(self.config.codebook_sizes), int(n_frames.max()), dtype=torch.int64)
        for row, tokens in zip(codes, many, strict=True):
            own = tokens.regroup(DIMS_PER_TOKEN).codes
            row[:, : tokens.n_frames] = torch.stack([torch.tensor(stream) for stream in own])
        n_samples = torch.tensor([tokens.n_samples for tokens in many])
        mask = torch.arange(int(n_frames.max())) < n_frames[:, None]
        return SilkEncoderOutput(*(part.to(self.device) for part in (codes, mask, n_samples)))

    def _waves(self, input_values: Tensor, padding_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the zero-padded samples (float32 [B, T]) and the length of each row in samples (int64 [B])."""
        self._check_dtype()
        if input_values.ndim == 3 and input_values.shape[1] == 1:
            input_values = input_values[:, 0]
        if input_values.ndim != 2 or not input_values.numel():
            shape = list(input_values.shape)
            raise ArgumentError(f"input_values must have the shape [batch, 1, samples]; got {shape}.")
        batch, length = input_values.shape
        if padding_mask is None:
            return input_values.float(), torch.full((batch,), length, device=input_values.device)
        mask = _rows(padding_mask, batch).bool()
        n_samples = mask.sum(1)
        expected = torch.arange(length, device=mask.device) < n_samples[:, None]
        if mask.shape != expected.shape or not torch.equal(mask, expected) or n_samples.min() < 1:
            raise ArgumentError(MASK_RULE)
        return input_values.float() * mask, n_samples

    def _check_dtype(self) -> None:
        if self.dtype != torch.float32:
            raise ArgumentError(f"SilkModel must be float32, because other types change the codes; got {self.dtype}.")


def _rows(padding_mask: Tensor, batch: int) -> Tensor:
    """Return a padding mask as [B, T].

    Raises:
        ArgumentError: the mask does not have one row per recording.
    """
    if padding_mask.shape[:1] != (batch,):
        raise ArgumentError(MASK_RULE)
    return padding_mask.reshape(batch, -1)


def levels_to_codes(levels: Tensor) -> Tensor:
    """Convert quantization levels (int64 [B, F, 128]) to codes (int64 [B, 19, F])."""
    padded = nn.functional.pad(levels, (0, -LATENT_WIDTH % DIMS_PER_TOKEN)).unflatten(2, (-1, DIMS_PER_TOKEN))
    return (padded << 3 * torch.arange(DIMS_PER_TOKEN, device=levels.device)).sum(-1).transpose(1, 2)


def codes_to_levels(codes: Tensor, codebook_sizes: Sequence[int]) -> Tensor:
    """Convert codes (int64 [B, 19, F]) to quantization levels (int64 [B, F, 128]).

    Raises:
        TokensError: the codes have the wrong shape or type, or are out of range.
    """
    if codes.ndim != 3 or codes.shape[1] != len(codebook_sizes) or codes.is_floating_point() or not codes.numel():
        got = f"{codes.dtype} {list(codes.shape)}"
        raise TokensError(f"audio_codes must be integers of shape [batch, {len(codebook_sizes)}, frames]; got {got}.")
    sizes = torch.tensor(codebook_sizes, device=codes.device)[:, None]
    if bool(((codes < 0) | (codes >= sizes)).any()):
        raise TokensError(
            f"audio_codes must be between 0 and {codebook_sizes[0] - 1}, and those of the last codebook must be between"
            f" 0 and {codebook_sizes[-1] - 1}."
        )
    shifts = 3 * torch.arange(DIMS_PER_TOKEN, device=codes.device)
    return ((codes.transpose(1, 2)[..., None] >> shifts) & 7).flatten(2)[..., :LATENT_WIDTH]
