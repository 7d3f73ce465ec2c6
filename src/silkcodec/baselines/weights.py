"""Finding and loading the weights of the neural baselines: a folder, or the Hugging Face hub by way of its cache.

What is in the cache is used as it is, without asking the network. Files are safetensors; see `load_state` for
the one exception. What a codec makes carries the hash of the weights file, so that tokens never meet a model
that did not make them.
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
    """Import what a codec needs. Raises MissingExtraError that names the pip command."""
    for package in packages:
        with warnings.catch_warnings():  # snac compiles a function in a way that PyTorch now calls deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            import_extra(package, f"The codec '{codec}'", "baselines")


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
    fields = read_json(config)
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
