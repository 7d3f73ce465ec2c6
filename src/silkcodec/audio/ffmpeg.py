"""Use the ffmpeg command to decode formats that libsndfile cannot read.

ffmpeg is allowed to open only the given file, so an untrusted playlist cannot make it read other files.
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silkcodec.errors import AudioError, capitalized

HEAD_BYTES = 16  # number of bytes that `demuxer` needs from the start of a file
NATIVE = ("wav", "ogg", "caf", "aiff", "au", "nistsphere", "flac")
"""Demuxers for containers that libsndfile reads. ffmpeg decodes them only if libsndfile does not know the encoding."""

_MAGIC = (  # (offset, bytes, demuxer)
    (4, b"ftyp", "mov"), (4, b"moov", "mov"), (4, b"mdat", "mov"), (4, b"wide", "mov"), (4, b"free", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"), (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"), (0, b"#!AMR", "amr"),
    (0, b"ADIF", "aac"), (0, b"\x0b\x77", "ac3"), (0, b"MAC ", "ape"), (0, b"wvpk", "wv"), (0, b"TTA1", "tta"),
    (0, b"FLV\x01", "flv"), (8, b"AVI ", "avi"), (8, b"WAVE", "wav"), (0, b"OggS", "ogg"), (0, b"caff", "caf"),
    (0, b"FORM", "aiff"), (0, b".snd", "au"), (0, b"NIST_1A", "nistsphere"), (0, b"fLaC", "flac"),
)  # fmt: skip
_DAMAGE = re.compile(r"partial file|ended prematurely|truncat|corrupt|error during demuxing", re.IGNORECASE)
_PROBLEM = re.compile(
    _DAMAGE.pattern + r"|error|invalid|not found|exhausted|too small|no such|matches no", re.IGNORECASE
)
_MISSING_S = 0.5  # Tolerance for the duration in a header, because encoders round it and add a delay.


def demuxer(head: bytes) -> str | None:
    """Return the name of ffmpeg's demuxer for a file that starts with `head`, or None if the format is unknown."""
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:  # ADTS
        return "aac"
    return next((name for at, magic, name in _MAGIC if head[at : at + len(magic)] == magic), None)


def command() -> str | None:
    """Return the path of the ffmpeg command, or None if it is not installed."""
    return shutil.which("ffmpeg")


class Decoded:
    """Decode the first audio track of a file with ffmpeg.

    Args:
        command: path of the ffmpeg command.
        demuxer: name of ffmpeg's demuxer.
        path: path of the file.
        name: name of the file for error messages.

    Raises:
        AudioError: the file contains no audio, is damaged or is truncated. Reading can also raise this error.
    """

    format = "FFMPEG"
    is_estimate = True  # The reader does not check the length, because `_check_end` does.

    def __init__(self, command: str, demuxer: str, path: str, name: str) -> None:
        self._path = f"file:{os.path.abspath(path)}"
        self._arguments = [
            *(command, "-nostdin", "-hide_banner", "-nostats", "-protocol_whitelist", "file,pipe"),
            *("-max_error_rate", "0", "-threads", "1", "-f", demuxer, "-i", self._path, "-map", "0:a:0"),
            *("-c:a", "pcm_f32le", "-f", "wav", "-bitexact", "pipe:1"),
        ]
        self._name = name
        self._start()

    def _start(self) -> None:
        self._log: Any = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            self._arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._log
        )
        self._taken = 0
        try:
            self.channels, self.samplerate = self._header()
        except BaseException:
            self.__exit__()
            raise
        text = self._text()
        found = re.search(r"Duration: (\d+):(\d+):(\d+\.\d+)", text)
        hours, minutes, seconds = map(float, found.groups()) if found else (0.0, 0.0, 0.0)
        self._duration_s = hours * 3600 + minutes * 60 + seconds
        n_streams = len(re.findall(r"(?m)^ +Stream #0:", text.partition("Stream mapping")[0]))
        # If the file has several streams, the duration may be that of the video. ffmpeg also estimates some durations.
        self._has_exact_duration = n_streams == 1 and "Estimating duration" not in text
        self.n_frames = round(self._duration_s * self.samplerate)

    def seek(self, first: int) -> None:
        """Skip the samples before `first` by decoding and discarding them."""
        if first < self._taken:
            self.__exit__()
            self._start()
        buffer = np.empty((1 << 16, self.channels), dtype=np.float32)
        while self._taken < first and self.read_into(buffer[: first - self._taken]):
            pass

    def read_into(self, buffer: NDArray[np.float32]) -> int:
        """Decode into a float32 buffer [n, channels].

        Returns:
            The number of decoded samples per channel, or 0 at the end of the file.
        """
        n = self._output.readinto(buffer.data.cast("B")) // (4 * self.channels)
        self._taken += n
        if n < len(buffer):
            self._check_end()
        return int(n)

    @property
    def _output(self) -> Any:
        return self._process.stdout

    def _header(self) -> tuple[int, int]:
        """Parse the WAV header of ffmpeg's output and return the number of channels and the sample rate."""
        shape = (0, 0)
        if self._output.read(12)[8:] == b"WAVE":
            while len(head := self._output.read(8)) == 8:
                chunk, n = struct.unpack("<4sI", head)
                if chunk == b"data" and all(shape):
                    return shape
                content = self._output.read(n + n % 2)
                if chunk == b"fmt ":
                    shape = struct.unpack("<2xHI", content[:8])
        self._process.wait()
        raise AudioError(f"Cannot decode {self._name} with ffmpeg: {self._reason()}.")

    def _check_end(self) -> None:
        """Raise AudioError if ffmpeg failed or the audio is shorter than the file's header declares."""
        if self._process.wait() or _DAMAGE.search(self._text()):
            raise AudioError(f"{capitalized(self._name)} is truncated or damaged: {self._reason()}.")
        decoded_s = self._taken / self.samplerate
        if self._has_exact_duration and decoded_s < self._duration_s - _MISSING_S:
            raise AudioError(
                f"{capitalized(self._name)} is truncated: its header declares {self._duration_s:.2f} s;"
                f" got {decoded_s:.2f} s."
            )

    def _text(self) -> str:
        self._log.seek(0)
        text: str = self._log.read(1 << 20).decode("utf-8", "replace")
        self._log.seek(0, os.SEEK_END)
        return text

    def _reason(self) -> str:
        """Return the first error message in ffmpeg's log."""
        lines = [line for line in self._text().splitlines() if _PROBLEM.search(line) and not line.startswith(" ")]
        line = re.sub(r"^(\[[^\]]*\] *)+", "", (lines or ["ffmpeg reported no reason"])[0])
        return line.replace(self._path, "the file").strip().rstrip(".")

    def __enter__(self) -> Decoded:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._output.close()
        self._log.close()
