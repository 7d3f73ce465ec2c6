"""Decode rows of a token corpus to audio files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from silkcodec import audio
from silkcodec.codec import is_built_in
from silkcodec.corpus.rows import Row
from silkcodec.corpus.shard import load_codec
from silkcodec.corpus.tokenized import Corpus, codec_of
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
    """Decode rows of a corpus to audio files.

    Args:
        folder: folder of the corpus.
        output: path of an audio file for one row, or of a folder for several rows. In a folder, files are named
            ID.wav, with "_" in place of characters that are unsafe in file names.
        ids, numbers: ids and numbers of the rows to decode.
        codec: codec name. None uses the codec of the corpus, which must be built in.
        overwrite: replace existing files.
        partial: accept an unfinished corpus.
        subtype, rescale: options for the audio files; see `audio.Writer`.

    Returns:
        A list of (row, path of its audio file, closed writer).

    Raises:
        ArgumentError: a row does not exist, or `codec` is None and the codec of the corpus is not built in.
        OutputError: a file cannot be written.
        TokensError: the weights of the codec differ from those used to encode the corpus.
    """
    corpus = Corpus(folder, partial=partial, verify=True)
    rows = list(corpus.find(ids).values()) if ids else []
    for number in numbers:
        if not -len(corpus) <= number < len(corpus):
            raise ArgumentError(f"--row must be between 0 and {len(corpus) - 1} for '{folder}'; got {number}.")
        rows.append(corpus[number])
    if not rows:
        raise ArgumentError("Select at least one row with --id or --row.")
    targets = [Path(output)]
    if len(rows) > 1 or Path(output).is_dir() or os.fspath(output).endswith(("/", os.sep)):
        targets = [Path(output) / f"{_file_name(row.id)}.wav" for row in rows]
        if len(set(targets)) < len(targets):
            raise ArgumentError("Two of the selected ids result in the same file name. Decode the rows one at a time.")
    for target in targets:
        audio.output_format(target, subtype)
        check_output(target, overwrite=overwrite)
    name = codec or codec_of(folder) or rows[0].tokens.codec.partition("@")[0]
    if codec is None and not is_built_in(name):  # An untrusted corpus must not decide which code is loaded.
        raise ArgumentError(
            f"The codec of the corpus '{folder}' must be built in; got {name[:80]!r}. If you trust this codec, pass it"
            " with --codec."
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
    """Replace the characters in an id that are unsafe in a file name."""
    safe = re.sub(r"[^\w.,=+~#@-]", "_", id).lstrip(".").encode()
    return safe[:200].decode(errors="ignore") or "_"  # File systems limit names to 255 bytes.
