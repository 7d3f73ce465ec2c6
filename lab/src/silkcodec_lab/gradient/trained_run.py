"""Read the training curves of a run, and measure its code usage on held-out speech."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silkcodec import audio
from silkcodec.errors import WeightsError
from silkcodec.evaluate.codebooks import entropy_bits
from silkcodec.spec import SILK_SAMPLE_RATE
from silkcodec_torch.quantizers import FSQ, RVQ, MultiScaleRVQ

Codes = NDArray[np.int64]

CURVES = ("pesq_wb", "stoi", "mel_distance")


def curves(run: Path, weights: dict[str, float]) -> list[dict[str, Any]]:
    """Return the training curves of a run, with one entry per validation.

    An entry contains the step, the training time in hours, the validation metrics, and the mean training loss and
    gradient norm since the previous validation.

    Raises:
        WeightsError: The history of the run is missing or damaged.
    """
    file = run / "history.jsonl"
    try:
        lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        return [
            {
                "step": line["step"],
                "hours": line["hours"],
                "loss": sum(weight * line["train"][name] for name, weight in weights.items()),
                "gradient": line["train"]["gradient"],
                **{name: line.get(name) for name in CURVES},
            }
            for line in lines
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"A training run must contain a valid history.jsonl; '{run}' does not: {error}.") from None


def usage(quantizer: Any, codes: Codes, seed: int = 0) -> list[dict[str, Any]]:
    """Return usage statistics for each codebook, computed from the codes of held-out frames, [F, K].

    With few codes, some entries are unused and the entropy is underestimated. For comparison, the statistics therefore
    include values for the same number of uniformly distributed codes.

    Returns:
        A dictionary for each codebook or, for FSQ, a single dictionary for all 128 dimensions, with these keys:

            name, entries         name of the codebook, and its number of entries (FSQ: levels)
            books                 number of codebooks that the dictionary covers: 1 (FSQ: 128, one per dimension)
            codes_per_frame       number of codes per frame
            n_codes               number of counted codes (FSQ: per dimension)
            dead, dead_if_even    share of unused entries, and its expected value for uniformly distributed codes
            bits, bits_if_even    entropy of a code in bits, and its value for simulated uniformly distributed codes
            lowest_share          entropy as a share of its maximum (FSQ: lowest of all dimensions)
    """
    rng = np.random.default_rng(seed)
    found = []
    for name, entries, columns in codebooks(quantizer, codes.shape[1]):
        books = [codes[:, of].ravel() for of in columns]
        counts = [np.bincount(book, minlength=entries) for book in books]
        n_codes = len(books[0])
        bits = [entropy_bits(count) for count in counts]
        found.append(
            {
                "name": name,
                "books": len(books),
                "entries": entries,
                "codes_per_frame": sum(len(of) for of in columns),
                "n_codes": n_codes,
                "dead": float(np.mean([(count == 0).mean() for count in counts])),
                "dead_if_even": (1 - 1 / entries) ** n_codes,
                "bits": float(np.mean(bits)),
                "bits_if_even": entropy_bits(rng.multinomial(n_codes, np.full(entries, 1 / entries))),
                "lowest_share": min(bits) / math.log2(entries),
            }
        )
    return found


def codebooks(quantizer: Any, n_columns: int) -> list[tuple[str, int, list[list[int]]]]:
    """Return the name and the number of entries of each codebook, and the columns of the code array that use it.

    >>> from silkcodec_torch.quantizers import RVQ
    >>> codebooks(RVQ(latent_width=4, vectors=2, codebooks=2, entries=8), 4)
    [('1', 8, [[0, 2]]), ('2', 8, [[1, 3]])]
    """
    every = list(range(n_columns))
    if isinstance(quantizer, FSQ):
        return [("all dimensions", quantizer.n_levels, [[column] for column in every])]
    if isinstance(quantizer, RVQ):
        n = len(quantizer.codebooks)
        return [(f"{k + 1}", len(book.entries), [every[k::n]]) for k, book in enumerate(quantizer.codebooks)]
    if isinstance(quantizer, MultiScaleRVQ):
        ends = np.cumsum(quantizer.codes_per_frame).tolist()
        return [
            (f"{k + 1}, stride {quantizer.strides[k]}", len(book.entries), [every[end - n : end]])
            for k, (book, end, n) in enumerate(zip(quantizer.codebooks, ends, quantizer.codes_per_frame, strict=True))
        ]
    return [("single codebook", len(quantizer.codebook.entries), [every])]


def spacing(quantizer: Any, codes: Codes) -> float:
    """Return the typical RMS distance between a codebook entry and its nearest neighbor.

    For FSQ, this is the distance between levels. For a residual quantizer, only the last codebook is considered.
    """
    if isinstance(quantizer, FSQ):
        return 1 / quantizer.half_width
    _, _, columns = codebooks(quantizer, codes.shape[1])[-1]
    book = quantizer.codebook if not hasattr(quantizer, "codebooks") else quantizer.codebooks[-1]
    seen, counts = np.unique(codes[:, columns[0]], return_counts=True)
    entries: Tensor = book.entries
    distances = torch.cdist(entries[torch.from_numpy(seen)], entries)
    distances[torch.arange(len(seen)), torch.from_numpy(seen)] = torch.inf
    nearest = distances.min(dim=1).values.numpy() / math.sqrt(entries.shape[1])
    return float(np.median(np.repeat(nearest, counts)))


def train_tiny(waves: Sequence[NDArray[np.float32]], folder: Path, steps: int, quantizers: Sequence[str]) -> list[Path]:
    """Train one model per quantizer with the `tiny` configuration, and return the run folders."""
    from silkcodec_torch.train.config import load_config
    from silkcodec_torch.train.loop import Trainer

    for index, wave in enumerate(waves):
        audio.write(folder / "speech" / f"{index:03d}.wav", wave, SILK_SAMPLE_RATE)
    runs = []
    for quantizer in quantizers:
        config = load_config("tiny", [f"model.quantizer={quantizer}", f"log.validate_steps={max(2, steps // 3)}"])
        data = dataclasses.replace(config.data, folder=str(folder / "speech"), cache=str(folder / "cache"))
        stage = dataclasses.replace(config.stage[0], steps=steps)
        trainer = Trainer(dataclasses.replace(config, data=data, stage=(stage,)), folder / quantizer)
        trainer.progress.quiet = True  # The experiment shows its own progress bar.
        trainer.run()
        runs.append(folder / quantizer)
    return runs
