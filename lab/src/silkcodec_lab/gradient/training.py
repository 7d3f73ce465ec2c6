"""What a quantizer's training came to: its curves, and how the codes are used on held-out speech."""

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
from silkcodec.quantizers import FSQ, RVQ, MultiScaleRVQ
from silkcodec.spec import SILK_SAMPLE_RATE

Codes = NDArray[np.int64]

CURVES = ("pesq_wb", "stoi", "mel_distance")


def curves(run: Path, weights: dict[str, float]) -> list[dict[str, Any]]:
    """A line a validation: step, hours, the weighted training loss since the last one, and the validation's scores.

    Raises:
        WeightsError: the run has no history.
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
        raise WeightsError(f"a run must hold a whole history.jsonl; '{run}' does not: {error}.") from None


def usage(quantizer: Any, codes: Codes, seed: int = 0) -> list[dict[str, Any]]:
    """How often the entries of each codebook were chosen: codes [F, K] of held-out frames.

    A codebook that several vectors share counts all of them. The dimensions of FSQ are summarised together. The same
    figures for uniformly chosen entries and as few codes are given beside: with many entries and few codes, some are
    never chosen and the entropy is too low for any codebook.

    Returns:
        one dict a codebook: "name", "books" (128 for FSQ), "entries" (of each), "codes_per_frame", "n_codes" (seen of
        each), "dead" and "dead_if_even" (shares of the entries), "bits" and "bits_if_even" (entropy of a code),
        "lowest_share" (of the bits that a code has, in the worst book).
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
    """Name, entries, and the columns of a frame's codes that belong to each book of it.

    >>> from silkcodec.quantizers import RVQ
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
    return [("the only one", len(quantizer.codebook.entries), [every])]


def spacing(quantizer: Any, codes: Codes) -> float:
    """From what a code stands for to the nearest other, as a root mean square per number.

    FSQ: the distance of levels. Codebooks: median over the codes seen; of a chain, its last codebook.
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
    """Runs of the configuration `tiny` with each quantizer, on these few clips: to try the experiment without --run.

    The training is the real one: the same loop, step and losses, reconstruction only.
    """
    from silkcodec.train.config import load_config
    from silkcodec.train.loop import Trainer
    from silkcodec.train.requirements import TRAINING, require

    require("Training", TRAINING)
    for index, wave in enumerate(waves):
        audio.write(folder / "speech" / f"{index:03d}.wav", wave, SILK_SAMPLE_RATE)
    runs = []
    for quantizer in quantizers:
        config = load_config("tiny", [f"model.quantizer={quantizer}", f"log.validate_steps={max(2, steps // 3)}"])
        data = dataclasses.replace(config.data, folder=str(folder / "speech"), cache=str(folder / "cache"))
        stage = dataclasses.replace(config.stage[0], steps=steps)
        trainer = Trainer(dataclasses.replace(config, data=data, stage=(stage,)), folder / quantizer)
        trainer.progress.quiet = True  # the experiment has a progress bar of its own
        trainer.run()
        runs.append(folder / quantizer)
    return runs
