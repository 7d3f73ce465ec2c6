"""Define the `encode`, `decode`, `roundtrip`, `info` and `codecs` commands."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from silkcodec.cli.options import (
    Channel,
    Entropy,
    Force,
    Json,
    Normalize,
    Out,
    Provider,
    Rescale,
    Silks,
    Skip,
    Sounds,
    Subtype,
    Threads,
    Weights,
)
from silkcodec.errors import ArgumentError
from silkcodec.progress import SoundProgress


def encode(
    inputs: Sounds,
    output: Out = None,
    force: Force = False,
    skip_existing: Skip = False,
    entropy: Entropy = False,
    channel: Channel = None,
    normalize: Normalize = False,
    as_json: Json = False,
    threads: Threads = None,
    provider: Provider = "cpu",
    weights: Weights = None,
) -> None:
    """Encode audio files to .silk files."""
    from silkcodec import files
    from silkcodec.cli import console, paths
    from silkcodec.silk import Silk

    _check_entropy(entropy)
    jobs = paths.plan(inputs, output, paths.AUDIO, ".silk", overwrite=force, skip_existing=skip_existing)
    codec = Silk(weights, threads=threads, provider=provider)

    def work(job: paths.Job, progress: SoundProgress) -> None:
        done = files.encode_file(
            codec,
            job.source,
            job.target,
            entropy=entropy,
            channel=channel,
            overwrite=force,
            normalize=normalize,
            opened=progress.opened,
            advance=progress.advance,
        )
        console.show_coding(done, as_json, jobs)

    _finish(console.run_jobs(jobs, "encode", work), len(jobs))


def decode(
    inputs: Silks,
    output: Out = None,
    force: Force = False,
    skip_existing: Skip = False,
    file_format: Annotated[
        str | None, typer.Option("--format", help="Format: wav, flac, ogg, opus, w64 or aiff. Default: wav.")
    ] = None,
    start_s: Annotated[float, typer.Option("--start", help="Start of the part to decode, in seconds.")] = 0.0,
    duration_s: Annotated[
        float | None, typer.Option("--duration", help="Duration of the part to decode, in seconds.")
    ] = None,
    recover: Annotated[bool, typer.Option("--recover", help="Decode a damaged file up to the damage.")] = False,
    rescale: Rescale = False,
    subtype: Subtype = "",
    as_json: Json = False,
    threads: Threads = None,
    provider: Provider = "cpu",
    weights: Weights = None,
) -> None:
    """Decode .silk files to mono audio files at 24 kHz."""
    from silkcodec import audio, files
    from silkcodec.audio.writing import sample_type_of
    from silkcodec.cli import console, paths
    from silkcodec.silk import Silk

    suffix = "." + (file_format or "wav").lower().lstrip(".")
    sample_type = sample_type_of(subtype)
    audio.output_format(f"out{suffix}", sample_type)
    jobs = paths.plan(inputs, output, paths.SILK, suffix, overwrite=force, skip_existing=skip_existing)
    for job in jobs:
        if file_format and job.target == paths.STANDARD and suffix != ".wav":
            raise ArgumentError(f"Standard output is always WAV; got --format {file_format}. Pass a file with -o.")
        if job.target != paths.STANDARD:
            audio.output_format(job.target, sample_type)
            if file_format and not job.target.lower().endswith(suffix):
                raise ArgumentError(f"The suffix of '{job.target}' must match --format {file_format}. Omit --format.")
    codec = Silk(weights, threads=threads, provider=provider)

    def work(job: paths.Job, progress: SoundProgress) -> None:
        done = files.decode_file(
            codec,
            job.source,
            job.target,
            overwrite=force,
            recover=recover,
            start_s=start_s,
            duration_s=duration_s,
            subtype=sample_type,
            rescale=rescale,
            opened=progress.opened,
            advance=progress.advance,
        )
        console.show_coding(done, as_json, jobs)

    _finish(console.run_jobs(jobs, "decode", work), len(jobs))


def roundtrip(
    inputs: Sounds,
    output: Out = None,
    force: Force = False,
    entropy: Entropy = False,
    normalize: Normalize = False,
    rescale: Rescale = False,
    subtype: Subtype = "",
    channel: Channel = None,
    as_json: Json = False,
    threads: Threads = None,
    provider: Provider = "cpu",
    weights: Weights = None,
) -> None:
    """Encode and decode audio files, and compare the results with the originals.

    Writes NAME.silk, NAME.silk.wav with the decoded audio, and NAME.silk.png with both spectrograms. Prints rates,
    speeds and the mel distance.
    """
    from silkcodec.audio.writing import sample_type_of
    from silkcodec.cli import console, paths
    from silkcodec.files.roundtrip import Roundtrip, check_targets, roundtrip_file
    from silkcodec.silk import Silk

    _check_entropy(entropy)
    if inputs == [paths.STANDARD] and output is None:
        raise ArgumentError("An output name is required if the input is standard input. Pass -o NAME.wav.")
    jobs = paths.plan(inputs, output, paths.AUDIO, ".silk.wav", overwrite=force)
    sample_type = sample_type_of(subtype)
    check_targets([job.target for job in jobs], overwrite=force, subtype=sample_type)
    codec = Silk(weights, threads=threads, provider=provider)
    done: list[Roundtrip] = []

    def work(job: paths.Job, progress: SoundProgress) -> None:
        trip = roundtrip_file(
            codec,
            job.source,
            job.target,
            entropy=entropy,
            channel=channel,
            overwrite=force,
            subtype=sample_type,
            rescale=rescale,
            normalize=normalize,
            opened=progress.opened,
            advance=progress.advance,
        )
        done.append(trip)
        console.show_warning(trip.encoding)
        console.show_level(trip.encoding)
        console.show_clipping(trip.decoding.target, trip.decoding.n_clipped, trip.decoding.peak)
        if as_json:
            console.show_json(console.roundtrip_json(trip))

    failed = console.run_jobs(jobs, "round trip", work)
    if done and not as_json:
        console.show_roundtrips(done, sys.stdout)
    _finish(failed, len(jobs))


def info(inputs: Silks, as_json: Json = False) -> None:
    """Verify .silk files and show information about them.

    The command verifies all checksums, but it does not decode the files.
    """
    from silkcodec import container
    from silkcodec.cli import console, paths

    jobs = [paths.Job(source, os.devnull) for source in paths.sources(inputs, paths.SILK)]

    def work(job: paths.Job, _: Any) -> None:
        file = sys.stdin.buffer if job.source == paths.STANDARD else job.source
        console.show_contents(job.source, container.info(file, recover=True), as_json)

    _finish(console.run_jobs(jobs, "info", work), len(jobs))


def codecs(as_json: Json = False) -> None:
    """List codecs, their rates and whether they are installed."""
    from silkcodec import codec
    from silkcodec.baselines import catalogue
    from silkcodec.cli import console

    found = catalogue.rows(catalogue.measured(), codec.codecs())
    if as_json:
        for row in found:
            console.show_json(row)
        return
    shown, left_out = catalogue.short(found)
    console.show_table([catalogue.cells(row) for row in shown], text=("codebooks", "quantizer"))
    print("\n".join(catalogue.notes(found, left_out)))


def _check_entropy(entropy: bool) -> None:
    """Raise MissingExtraError if the extra for --entropy is not installed."""
    if entropy:
        from silkcodec.container import payload

        payload.require()


def _finish(failed: int, n_jobs: int) -> None:
    if n_jobs == 0:
        print("silk: nothing to do: all outputs exist.", file=sys.stderr)
    if not failed:
        return
    if n_jobs > 1:
        print(f"silk: {failed} of {n_jobs} files failed.", file=sys.stderr)
    raise typer.Exit(2)
