"""Sandboxes between two students: torch stays loaded in them, and nothing else stays."""

from __future__ import annotations

import atexit
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from lessonlib.grading.sandbox.supervisor import Program, Sandbox

_waiting: dict[tuple[str, ...], list[Sandbox]] = defaultdict(list)
_lock = threading.Lock()


@contextmanager
def sandbox(program: Program) -> Iterator[Sandbox]:
    """A sandbox for one student; afterwards it waits, renewed, for the next, or is closed where it cannot be renewed."""
    with _lock:
        one = _waiting[program.command].pop() if _waiting[program.command] else Sandbox(program)
    try:
        yield one
    except BaseException:
        one.close()
        raise
    one.renew()
    if program.renews:
        with _lock:
            _waiting[program.command].append(one)


def close() -> None:
    """End the sandboxes that wait."""
    with _lock:
        idle = [one for waiting in _waiting.values() for one in waiting]
        _waiting.clear()
    for one in idle:
        one.close()


atexit.register(close)
