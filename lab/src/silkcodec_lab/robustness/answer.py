"""State the question of the robustness experiment, and summarize the answer."""

from __future__ import annotations

from silkcodec.evaluate.markdown import number
from silkcodec_lab.metric_tables import quantizer_label
from silkcodec_lab.pages import Result

QUESTION = "How do bit errors and lost frames affect quality?"


def answer(result: Result) -> str:
    """Summarize a result in one sentence."""
    rate = max(entry["rate"] for entry in result["flips"])
    losses = []
    for codec in result["codecs"]:
        clean = next(one for one in result["clean"] if one["codec"] == codec)
        worst = next(one for one in result["flips"] if one["codec"] == codec and one["rate"] == rate)
        loss = clean["metrics"]["stoi"]["mean"] - worst["metrics"]["stoi"]["mean"]
        losses.append((loss, f"{quantizer_label(codec)} (small model)" if codec.startswith("run:") else codec))
    order = ", ".join(f"{name} {number(loss, 2)}" for loss, name in sorted(losses))
    return f"Decrease in STOI at a bit error rate of {100 * rate:g} %: {order}."
