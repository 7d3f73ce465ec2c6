"""Handle Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType


class Interrupts:
    """Set `requested` to true on the first SIGINT or SIGTERM within the context. A second signal has its usual effect.

    Python allows signal handlers only in the main thread. In other threads, `requested` stays false.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        # print is not safe in a signal handler.
        os.write(2, b"stopping after this step; press Ctrl-C again to stop immediately\n")
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
