"""Find the weights of a neural baseline codec in a local folder or on the Hugging Face Hub, and load them.

Cached files are used without a network request. Tokens store a hash of the weights file, so they cannot be decoded with
different weights.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from silkcodec.errors import WeightsError, import_extra
from silkcodec.silk.weights_config import read_json

if TYPE_CHECKING:
    import torch

SAFETENSORS, TORCH_FILE = "model.safetensors", "pytorch_model.bin"


def require(codec: str, *packages: str) -> None:
    """Import the packages that a codec needs.

    Raises:
        MissingExtraError: a package is not installed.
    """
    for package in packages:
        with warnings.catch_warnings():  # snac calls a function that PyTorch has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            import_extra(package, f"The codec '{codec}'", "baselines", "silkcodec-torch")


@dataclass(frozen=True)
class Weights:
    """Hold a model's configuration and the path of its weights file."""

    config: dict[str, Any]
    file: Path

    @property
    def folder(self) -> Path:
        """Return the folder that contains config.json and the weights file."""
        return self.file.parent

    def codec_id(self, model: str) -> str:
        """Return `model` and the first 12 hex digits of the SHA-256 of the weights, e.g. "mimi@0a1b2c3d4e5f"."""
        with open(self.file, "rb") as file:
            return f"{model}@{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"

    def check(self, field: str, expected: Any, name: str) -> None:
        """Check the value of a field in config.json.

        Args:
            field: name of the field.
            expected: required value.
            name: name of the codec, for error messages.

        Raises:
            WeightsError: the field has a different value.
        """
        if self.config.get(field) != expected:
            raise WeightsError(
                f"The weights of '{name}' must have {field} = {expected}; got {self.config.get(field)} in "
                f"'{self.folder}'. Choose the preset that matches the weights."
            )


def find_weights(name: str, source: str, files: Sequence[str] = (SAFETENSORS,)) -> Weights:
    """Find a model in a local folder or in the Hugging Face cache, or download it from the Hub.

    Args:
        name: name of the codec, for error messages.
        source: local folder or Hugging Face repository, e.g. "kyutai/mimi".
        files: possible names of the weights file, in order of preference.

    Raises:
        WeightsError: the folder does not exist, a file is missing, or the repository cannot be reached.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        config, weights = folder / "config.json", next((folder / f for f in files if (folder / f).is_file()), None)
        if weights is None or not config.is_file():
            raise WeightsError(f"The weights folder '{folder}' must contain config.json and {' or '.join(files)}.")
    elif source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise WeightsError(
            f"The source of '{name}' must be a folder or a repository in the form owner/name; got '{source}'."
        )
    else:
        weights, config = _from_hub(name, source, files), _from_hub(name, source, ("config.json",))
    fields = read_json(config)
    if not isinstance(fields, dict):
        raise WeightsError(f"'{config}' must contain a JSON object; got {type(fields).__name__}.")
    return Weights(fields, weights)


def _from_hub(name: str, repository: str, files: Sequence[str]) -> Path:
    """Return the path of the first cached file or, if none is cached, of the first that can be downloaded."""
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    reason = ""
    with quiet():
        for file in files:
            with suppress(hub.LocalEntryNotFoundError, hub.HFValidationError):
                return Path(hf_hub_download(repository, file, local_files_only=True))
        for file in files:
            try:
                return Path(hf_hub_download(repository, file))
            except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled):
                reason = "the Hub cannot be reached"
                break  # The client has already retried for half a minute.
            except hub.EntryNotFoundError:
                reason = f"it has no {' or '.join(files)}"
            except hub.RepositoryNotFoundError:
                reason = "the repository does not exist or needs a login"
            except (OSError, ValueError) as error:  # e.g. the disk is full, or the name is invalid
                reason = _first_line(error)
    raise WeightsError(
        f"Cannot load the weights of '{name}' from the repository '{repository}': {reason}."
        f" Run `hf download {repository}`, or pass a folder: {name}@FOLDER."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the progress bars and warnings of `huggingface_hub` within the context."""
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
    """Load a `transformers` model in float32 for inference.

    Args:
        name: name of the codec, for error messages.
        model_class: class of the model.
        weights: result of `find_weights`.

    Raises:
        WeightsError: the files are damaged or incomplete, or describe a different kind of model.
    """
    import torch
    from safetensors import SafetensorError
    from transformers.utils import logging

    kind = model_class.config_class.model_type
    if weights.config.get("model_type") != kind:
        raise WeightsError(
            f"The weights of '{name}' must be for a model of type '{kind}';"
            f" got '{weights.config.get('model_type')}' in '{weights.folder}'."
        )
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with quiet(), torch.random.fork_rng(devices=[]):  # Layers are initialized with random numbers before loading.
            model, report = model_class.from_pretrained(
                weights.folder,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"Cannot load a '{kind}' model from '{weights.folder}': {_first_line(error)}. Download the model again."
        ) from error
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
    absent = sorted(report["missing_keys"])
    if absent:  # transformers initializes missing weights randomly.
        raise WeightsError(f"'{weights.file}' does not contain the tensor '{absent[0]}'. Download the file again.")
    return model.eval()


def load_state(weights: Weights) -> dict[str, torch.Tensor]:
    """Load the tensors of a weights file.

    SNAC's weights are published only as a pickle, `pytorch_model.bin`. It is loaded with `weights_only=True`, so it
    cannot run code.

    Raises:
        WeightsError: the file is damaged or contains objects other than tensors.
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
            f"Cannot load tensors from '{weights.file}': {_first_line(error)}. Download the file again."
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _unpickling_error() -> type[Exception]:
    """Return `pickle.UnpicklingError` without importing `pickle`. PyTorch raises it for files that would run code."""
    import torch

    error: type[Exception] = torch.serialization.pickle.UnpicklingError
    return error
