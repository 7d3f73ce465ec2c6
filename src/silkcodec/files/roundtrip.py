"""Encode and decode an audio file, and write the .silk file, the decoded audio and a picture of both spectrograms."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from silkcodec import audio, picture
from silkcodec.audio.opening import open_file
from silkcodec.errors import ArgumentError, AudioError
from silkcodec.files import Advance, Coding, Playback, encode_file, nothing
from silkcodec.files.mel_comparison import Comparison
from silkcodec.output import check_output, replacing
from silkcodec.silk import Silk
from silkcodec.spec import SILK_SAMPLE_RATE


@dataclass(frozen=True)
class Roundtrip:
    """The result of encoding and decoding a file.

    Attributes:
        encoding, decoding: results of encoding and decoding.
        mel_distance: mean absolute difference between the log-mel spectrograms.
        picture: path of the picture with both spectrograms.
    """

    encoding: Coding
    decoding: Coding
    mel_distance: float
    picture: str


def targets(wave_path: str) -> tuple[str, str]:
    """Return the paths of the .silk file and the picture that are written next to a decoded file.

    Args:
        wave_path: path of the decoded file.

    >>> targets("a.silk.wav")
    ('a.silk', 'a.silk.png')
    """
    base = os.path.splitext(wave_path)[0]
    return base if base.endswith(".silk") else f"{base}.silk", f"{base}.png"


def check_targets(wave_paths: Sequence[str], *, overwrite: bool, subtype: str | None = None) -> None:
    """Check that all output files of `roundtrip_file` can be written.

    Args:
        wave_paths: paths of the decoded files.
        overwrite: whether existing files can be replaced.
        subtype: sample type of the decoded files; see `audio.Writer`.

    Raises:
        OutputError: a file already exists or cannot be written.
        ArgumentError: a path is "-", or its format is not supported.
    """
    for wave_path in wave_paths:
        if wave_path == "-":
            raise ArgumentError("The output (-o) of silk roundtrip must be a file or a folder; got '-'.")
        audio.output_format(wave_path, subtype)
        for path in (wave_path, *targets(wave_path)):
            check_output(path, overwrite=overwrite)


def roundtrip_file(
    codec: Silk,
    source: str,
    wave_path: str,
    *,
    entropy: bool = False,
    channel: int | None = None,
    overwrite: bool = False,
    subtype: str | None = None,
    rescale: bool = False,
    normalize: bool = False,
    opened: Advance = nothing,
    advance: Advance = nothing,
) -> Roundtrip:
    """Encode and decode an audio file, measure the mel distance, and draw both spectrograms.

    Args:
        codec: a loaded Silk codec.
        source: path of the audio file, or "-" for standard input.
        wave_path: path of the decoded file. The other files are written next to it; see `targets`.
        subtype, rescale: options for the decoded file; see `audio.Writer`.
        entropy, channel, overwrite, normalize, opened, advance: see `encode_file`.

    Returns:
        A summary, including the mel distance.

    Raises:
        AudioError: the source cannot be read.
        OutputError: a file already exists or cannot be written.
        ArgumentError: the output format is not supported.
        MissingExtraError: `entropy` is set, but the extra that it requires is not installed.
    """
    silk_path, picture_path = targets(wave_path)
    check_targets([wave_path], overwrite=overwrite, subtype=subtype)

    def half(seconds: float) -> None:
        advance(seconds / 2)

    with ExitStack() as stack:
        path, copy = open_file(source, audio.source_name(source), stack)
        original = source if path else copy
        encoding = encode_file(
            codec,
            original,
            silk_path,
            entropy=entropy,
            channel=channel,
            overwrite=overwrite,
            normalize=normalize,
            opened=opened,
            advance=half,
        )
        undo = stack.enter_context(ExitStack())
        undo.callback(os.unlink, silk_path)  # unless decoding succeeds, so that the command can be repeated
        if path is None:
            copy.seek(0)
        comparison = Comparison(encoding.n_samples, picture.PANEL_WIDTH)
        codec.prepare(decode=True)
        playback = stack.enter_context(Playback(codec, silk_path))
        reader = stack.enter_context(audio.Reader(original, channel=channel))
        with audio.Writer(wave_path, overwrite=overwrite, subtype=subtype, rescale=rescale) as decoded:
            wall_s, started = 0.0, time.perf_counter()
            for wave in playback.blocks():
                decoded.write(wave)
                wall_s += time.perf_counter() - started  # time for decoding, without the comparison
                same = reader.read(len(wave))
                if len(same) < len(wave):
                    raise AudioError(f"'{source}' changed while it was read.")
                comparison.feed(same, wave)
                half(len(wave) / SILK_SAMPLE_RATE)
                started = time.perf_counter()
        undo.pop_all()
        comparison.finish()
        decoding = playback.coding(silk_path, wave_path, wall_s, decoded)

    encoding = replace(encoding, source=source)
    with replacing(picture_path, overwrite=overwrite) as file:
        file.write(_draw(encoding, comparison))
    return Roundtrip(encoding, decoding, comparison.mel_distance, picture_path)


def _draw(encoding: Coding, comparison: Comparison) -> bytes:
    name = "standard input" if encoding.source == "-" else Path(encoding.source).name
    return picture.spectrograms(
        comparison.original,
        comparison.decoded,
        encoding.duration_s,
        (
            f"{name}   {encoding.duration_s:.2f} s",
            f"Silk   {encoding.tokens_per_second:g} tokens/s   {encoding.bits_per_second:g} bit/s"
            f"   mel distance {comparison.mel_distance:.2f}",
        ),
    )
