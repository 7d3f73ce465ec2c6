"""What the neural peers (EnCodec, DAC, Mimi, SNAC) share: finding and loading weights, checks, long audio.

A peer's file holds its presets and two methods, `_encode` and `_decode`; here is everything around them.
PyTorch and the models' packages are imported when a codec is built, never before.

**Weights** come from a folder, or from a repository of the Hugging Face hub by way of its cache: what is in
the cache is used as it is, without asking the network. What a codec makes carries the hash of the weights
file, so that tokens never meet a model that did not make them. Files are safetensors; see `load_state`.

**Long audio** goes through a model's convolutions in pieces of `PIECE_S`, each with as much of its
neighbours on both sides as the convolutions reach (`Reach`), which is then cut off: the same numbers as in
one piece (up to float32 rounding, which decides where two codes are equally near), in its memory.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec import audio
from silkcodec.errors import ArgumentError, MissingExtraError, TokensError, WeightsError
from silkcodec.tokens import Tokens

if TYPE_CHECKING:
    import torch

Wave = NDArray[np.float32]

PIECE_S = 10.0  # of audio at once: bounds the memory; most utterances are one piece
SAFETENSORS, TORCH_FILE = "model.safetensors", "pytorch_model.bin"


class NeuralCodec:
    """The base of the neural peers: a `Codec` around a PyTorch model. Stateless between calls.

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

    def decode(self, tokens: Tokens) -> Wave:
        """The wave of these tokens, of any preset of these weights: float32 [tokens.n_samples].

        Raises:
            TokensError: of another codec or other weights, or their number does not fit their n_samples.
        """
        import torch

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
        return [self.encode(wave, sample_rate, n_codebooks=n_codebooks) for wave in waves]

    def decode_batch(self, many: Sequence[Tokens]) -> list[Wave]:
        """The waves of many clips: what `decode` makes of each, to the bit."""
        return [self.decode(tokens) for tokens in many]

    def check_n_codebooks(self, n_codebooks: int | None) -> int:
        """n_codebooks as a number, all of the preset's for None. Raises ArgumentError."""
        k = len(self.codebook_sizes)
        if n_codebooks is not None and n_codebooks not in range(1, k + 1):
            raise ArgumentError(f"n_codebooks must be 1..{k} for '{self.name}'; got {n_codebooks}.")
        return k if n_codebooks is None else int(n_codebooks)

    def check_tokens(self, tokens: Tokens) -> None:
        """Hold tokens to what `decode` takes. Raises TokensError."""
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

    # --- what a peer fills in

    def _n_codes(self, n_samples: int) -> tuple[int, ...]:
        """The number of codes of each of the model's codebooks that a wave of n_samples makes."""
        raise NotImplementedError

    def _encode(self, wave: torch.Tensor, k: int) -> list[torch.Tensor]:
        """A wave, float32 [T], to the codes of the first k codebooks, each int64 [F_k]."""
        raise NotImplementedError

    def _decode(self, codes: list[torch.Tensor], n_samples: int) -> torch.Tensor:
        """The codes of the first codebooks to a wave, float32 [at least n_samples]."""
        raise NotImplementedError


# --- long audio


@dataclass
class Reach:
    """How many samples of a wave a stack of convolutions sees to the left and right of the place it writes.

    Layers are told in order; `step` is the distance of two neighbouring values, in samples of the wave.
    """

    step: int = 1
    left: int = 0
    right: int = 0

    def conv(self, kernel: int, pad: int, stride: int = 1, dilation: int = 1) -> None:
        """A convolution padded by `pad` on the left: value n is made of inputs n * stride - pad and on."""
        self.left += pad * self.step
        self.right += ((kernel - 1) * dilation - pad) * self.step
        self.step *= stride

    def transposed(self, kernel: int, pad: int, stride: int) -> None:
        """A transposed one that drops `pad` on the left: input n goes to n * stride - pad and on."""
        self.step //= stride
        self.left += (kernel - 1 - pad) * self.step
        self.right += pad * self.step

    def frames(self, hop: int) -> tuple[int, int]:
        """Left and right in whole frames of `hop` samples, rounded up."""
        return math.ceil(self.left / hop), math.ceil(self.right / hop)


@dataclass(frozen=True)
class Piece:
    """Frames start..stop of the whole, to be run with those from `left` to `right`."""

    left: int
    start: int
    stop: int
    right: int

    def keep(self, hop: int = 1) -> slice:
        """Of what comes out of the run, `hop` values a frame, those of this piece."""
        return slice((self.start - self.left) * hop, (self.stop - self.left) * hop)


def pieces(n_frames: int, piece: int, left: int, right: int) -> Iterator[Piece]:
    """n_frames cut into pieces of `piece` frames, each with its neighbours' frames on both sides."""
    for start in range(0, n_frames, piece):
        stop = min(start + piece, n_frames)
        yield Piece(max(0, start - left), start, stop, min(n_frames, stop + right))


# --- weights


def require(codec: str, *packages: str) -> None:
    """Import what a codec needs. Raises MissingExtraError that names the pip command."""
    import importlib
    import warnings

    for package in packages:
        try:
            with warnings.catch_warnings():  # snac compiles a function in a way that PyTorch now calls deprecated
                warnings.simplefilter("ignore", DeprecationWarning)
                importlib.import_module(package)
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"The codec '{codec}'", error.name or package, "peers") from error


