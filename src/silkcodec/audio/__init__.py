"""Convert sound files and arrays to a mono wave, float32 [T] in [-1, 1] at the requested rate, and back.

Only this package imports soundfile and soxr. Whole files are read as blocks, and arrays, files and microphones use
the same streaming `Resampler`. soxr's output does not depend on the block boundaries of its input (a test checks
this), so the tokens do not depend on them either.

    file -Reader-> blocks [n] -> encoder          decoder -> blocks [n] -Writer-> file
    array -as_wave-> wave [T]

opening     a path, pipe or file -> something that can be decoded
headers     the length in a file's header, compared with the actual length; ogg, mpeg: the same for these formats
spans       a part of a file as a file
ffmpeg      formats that libsndfile cannot read
kinds       the suffixes of sound files, and which of them need ffmpeg
arrays      arrays -> checked mono waves
resampling  one rate -> another
reading     files -> mono blocks
writing     mono blocks -> files
level       loudness and offset of a recording, for `--normalize`
"""

from silkcodec.audio.arrays import MAX_CHANNELS, MAX_PEAK, as_block, as_wave
from silkcodec.audio.kinds import FFMPEG_SUFFIXES, NATIVE_SUFFIXES, SUFFIXES, is_readable, is_sound, needs_ffmpeg
from silkcodec.audio.opening import source_name
from silkcodec.audio.reading import Reader, blocks, duration_s, read
from silkcodec.audio.resampling import (
    DEFAULT_RATE,
    MAX_RATE,
    MIN_RATE,
    Resampler,
    Wave,
    check_rate,
    resampled_length,
)
from silkcodec.audio.writing import Writer, decode_headerless, encode_headerless, output_format, write

__all__ = [
    "DEFAULT_RATE",
    "FFMPEG_SUFFIXES",
    "MAX_CHANNELS",
    "MAX_PEAK",
    "MAX_RATE",
    "MIN_RATE",
    "NATIVE_SUFFIXES",
    "SUFFIXES",
    "Reader",
    "Resampler",
    "Wave",
    "Writer",
    "as_block",
    "as_wave",
    "blocks",
    "check_rate",
    "decode_headerless",
    "duration_s",
    "encode_headerless",
    "is_readable",
    "is_sound",
    "needs_ffmpeg",
    "output_format",
    "read",
    "resampled_length",
    "source_name",
    "write",
]
