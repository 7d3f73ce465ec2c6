"""Define the `explain` command. For experiments, see `silk lab`, which is in a separate distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from silkcodec.cli.options import Weights


def explain(
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the address without opening a browser.")
    ] = False,
    port: Annotated[int, typer.Option("--port", help="Local port. 0 selects a free port.")] = 0,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write the page and the weights to a folder and exit.")
    ] = None,
    weights: Weights = None,
) -> None:
    """Open a local page that explains codecs and runs the model."""
    from silkcodec.serve import explain as page

    if export is None:
        page.explain(port=port, open_browser=not no_browser, weights=weights)
    else:
        page.export(export, weights=weights)
        print(f"Wrote the page to '{export}'. Any static web server can serve this folder.")
