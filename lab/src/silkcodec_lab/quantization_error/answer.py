"""The experiment's question and answer, each in a sentence or two."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.pages import Result

QUESTION = "how large is the quantization error of a codebook of 2 to 4,096 entries, and of FSQ at equal bits?"


def answer(result: Result) -> str:
    """Return the answer with the figures of a result."""

    def lost(of: str, name: str) -> str:
        return number(100 * result["latents"][of]["quantizers"][name][-1]["held_out"]["mean"], 1)

    bits = result["latents"]["mel"]["quantizers"]["vq"][-1]["bits"]
    return (
        f"Of mel patches at {bits} bits, held-out speech loses {lost('mel', 'vq')} % of its variance to VQ, "
        f"{lost('mel', 'rvq2')} % to RVQ of two codebooks, {lost('mel', 'fsq_pca')} % to a rotated grid. Of Silk's own "
        f"latents: {lost('silk', 'vq')} % to VQ, {lost('silk', 'fsq')} % to FSQ."
    )
