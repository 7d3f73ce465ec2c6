"""Decode rows of a corpus to sound files with `detokenize`."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from silkcodec import audio
from silkcodec.codec import is_built_in
from silkcodec.corpus.reading import Corpus, codec_of
from silkcodec.corpus.rows import Row
from silkcodec.corpus.shard import load_codec
from silkcodec.errors import ArgumentError
from silkcodec.output import check_output


def detokenize(
    folder: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    ids: Sequence[str] = (),
    numbers: Sequence[int] = (),
    codec: str | None = None,
    overwrite: bool = False,
    partial: bool = False,
    subtype: str | None = None,
    rescale: bool = False,
) -> list[tuple[Row, str, audio.Writer]]:
    """Decode rows, selected by id or by number, to sound files.

    Args:
        folder: folder of the corpus.
        output: a sound file for one row, a folder for several. In a folder, a row is ID.wav, where "_" replaces the
            characters that are unsafe in file names.
        codec: codec name, as accepted by `load`; None: the codec of the corpus's plan, if it is a built-in codec
            without a source.
        subtype, rescale: options of the sound files; see `audio.Writer`.

    Returns:
        Each row, the path of its file, and the written file with its number of clipped samples.

    Raises:
        ArgumentError: a row does not exist, or `codec` is needed. OutputError: a file cannot be written.
        TokensError: the corpus was encoded with other weights.
    """
    corpus = Corpus(folder, partial=partial, verify=True)
    rows = list(corpus.find(ids).values()) if ids else []
    for number in numbers:
        if not -len(corpus) <= number < len(corpus):
            raise ArgumentError(f"--row must be 0..{len(corpus) - 1} for '{folder}'; got {number}.")
        rows.append(corpus[number])
    if not rows:
        raise ArgumentError("Select at least one row with --id or --row.")
    targets = [Path(output)]
    if len(rows) > 1 or Path(output).is_dir() or os.fspath(output).endswith(("/", os.sep)):
        targets = [Path(output) / f"{_file_name(row.id)}.wav" for row in rows]
        if len(set(targets)) < len(targets):
            raise ArgumentError("The ids of the rows must give different file names; decode these rows one by one.")
    for target in targets:
        audio.output_format(target, subtype)
        check_output(target, overwrite=overwrite)
    name = codec or codec_of(folder) or rows[0].tokens.codec.partition("@")[0]
    if codec is None and not is_built_in(name):  # An untrusted corpus must not choose which code is loaded.
        raise ArgumentError(
            f"'{folder}' names the codec {name[:80]!r}, which is not built in. Pass it with --codec to load it."
        )
    decoder = load_codec(name, "cpu")
    done = []
    for row, target in zip(rows, targets, strict=True):
        wave = decoder.decode(row.tokens)
        with audio.Writer(target, decoder.sample_rate, overwrite=overwrite, subtype=subtype, rescale=rescale) as file:
            file.write(wave)
        done.append((row, str(target), file))
    return done


def _file_name(id: str) -> str:
    """Convert an id to a safe file name: letters, digits and a few other characters, never a path or a hidden file."""
    return re.sub(r"[^\w.,=+~#@-]", "_", id)[:200].lstrip(".") or "_"
