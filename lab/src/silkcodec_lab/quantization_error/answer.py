"""State the question of the quantization error experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.pages import Result

QUESTION = (
    "How large are the quantization errors of codebooks (up to 4,096 entries) and of FSQ with the same number of bits?"
)


def answer(result: Result) -> str:
    """Summarize a result in a few sentences."""

    def error(latents: str, name: str) -> str:
        return number(100 * result["latents"][latents]["quantizers"][name][-1]["held_out"]["mean"], 1)

    bits = result["latents"]["mel"]["quantizers"]["vq"][-1]["bits"]
    return (
        f"Squared error with {bits} bits, as a share of the variance of held-out speech. Mel patches: VQ "
        f"{error('mel', 'vq')} %, RVQ with two codebooks {error('mel', 'rvq2')} %, rotated FSQ "
        f"{error('mel', 'fsq_pca')} %. Silk's latents: VQ {error('silk', 'vq')} %, FSQ {error('silk', 'fsq')} %."
    )
