"""State the question of the residual experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.pages import Result

QUESTION = "How much of the error does each codebook of a residual quantizer remove at one moment in a recording?"


def answer(result: Result) -> str:
    """Summarize a result in two sentences."""
    left = [stage["error_db"] for stage in result["stages"]]
    some = [1, *(n for n in (4, 8) if n < len(left)), len(left)]
    errors = ", ".join(f"{number(left[n - 1], 1)} dB ({n})" for n in some)
    removed = [before - after for before, after in zip([result["mean_error_db"], *left[:-1]], left, strict=True)]
    most = f"Codebook {removed.index(max(removed)) + 1} removes the largest part."
    return f"Error by number of codebooks: {number(result['mean_error_db'], 1)} dB (0), {errors}. {most}"
