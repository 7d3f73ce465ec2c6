"""The verb `explain`. Experiments are verbs of `silk lab`, a distribution of its own."""

from __future__ import annotations

from typing import Annotated

import typer

from silkcodec.cli.options import Weights


def explain(
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only say where the page is.")] = False,
    port: Annotated[int, typer.Option("--port", help="Of this machine, which alone can reach it; 0: a free one.")] = 0,
    weights: Weights = None,
) -> None:
    """Open a page that shows how codecs work, with the model in it."""
    from silkcodec.serve.explain import explain

    explain(port=port, open_browser=not no_browser, weights=weights)
