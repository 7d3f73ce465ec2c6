"""What the coverage experiment fits, and on whom."""

from __future__ import annotations

from dataclasses import dataclass, field

from silkcodec.errors import ArgumentError
from silkcodec_lab.coverage.speech import Patches, Speaker

HOLD_OUT = ("speaker", "source")


@dataclass(frozen=True)
class Plan:
    """What is fitted, and on whom; `sounds`: also what becomes of tones, Arabic sounds and pitch."""

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
            raise ArgumentError("--sounds needs --vectors mel; for latents give --no-sounds.")
        if self.folds < 2:
            raise ArgumentError(f"--folds must be at least 2; got {self.folds}.")

    def key(self, speaker: Speaker) -> str:
        return speaker.name if self.hold_out == "speaker" else speaker.source
