"""Define the settings of the coverage experiment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from silkcodec.errors import ArgumentError
from silkcodec_lab.coverage.speech import Patches, Speaker

HOLD_OUT = ("speaker", "source")
PER_ENTRY = 4  # minimum number of training vectors per entry of a codebook


@dataclass(frozen=True)
class CoveragePlan:
    """Hold the settings of the coverage experiment.

    Attributes:
        vq: Sizes of the VQ codebooks to measure.
        rvq_entries: Number of entries of each residual codebook.
        rvq_lengths: Numbers of residual codebooks to measure.
        hold_out: Kind of control group: "speaker" for unseen speakers, "source" for unseen sources.
        folds: Number of cross-validation folds of the training speech.
        sounds: Whether to also measure coverage by Mandarin tone, Arabic consonant class, and pitch.
        kmeans_steps: Number of k-means steps.
        seed: Random seed.
        patches: Settings for the extraction of vectors from speech.
    """

    vq: tuple[int, ...] = (64, 1024)
    rvq_entries: int = 256
    rvq_lengths: tuple[int, ...] = (1, 2, 4, 8)
    hold_out: str = "speaker"
    folds: int = 4
    sounds: bool = False
    kmeans_steps: int = 10
    seed: int = 0
    patches: Patches = field(default_factory=Patches)

    def __post_init__(self) -> None:
        if self.hold_out not in HOLD_OUT:
            raise ArgumentError(f"--hold-out must be one of {', '.join(HOLD_OUT)}; got '{self.hold_out}'.")
        if self.sounds and self.patches.of != "mel":
            raise ArgumentError("--sounds needs --vectors mel. Use --no-sounds with --vectors latents.")
        if self.folds < 2:
            raise ArgumentError(f"--folds must be at least 2; got {self.folds}.")

    def limited(self, n_vectors: int) -> CoveragePlan:
        """Return a copy of the plan with smaller codebooks if `n_vectors` training vectors are too few."""
        largest = 2 ** int(np.log2(max(2, n_vectors / PER_ENTRY)))
        sizes = tuple(dict.fromkeys(min(size, largest) for size in self.vq))
        return replace(self, vq=sizes, rvq_entries=min(self.rvq_entries, largest))

    def key(self, speaker: Speaker) -> str:
        """Return the name of a speaker or, if sources are held out, of the speaker's source."""
        return speaker.name if self.hold_out == "speaker" else speaker.source
