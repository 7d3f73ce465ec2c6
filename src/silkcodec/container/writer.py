"""Write .silk files frame by frame."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from silkcodec.container import payload
from silkcodec.container.structure import (
    CODED,
    CRC,
    END,
    END_PAYLOAD,
    MAX_CHUNK_FRAMES,
    RAW,
    Header,
    check_n_samples,
    chunk_bytes,
)
from silkcodec.errors import ArgumentError, OutputError, TokensError
from silkcodec.output import replacing
from silkcodec.spec import DIMS_PER_TOKEN, LATENT_WIDTH, N_LEVELS
from silkcodec.tokens import codes_to_levels, n_frames

RAW_CHUNK_FRAMES = 25  # 10 s, which is 16 bytes of header and 1,200 bytes of payload per chunk
CODED_CHUNK_FRAMES = 75  # 30 s, because the model is reset in every chunk and takes about this long to converge


class Writer:
    """Write a .silk file frame by frame.

        with Writer("talk.silk", codec="silk@0a1b2c3d4e5f") as writer:
            for block in blocks:
                writer.write(encoder.feed(block))
            writer.write(encoder.flush())
            writer.finish(n_samples)

    Args:
        file: a path or a binary file object, such as a pipe. A file appears at the path only after `finish`.
        codec: codec name and weights hash, as in `Tokens.codec`.
        dims_per_token: number of FSQ dimensions per code, 1 to 20.
        n_samples: length of the recording in samples. If None, pass the length to `finish`.
        gain: see `Header`.
        entropy: compress the file with a range coder.
        chunk_frames: number of frames per chunk, 1 to 4096. None uses 25, or 75 with `entropy`.
        overwrite: replace the file if it exists.

    Attributes:
        n_frames: number of frames passed to the writer so far.
        n_bytes: number of bytes written so far.

    Raises:
        ArgumentError: an argument is out of range.
        MissingExtraError: `entropy` is set, but constriction is not installed.
        OutputError: the file already exists or cannot be written.
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        codec: str,
        dims_per_token: int = DIMS_PER_TOKEN,
        n_samples: int | None = None,
        gain: float = 1.0,
        entropy: bool = False,
        chunk_frames: int | None = None,
        overwrite: bool = False,
    ) -> None:
        if chunk_frames is None:
            chunk_frames = CODED_CHUNK_FRAMES if entropy else RAW_CHUNK_FRAMES
        if not 1 <= chunk_frames <= MAX_CHUNK_FRAMES:
            raise ArgumentError(f"chunk_frames must be between 1 and {MAX_CHUNK_FRAMES}; got {chunk_frames}.")
        if entropy:
            payload.require()  # Fail before a long encoding starts.
        self.header = Header(codec, dims_per_token, n_samples, version=1 if gain == 1 else 2, gain=gain)
        header = self.header.to_bytes()
        self.n_frames = 0
        self.n_bytes = 0
        self._entropy = entropy
        self._chunk_frames = chunk_frames
        self._levels = np.empty((0, LATENT_WIDTH), np.uint8)  # frames of the incomplete chunk
        (self._crc,) = CRC.unpack(header[-CRC.size :])
        self._finished = False
        self._files = ExitStack()
        self._file = self._opened(file, overwrite)
        self._put(header)

    def write(self, codes: ArrayLike) -> None:
        """Append frames given as codes.

        Args:
            codes: integers [F, K], with `dims_per_token` FSQ dimensions per code. F can be 0.

        Raises:
            TokensError: the codes are out of range or have the wrong shape. In this case, nothing is written.
            OutputError: the file cannot be written, for example because the disk is full or the pipe is closed.
        """
        self._write(codes_to_levels(codes, self.header.dims_per_token))

    def write_levels(self, levels: NDArray[np.integer[Any]]) -> None:
        """Append frames given as FSQ levels.

        Args:
            levels: integers [F, 128] in 0..7. F can be 0.

        Raises:
            TokensError, OutputError: see `write`.
        """
        if levels.ndim != 2 or levels.shape[1] != LATENT_WIDTH or levels.dtype.kind not in "iu":
            raise TokensError(
                f"levels must be integers of shape [frames, {LATENT_WIDTH}]; got {levels.dtype} {levels.shape}."
            )
        if levels.size and not 0 <= levels.min() <= levels.max() < N_LEVELS:
            raise TokensError(f"levels must be between 0 and {N_LEVELS - 1}; got {levels.min()} to {levels.max()}.")
        self._write(levels.astype(np.uint8, copy=False))

    def _write(self, levels: payload.Levels) -> None:
        if self._finished:
            raise ArgumentError("Cannot use a Writer after finish() or abort().")
        self.n_frames += len(levels)
        self._levels = np.concatenate([self._levels, levels])
        whole = len(self._levels) // self._chunk_frames * self._chunk_frames
        for start in range(0, whole, self._chunk_frames):
            self._put_chunk(self._levels[start : start + self._chunk_frames])
        self._levels = self._levels[whole:]

    def flush(self) -> None:
        """End the current chunk, so that the reader of a pipe receives all frames written so far.

        Raises:
            OutputError: see `write`.
        """
        if len(self._levels):
            self._put_chunk(self._levels)
            self._levels = self._levels[:0]
        with self._abort_on_error():
            self._file.flush()

    def finish(self, n_samples: int | None = None) -> None:
        """Finish the file, and move it from its temporary name to its path.

        Args:
            n_samples: length of the recording in samples. None uses the value passed to the constructor.

        Raises:
            ArgumentError: n_samples is missing or differs from the constructor's, or the file is already finished.
            TokensError: the number of frames written is not ceil(n_samples / 9600).
            OutputError: see `write`.
        """
        known = self.header.n_samples
        total = known if n_samples is None else n_samples
        if total is None:
            raise ArgumentError("n_samples must be passed to Writer or to finish(); got None for both.")
        if known not in (None, total):
            raise ArgumentError(f"n_samples must be {known}, as passed to Writer; got {n_samples}.")
        total = check_n_samples(total)
        self._write(self._levels[:0])  # raises if the file is already finished
        if n_frames(total) != self.n_frames:
            raise TokensError(f"{total} samples require {n_frames(total)} Silk frames; got {self.n_frames}.")
        self.flush()
        chunk, _ = chunk_bytes(END, 0, END_PAYLOAD.pack(total), self._crc)
        self._put(chunk)
        with self._abort_on_error():
            self._file.flush()
            self._files.close()  # renames the file to its path
        self._finished = True

    def abort(self) -> None:
        """Stop writing and discard the file."""
        self._discard(OutputError("Writing the .silk file was aborted."))

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._finished:
            return
        if error is not None:
            self._discard(error)
            return
        with self._abort_on_error():
            self.finish()

    def _put_chunk(self, levels: payload.Levels) -> None:
        kind, data = RAW, payload.pack(levels)
        if self._entropy:
            coded = payload.encode(levels)
            if len(coded) < len(data):  # Short chunks and uniformly distributed levels do not shrink.
                kind, data = CODED, coded
        chunk, self._crc = chunk_bytes(kind, len(levels), data, self._crc)
        self._put(chunk)

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        with self._abort_on_error():
            while view:  # An unbuffered file may write only some of the bytes.
                taken = self._file.write(view)
                if taken is None:
                    raise BlockingIOError("the file must be in blocking mode")
                view = view[taken:]
        self.n_bytes += len(data)

    def _opened(self, file: str | os.PathLike[str] | BinaryIO, overwrite: bool) -> BinaryIO:
        if isinstance(file, (str, os.PathLike)):
            self._name = f"'{os.fspath(file)}'"
            return self._files.enter_context(replacing(file, overwrite=overwrite))
        if not hasattr(file, "write"):
            raise ArgumentError(f"file must be a path or a binary file object; got {type(file).__name__}.")
        name = getattr(file, "name", None)
        self._name = f"'{name}'" if isinstance(name, str) else "the output"  # The name of a pipe is a number.
        return file

    def _discard(self, error: BaseException) -> None:
        self._finished = True
        self._files.__exit__(type(error), error, error.__traceback__)  # removes the hidden file

    @contextmanager
    def _abort_on_error(self) -> Iterator[None]:
        """Discard the incomplete file if an error occurs."""
        try:
            yield
        except OSError as error:
            self._discard(error)
            raise OutputError(f"Cannot write to {self._name}: {error.strerror or error}.") from error
        except BaseException as error:
            self._discard(error)
            raise
