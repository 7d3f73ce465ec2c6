"""Convert a Silk weights folder to a folder for `AutoModel.from_pretrained` and the Hugging Face Hub.

    config.json               SilkConfig
    model.safetensors         weights of the network, large tensors in float16
    preprocessor_config.json  SilkFeatureExtractor
    tokenizer_config.json     SilkTokenizer
    README.md                 model card with example code
    LICENSE                   silkcodec license

An export is checked against golden.npz, the test data in the weights folder. The files are moved to the output
folder only if the exported model returns the expected tokens and audio.
"""

from __future__ import annotations

import os
import re
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from silkcodec.errors import OutputError, WeightsError
from silkcodec.silk import EMBEDDED
from silkcodec.silk.weights_config import WeightsConfig
from silkcodec_torch.baselines.weights import SAFETENSORS, find_weights, load_transformer
from silkcodec_torch.hf import SilkConfig, SilkFeatureExtractor, SilkModel, SilkTokenizer
from silkcodec_torch.train import export as weights_export

LICENSE = Path(__file__).parents[4] / "LICENSE"  # used in a source tree if silkcodec is not installed

CARD = """---
library_name: transformers
license: other
license_name: apache-2.0-see-model-card
license_link: LICENSE
pipeline_tag: feature-extraction
tags: [audio, speech, codec, tokenizer, silkcodec]
---

# Silk for transformers

A neural speech codec for voice language models. It encodes 24 kHz speech to 47.5 tokens per second (960 bit/s).

Silk is not on PyPI yet, so install it from a checkout of its repository:

    pip install . './pytorch[hf]'

```python
import silkcodec_torch.hf  # registers Silk with the Auto classes
from transformers import AutoFeatureExtractor, AutoModel

extractor = AutoFeatureExtractor.from_pretrained("{folder}")
model = AutoModel.from_pretrained("{folder}")

inputs = extractor(waves, sampling_rate=sampling_rate, return_tensors="pt")  # a list of arrays at any sample rate
found = model.encode(**inputs)  # found.audio_codes: int64 [batch, 19, frames], 2.5 frames per second
decoded = model.decode(found.audio_codes, found.n_samples)  # decoded.audio_values: [batch, 1, samples] at 24 kHz
tokens = model.to_tokens(found)  # for .silk files, and for silkcodec without PyTorch
```

The codes equal those of `silkcodec.load()` with the same weights, `{codec}`. Keep the weights in float32, because other
types change the codes.

"""


def export(source: str | Path | None, out: str | Path) -> SilkConfig:
    """Export weights to a folder for `transformers`.

    Args:
        source: a weights folder or a run folder. None means the weights that ship with silkcodec.
        out: output folder, created if necessary. Files of an earlier export are overwritten.

    Raises:
        ArgumentError: `source` is a run whose config is invalid or whose model does not use FSQ.
        WeightsError: the weights are missing or damaged, or the exported model does not match the weights.
        OutputError: `out` cannot be written to, or contains files with the same names from another source.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as made:
            made_folder, weights = Path(made) / "folder", Path(EMBEDDED if source is None else source)
            made_folder.mkdir()
            if (weights / "checkpoint.safetensors").exists():
                run, weights = weights, Path(made) / "weights"
                weights.mkdir()
                weights_export.write_folder(weights, *weights_export.load_run(run), None, [])
            config = write_folder(weights, made_folder, out.name)
            names = sorted(path.name for path in made_folder.iterdir())
            weights_export.check_replaceable(out, names, "model_type")
            for name in names:
                os.replace(made_folder / name, out / name)
    except OSError as error:
        raise OutputError(f"Cannot write to the export folder '{out}': {error.strerror or error}.") from error
    return config


def write_folder(weights: Path, folder: Path, name: str) -> SilkConfig:
    """Convert Silk weights to a `transformers` model, and write its files to a folder.

    Args:
        weights: folder of Silk weights.
        folder: empty output folder.
        name: folder name in the example code of the model card.

    Returns:
        The config of the exported model.

    Raises:
        WeightsError: the weights are damaged, config.json does not list the network sizes, or the exported model does
            not match the weights.
    """
    described = WeightsConfig.read(weights)
    if not described.network:
        raise WeightsError(
            f"The config.json in '{weights}' does not list the dimensions of the network. Export the weights again."
        )
    config = SilkConfig(codec=f"{described.name}@{described.weights_hash}", **described.network)
    model = SilkModel(config).eval()
    weights_export.load_weights(model, weights)
    config.architectures, config.dtype = ["SilkModel"], "float32"
    config.save_pretrained(folder)
    small = weights_export.SMALL
    tensors = {key: value.half() if value.numel() > small else value for key, value in model.state_dict().items()}
    contiguous = {key: value.contiguous() for key, value in tensors.items()}
    (folder / SAFETENSORS).write_bytes(save(contiguous, {"format": "pt"}))
    SilkFeatureExtractor().save_pretrained(folder)
    SilkTokenizer(codec=config.codec).save_pretrained(folder)
    card = weights / "README.md"
    own = card.read_text(encoding="utf-8") if card.is_file() else ""
    own = re.sub(r"^Two ONNX graphs .*\n", "", own, flags=re.MULTILINE)  # This folder contains no graphs.
    (folder / "README.md").write_text(CARD.format(folder=name, codec=config.codec) + own, encoding="utf-8")
    (folder / "LICENSE").write_text(license_text(), encoding="utf-8")
    check(folder, weights / "golden.npz")
    return config


def license_text() -> str:
    """Return the text of silkcodec's license.

    Raises:
        WeightsError: the license file is missing.
    """
    try:
        text = distribution("silkcodec").read_text("licenses/LICENSE")
    except PackageNotFoundError:
        text = None
    if text is None and LICENSE.is_file():
        text = LICENSE.read_text(encoding="utf-8")
    if text is None:
        raise WeightsError(
            "Cannot find silkcodec's LICENSE file, which every export must contain. Reinstall silkcodec."
        )
    return text


def check(folder: Path, golden_file: Path) -> None:
    """Check that an exported model reproduces the tokens and, to within 1e-4, the audio in golden.npz.

    Raises:
        WeightsError: the tokens or the audio differ, or golden.npz cannot be read.
    """
    try:
        golden = np.load(golden_file)
        wave, levels, expected = golden["wave"], golden["levels"], golden["decoded"]
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(f"Cannot read '{golden_file}': {error}. Export the weights again.") from None
    model = load_transformer("silk", SilkModel, find_weights("silk", str(folder)))
    found = model.encode(torch.from_numpy(wave)[None])
    different = int((model.to_tokens(found)[0].to_levels() != levels).sum())
    with torch.no_grad():
        decoded = model.decode(found.audio_codes, found.n_samples).audio_values[0, 0].numpy()
    off = float(np.abs(decoded - expected).max())
    if different or off > 1e-4:
        raise WeightsError(
            f"The exported model does not reproduce the test data in golden.npz: {different} of {levels.size} levels"
            f" differ, and the decoded samples differ by up to {off:.1e}."
        )
