"""State the question of the bandwidth experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.metric_tables import quantizer_label
from silkcodec_lab.pages import Result

QUESTION = "How does quality depend on the number of tokens per second?"


def answer(result: Result) -> str:
    """Summarize a result in a few sentences."""
    whole, half = {}, {}
    for name in (name for name in result["codecs"] if name.startswith("run:")):
        points = [point for point in result["points"] if point["codec"] == name and point["how"] == "first"]
        full = max(points, key=lambda point: point["kept"])
        close = min(points, key=lambda point: abs(point["bits_per_second"] - full["bits_per_second"] / 2))
        whole[name], half[name] = (point["metrics"]["stoi"]["mean"] for point in (full, close))
    order = sorted(whole, key=lambda name: -whole[name])

    def listed(values: dict[str, float], n_digits: int) -> str:
        return ", ".join(f"{quantizer_label(name)} {number(values[name], n_digits)}" for name in order)

    return (
        f"STOI of small models with the same training and bit rate: {listed(whole, 3)}. At about half the bit rate: "
        f"{listed(half, 2)}. Only RVQ was trained with quantizer dropout, i.e. with missing codebooks."
    )
