"""State the question of the coverage experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec_lab.coverage.about import group_label, headline
from silkcodec_lab.metric_tables import estimate
from silkcodec_lab.pages import Result

QUESTION = (
    "Does a codebook cover speech in other languages less well than speech by unseen speakers of its training language?"
)


def answer(result: Result) -> str:
    """Summarize a result in a few sentences."""
    found = result["views"]["level"]
    differences = found["quantizers"][headline(found)]["against_unseen"]
    points = "; ".join(
        f"{group_label(group)} {estimate(one['inside'], 1, scale=100, signed=True)}"
        for group, one in differences.items()
    )
    excess = [one["inside_beyond_fsq"] for one in differences.values()]
    n_worse = sum(entry["high"] is not None and entry["high"] < 0 for entry in excess)
    return (
        f"Change in coverage relative to unseen speakers of the training language, in percentage points: {points}. In "
        f"{n_worse} of {len(excess)} groups, the codebook loses significantly more coverage than FSQ with the "
        "same number of bits."
    )
