"""Define the `serve` command."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from silkcodec.cli.options import Weights
from silkcodec.errors import ArgumentError, import_extra
from silkcodec.parallel.cores import available_cores


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65_535, help="Port to listen on. 0 selects a free port.")
    ] = 8000,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the bearer token. Default: $SILK_TOKEN.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Allow access without a token.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes for live streams. Default: one per core.")
    ] = None,
    file_workers: Annotated[int, typer.Option("--file-workers", min=1, help="Processes for uploaded files.")] = 1,
    batch: Annotated[int, typer.Option("--batch", min=1, max=64, help="Maximum frames per model call.")] = 8,
    streams: Annotated[int, typer.Option("--max-streams", min=1, help="Maximum number of open streams.")] = 64,
    client_streams: Annotated[
        int | None,
        typer.Option("--max-client-streams", min=1, help="Maximum number of open streams per address."),
    ] = None,
    rate: Annotated[
        int, typer.Option("--rate", min=1, help="Maximum requests and streams per address per minute.")
    ] = 600,
    max_mb: Annotated[int, typer.Option("--max-mb", min=1, help="Maximum size of an upload in MiB.")] = 32,
    max_s: Annotated[
        float, typer.Option("--max-seconds", min=1, help="Maximum duration of an upload in seconds.")
    ] = 600.0,
    drain_s: Annotated[
        float, typer.Option("--drain", min=1, help="Seconds to finish work in progress after SIGTERM.")
    ] = 20.0,
    weights: Weights = None,
) -> None:
    """Serve Silk over HTTP and WebSocket (requires the [serve] extra).

    The server encodes and decodes uploaded files and live streams.
    """
    settings = import_module("silkcodec.serve.settings")
    limits = settings.Limits(
        body_bytes=max_mb << 20,
        duration_s=max_s,
        sessions=streams,
        client_sessions=client_streams or streams,
        per_minute=rate,
        drain_s=drain_s,
    )
    if no_token and token_file:
        raise ArgumentError("--no-token cannot be combined with --token-file.")
    token = None if no_token else settings.read_token(token_file)
    n_workers = workers or available_cores()
    chosen = settings.Settings(host, port, token, n_workers, file_workers, batch, weights, limits)
    chosen.check_open(no_token)
    import_extra("silkcodec.serve.server", "The server", "serve").serve(chosen)
