"""Write two parts of the coverage page: coverage by sound and pitch, and the quality of resynthesized speech."""

from __future__ import annotations

from typing import Any

from silkcodec.evaluate.markdown import digits, table
from silkcodec.evaluate.metrics import METRICS
from silkcodec_lab.coverage.about import group_label, label
from silkcodec_lab.coverage.intervals import FEW, SEEN
from silkcodec_lab.metric_tables import estimate
from silkcodec_lab.pages import Result

KIND_TITLES = {"tone": "tone", "sound": "Arabic sound", "height": "F0", "movement": "F0 movement"}


def sounds_method(result: Result) -> list[str]:
    """Return the method paragraph on sound classes, or an empty list if they were not measured."""
    if not result.get("sounds"):
        return []
    return [
        "**Sounds.** Coverage of the original vectors is also measured for sound classes. The classes are Mandarin "
        "tones, Arabic words with emphatic or pharyngeal consonants or with neither, ranges of the fundamental "
        "frequency (F0), and F0 movements. *Falls fast* and *rises fast* mean more than 30 semitones per second, and "
        "*level* means less than 10. The coverage of the same speaker's other vectors is subtracted from the coverage "
        "of each class. The result for the grid is then subtracted from the result for the codebook."
    ]


def rebuilt_method(result: Result) -> list[str]:
    """Return the method paragraph on resynthesized speech, or an empty list if it was not measured."""
    if not result.get("rebuilt"):
        return []
    settings = result["rebuilt"]["settings"]
    return [
        f"**Resynthesis.** For up to {settings['speakers']} speakers per group, the spectrogram of a "
        f"{settings['seconds']:g} s excerpt is quantized and converted to audio with the Griffin-Lim algorithm. The "
        "audio is compared with audio from the same spectrogram without quantization. *F0 RMSE* is the RMS error in "
        "the fundamental frequency, in cents (1/100 of a semitone). *Mel distance* is the mean absolute difference "
        "between log-mel spectrograms."
    ]


def sounds_findings(result: Result) -> list[str]:
    """Return the section on coverage by sound and pitch, or an empty list if it was not measured."""
    if not result.get("sounds"):
        return []
    rows, n = _significant(result["sounds"])
    heading = "### Coverage by sound and pitch"
    if not n:
        return [heading, "There are too few speakers for a comparison."]
    header = ["codebook", "kind", "class", "group", "codebook - grid"]
    return [
        heading,
        f"The table lists the {len(rows)} significant differences (in percentage points) among {n} comparisons with "
        f"at least {FEW} speakers. About one in twenty comparisons would be significant by chance. If a value is "
        "below 0, the codebook loses more coverage in this class than the grid does. For F0 and F0 movement, the "
        "value for unseen speakers is subtracted.",
        table(header, rows, numeric=[False, False, False, False, True]),
    ]


def _significant(found: dict[str, Any]) -> tuple[list[list[str]], int]:
    """Return a row for each significant difference between a codebook and its grid, and the number of comparisons."""
    rows, n = [], 0
    for name, one in found.items():
        for kind, title in KIND_TITLES.items():
            # Classes of pitch exist in all groups, so they are also compared with unseen speakers.
            key = "beyond_grid_and_unseen" if kind in ("height", "movement") else "beyond_grid"
            for word, groups in one.get(kind, {}).items():
                for group, entry in ((group, found[key]) for group, found in groups.items() if key in found):
                    if entry["n"] < FEW:
                        continue
                    n += 1
                    if entry["high"] < 0 or entry["low"] > 0:
                        points = estimate(entry, 1, scale=100, signed=True)
                        rows.append([label(name), title, word, group_label(group), points])
    return rows, n


def rebuilt_findings(result: Result) -> list[str]:
    """Return the section on the quality of resynthesized speech, or an empty list if it was not measured."""
    found = result.get("rebuilt")
    if not found:
        return []
    metrics = ("f0_rmse_cents", "mel_distance")
    rows = []
    for name in found["grids"]:
        for group, first in found["of"][name][metrics[0]].items():
            if "against_unseen" in first and group != SEEN:
                cells = [
                    estimate(entry.get(key), digits(metric), signed=True)
                    for metric in metrics
                    for entry in [found["of"][name][metric].get(group, {})]
                    for key in ("against_unseen", "beyond_grid_and_unseen")
                ]
                rows.append([label(name), group_label(group), *cells])
    if not rows:
        return []
    titles = [METRICS[metric].label + (", cents" if metric == metrics[0] else "") for metric in metrics]
    return [
        "### Quality after resynthesis",
        "The table shows the error for each group minus the error for unseen speakers. In the *minus grid* columns, "
        "the same difference for the grid is subtracted. Values above 0 mean a larger error.",
        table(
            ["codebook", "group", titles[0], "minus grid", titles[1], "minus grid"],
            rows,
            numeric=[False, False, True, True, True, True],
        ),
    ]
