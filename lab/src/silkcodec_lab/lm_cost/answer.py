"""State the question of the language-model experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.pages import Result

QUESTION = "How expensive are a codec's tokens for a language model?"


def answer(result: Result) -> str:
    """Summarize a result in two sentences."""
    found = result["codecs"]
    shares = ", ".join(
        f"{name}{remark(name)} {number(100 * one['share_of_raw_bits'], 1)} %"
        for name, one in found.items()
        if "share_of_raw_bits" in one
    )
    return (
        "With one step per token, a language model for Silk needs "
        f"{number(found['silk']['tokens_per_second'], 1)} steps per second of speech. Cross-entropy of a small model "
        f"as a share of the raw bit rate: {shares}."
    )


def remark(name: str) -> str:
    """Return a remark to append to the name of a codec if its tokens are regrouped, or an empty string."""
    return " (Silk with smaller tokens)" if name.startswith("silk/") else ""
