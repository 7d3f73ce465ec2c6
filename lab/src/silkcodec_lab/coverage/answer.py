"""The experiment's question and answer, each in a sentence or two."""

from __future__ import annotations

from silkcodec_lab.coverage.about import headline
from silkcodec_lab.pages import Result

QUESTION = "does a codebook cover a language that is not in its training set worse than unseen speakers of its own?"


def answer(result: Result) -> str:
    """Return the answer with the figures of a result."""
    found = result["views"]["level"]
    apart = found["quantizers"][headline(found)]["against_unseen"]
    points = "; ".join(f"{group} {_points(one['inside'])}" for group, one in apart.items())
    beyond = [one["inside_beyond_fsq"] for one in apart.values()]
    n_worse = sum(entry["high"] is not None and entry["high"] < 0 for entry in beyond)
    return (
        f"Points of coverage relative to unseen speakers of the training language: {points}. The codebook loses more "
        f"than a grid at equal bits in {n_worse} of {len(beyond)} groups."
    )


def _points(entry: Result) -> str:
    mean, low, high = (100 * entry[key] for key in ("mean", "low", "high"))
    return f"{mean:+.1f} [{low:.1f}, {high:.1f}]"
