"""Ctrl-C and a polite kill end long work at the end of a step, never within one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """While inside, SIGINT and SIGTERM are only noted; what is given tells whether one came.

    Off the main thread, where Python lets nobody listen to signals, nothing changes.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        # what is ignored stays ignored: nohup and background jobs of a script ignore Ctrl-C
        heard = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) != signal.SIG_IGN]
        before = {one: signal.signal(one, note) for one in heard}
    try:
        yield lambda: bool(came)
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
