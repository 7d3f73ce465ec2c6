"""Read and write audio as mono samples, float32 [T] in [-1, 1].

Only this package imports soundfile and soxr. Files are read and resampled in blocks, so memory use is bounded.

    file -Reader-> blocks [n] -> encoder          decoder -> blocks [n] -Writer-> file
    array -as_wave-> samples [T]

opening     opens a path, a pipe or a file object for decoding
headers     compares the length declared in a file's header with the actual length
ogg, mpeg   do the same for Ogg and MP3
spans       presents a part of a file as a separate file
ffmpeg      decodes formats that libsndfile cannot read
kinds       lists the suffixes of audio files and those that require ffmpeg
arrays      checks arrays and converts them to mono
channels    averages channels
resampling  changes the sample rate
reading     reads files in blocks of mono samples
writing     writes blocks of mono samples to files
manifest    reads tables of recordings
level       measures the level and the DC offset of a recording for `--normalize`
"""

from silkcodec.audio.arrays import MAX_CHANNELS, MAX_PEAK, as_block, as_wave
from silkcodec.audio.kinds import (
    FFMPEG_SUFFIXES,
    NATIVE_SUFFIXES,
    SUFFIXES,
    find_files,
    is_sound,
    needs_ffmpeg,
)
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
    "find_files",
    "is_sound",
    "needs_ffmpeg",
    "output_format",
    "read",
    "resampled_length",
    "source_name",
    "write",
]