@dataclass(frozen=True)
class Weights:
    """A model on this machine: its config.json and the file of its weights, in one folder."""

    config: dict[str, Any]
    file: Path

    @property
    def folder(self) -> Path:
        return self.file.parent

    def codec_id(self, model: str) -> str:
        """Model name and 12 hex digits of the SHA-256 of the weights file: "mimi@0a1b2c3d4e5f"."""
        with open(self.file, "rb") as file:
            return f"{model}@{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"

    def check(self, field: str, expected: Any, name: str) -> None:
        """Hold a field of config.json to what the preset says. Raises WeightsError."""
        if self.config.get(field) != expected:
            raise WeightsError(
                f"The weights of '{name}' must have {field} {expected}; '{self.folder}' has {self.config.get(field)};"
                " name the preset that fits them."
            )


def find_weights(name: str, source: str, files: Sequence[str] = (SAFETENSORS,)) -> Weights:
    """The files of a model: in a local folder, else in the hub's cache, else downloaded into it.

    Args:
        name: of the codec, for messages.
        source: a folder, or a repository of the hub ("kyutai/mimi").
        files: the names that the weights may have, best first.

    Raises:
        WeightsError: no such folder, a file is missing, or the repository cannot be reached.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        config, weights = folder / "config.json", next((folder / f for f in files if (folder / f).is_file()), None)
        if weights is None or not config.is_file():
            raise WeightsError(f"A folder of weights must hold config.json and {' or '.join(files)}; got '{folder}'.")
    elif source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise WeightsError(f"The source of '{name}' must be a folder or a repository like owner/name; got '{source}'.")
    else:
        weights, config = _from_hub(name, source, files), _from_hub(name, source, ("config.json",))
    try:
        fields = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"'{config}' must be a JSON file; {error}; download it again.") from error
    if not isinstance(fields, dict):
        raise WeightsError(f"'{config}' must hold the fields of a model; got {type(fields).__name__}.")
    return Weights(fields, weights)


def _from_hub(name: str, repository: str, files: Sequence[str]) -> Path:
    """The first of these files that the cache has; none: the first that the repository has, downloaded."""
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    why = ""
    with quiet():
        for file in files:
            with suppress(hub.LocalEntryNotFoundError, hub.HFValidationError):
                return Path(hf_hub_download(repository, file, local_files_only=True))
        for file in files:
            try:
                return Path(hf_hub_download(repository, file))
            except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled):
                why = "the hub cannot be reached"
                break  # the client has already tried for half a minute
            except hub.EntryNotFoundError:
                why = f"it has no {' or '.join(files)}"
            except hub.RepositoryNotFoundError:
                why = "no such repository, or not without a login"
            except (OSError, ValueError) as error:  # the disk is full, a name that cannot be one
                why = _first_line(error)
    raise WeightsError(
        f"The weights of '{name}' must be in a folder, in the cache or in the hub's repository '{repository}': {why};"
        f" run: hf download {repository}, or name a folder: {name}@FOLDER."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no warnings of the hub's libraries; what the user had set comes back after it."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from huggingface_hub.utils import logging as hub_logging

    verbosity, bars = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    hub_logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if bars:
            enable_progress_bars()


def load_transformer(name: str, model_class: Any, weights: Weights) -> Any:
    """A model of `transformers` in float32, for inference, with every one of its weights from the file.

    Raises:
        WeightsError: not this kind of model, or files that are damaged or do not fit it.
    """
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging

    kind = model_class.config_class.model_type
    if weights.config.get("model_type") != kind:
        raise WeightsError(
            f"The weights of '{name}' must be of a model of type {kind};"
            f" '{weights.folder}' holds {weights.config.get('model_type')!r}."
        )
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with quiet(), torch.random.fork_rng(devices=[]):  # layers are made with random numbers, then filled
            model, report = model_class.from_pretrained(
                weights.folder,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"'{weights.folder}' must hold a {kind} model; {_first_line(error)}; download it again."
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    absent = sorted(report["missing_keys"])
    if absent:  # transformers would fill them with random numbers
        raise WeightsError(f"'{weights.file}' must hold all weights of a {kind} model; it lacks {absent[0]}.")
    return model.eval()


def load_state(weights: Weights) -> dict[str, torch.Tensor]:
    """The tensors of a weights file.

    SNAC is published only as `pytorch_model.bin`, which is a pickle. It is read with `weights_only=True`:
    PyTorch's own reader then knows nothing but tensors and containers, and no code in the file can run.

    Raises:
        WeightsError: the file is damaged, or holds anything but tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    damaged = (OSError, EOFError, ValueError, RuntimeError, TypeError, _unpickling_error(), SafetensorError)
    try:
        if weights.file.suffix == ".safetensors":
            return dict(load_file(weights.file))
        return dict(torch.load(weights.file, map_location="cpu", weights_only=True))
    except damaged as error:
        raise WeightsError(
            f"'{weights.file}' must hold tensors and nothing else; {_first_line(error)}; download it again."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _unpickling_error() -> type[Exception]:
    """What PyTorch's reader raises for a file that would run code. The module it comes from is banned here."""
    import torch

    error: type[Exception] = torch.serialization.pickle.UnpicklingError
    return error
