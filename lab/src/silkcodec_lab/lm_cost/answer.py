"""The experiment's question and answer, each in a sentence or two."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.pages import Result

QUESTION = "what do a codec's tokens cost a language model?"


def answer(result: Result) -> str:
    """Return the answer with the figures of a result."""
    found = result["codecs"]
    shares = ", ".join(
        f"{name} {number(100 * one['share_of_raw_bits'], 1)} %"
        for name, one in found.items()
        if "share_of_raw_bits" in one
    )
    return (
        f"Silk takes {number(found['silk']['tokens_per_second'], 1)} steps per second of speech. Bits that a small "
        f"model needs, as a share of the raw bits: {shares}."
    )
