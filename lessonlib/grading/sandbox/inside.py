"""The program that runs in the sandbox: torch is loaded once, then every request gets a fork of its own.

Where namespaces can be made inside the sandbox, each student gets a fork in namespaces of its own first (`nursery`): then
torch is loaded once for a class. It knows no seed, no right answer and no other student. It speaks with the supervisor over
its standard input and output, which it takes for itself: the forks of requests have neither. A request is `extract` (find
the answers in a notebook) or `run` (call an answer on inputs); both are done in a fork, because both can crash. Requests
that come in one message share their fork, one after the other; what one of them leaves there, the next may find.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import json
import linecache
import os
import select
import signal
import sys
import time
import types
from collections.abc import Iterator
from typing import IO, Any, NoReturn

from lessonlib.grading.calling import Output, call_all, message, settings
from lessonlib.grading.notebooks import answer_source, answered, load_answer
from lessonlib.grading.sandbox import namespaces, wire

LARGEST_REQUEST = 1 << 30
PROCESSES = 48  # with threads
FILES = 64
LARGEST_FILE = 16 << 20


def nursery(requests: IO[bytes], replies: IO[bytes]) -> None:
    """One server after another, each in namespaces of its own, until the supervisor is gone or a server is lost."""
    left = 0
    while left == 0:
        pid = os.fork()
        if pid == 0:
            _be_the_server(requests, replies)
        _, status = os.waitpid(pid, 0)
        left = os.waitstatus_to_exitcode(status)
    sys.exit(left)


def _be_the_server(requests: IO[bytes], replies: IO[bytes]) -> NoReturn:
    left = 1
    try:
        namespaces.enter()
        serve(requests, replies, alone=True)
        left = 0
    except EOFError:
        pass
    except OSError as error:
        print(error, file=sys.stderr)
    finally:
        os._exit(left)


def serve(requests: IO[bytes], replies: IO[bytes], *, alone: bool) -> None:
    """Answer requests until the supervisor says that the student leaves.

    Args:
        alone: nothing else runs in this process namespace, so whatever is left after a request can be killed.

    Raises:
        EOFError: the supervisor is gone.
    """
    _keep_out(alone)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    wire.send(replies, json.dumps({"status": "ready"}).encode())
    while True:
        head, *bodies = wire.receive(requests, LARGEST_REQUEST)
        order = json.loads(head)
        if not bodies:  # the student leaves
            return
        if hasattr(os, "fork"):
            wire.send(replies, *_in_fork(order, bodies, alone, (requests, replies)))
        else:  # Windows: one message a process; the supervisor starts another
            answers = b"".join(_answers(order["requests"], bodies))
            wire.send(replies, json.dumps({"status": "done", "code": 0}).encode(), answers)
            return


def _take(number: int, mode: str) -> IO[bytes]:
    """A standard stream under another, unheritable number; the old number leads nowhere."""
    stream = os.fdopen(os.dup(number), mode)
    os.dup2(os.open(os.devnull, os.O_RDWR), number)
    return stream


def _keep_out(alone: bool) -> None:
    """No fork may trace this process or read its memory; alone, the number of processes is limited too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
    if alone:
        import resource

        resource.setrlimit(resource.RLIMIT_NPROC, (PROCESSES, PROCESSES))


# --- One request --------------------------------------------------------------------------------------------


def _answers(requests: list[dict[str, Any]], bodies: list[bytes]) -> Iterator[bytes]:
    """A frame for each request, up to the first that changes what those behind it would meet."""
    before = settings()
    for request, body in zip(requests, bodies, strict=True):
        yield wire.frame(_answer(request, body))
        if settings() != before:
            return


def _answer(request: dict[str, Any], body: bytes) -> bytes:
    if request["do"] == "extract":
        return json.dumps(extract(body)).encode()
    return wire.pack_outputs(run(request["source"], body))


def extract(notebook: bytes) -> dict[str, str]:
    """Task id -> the program that answers it, for every answer in a notebook of format 3 or 4."""
    book = types.SimpleNamespace(cells=[_cell(cell) for cell in _cells(json.loads(notebook))])
    sources = {task_id: answer_source(book, task_id) for task_id in dict.fromkeys(answered(book))}
    return {task_id: source for task_id, source in sources.items() if source}


def _cells(book: dict[str, Any]) -> list[dict[str, Any]]:
    if "cells" in book:
        return book["cells"]
    return [cell for sheet in book["worksheets"] for cell in sheet["cells"]]


def _cell(cell: dict[str, Any]) -> types.SimpleNamespace:
    source = cell.get("source", cell.get("input", ""))
    return types.SimpleNamespace(
        cell_type=cell.get("cell_type"), source=source if isinstance(source, str) else "".join(source)
    )


def run(source: str, inputs: bytes) -> list[Output]:
    """Define a student's answer and call it on the inputs."""
    cases = wire.unpack_inputs(inputs)
    linecache.cache["answer"] = (len(source), None, source.splitlines(keepends=True), "answer")
    try:
        function = load_answer(source, "answer")
    except BaseException as error:
        return [Output("error", about=message(error))]
    return call_all(function, cases)


# --- In a fork of its own -----------------------------------------------------------------------------------


def _in_fork(
    order: dict[str, Any], bodies: list[bytes], alone: bool, closed: tuple[IO[bytes], ...]
) -> tuple[bytes, bytes]:
    """Do what a message asks in a fork and collect its bytes; afterwards nothing of the fork is left."""
    end, pipe = os.pipe()
    start = time.monotonic()
    pid = _fork()
    if pid == 0:
        _be_the_fork(order, bodies, pipe, (end, *(stream.fileno() for stream in closed)))
    os.close(pipe)
    status, data = _collect(end, pid, start + order["seconds"], order["bytes"])
    os.close(end)
    answers, rest = wire.frames(data, len(bodies))
    ended = status == "done" and len(answers) < len(bodies) and not rest
    code = _finish(pid, alone, start + order["seconds"] if ended else 0.0)
    if ended:
        status = "exited" if code is not None and code >= 0 else "crashed" if code is not None else "timeout"
    note = {"status": status, "code": code or 0, "seconds": round(time.monotonic() - start, 4)}
    return json.dumps(note).encode(), data


def _fork() -> int:
    """Fork; the processes just killed may need a moment to make room."""
    for _ in range(100):
        try:
            return os.fork()
        except BlockingIOError:
            time.sleep(0.01)
    return os.fork()


def _be_the_fork(order: dict[str, Any], bodies: list[bytes], pipe: int, closed: tuple[int, ...]) -> NoReturn:
    try:
        os.setsid()
        for number in closed:
            os.close(number)
        _limit(order)
        for answer in _answers(order["requests"], bodies):
            data = memoryview(answer)
            while data:
                data = data[os.write(pipe, data) :]
    finally:
        os._exit(0)


def _limit(order: dict[str, Any]) -> None:
    import resource

    seconds = int(order["seconds"]) + 2
    limits = {"CPU": seconds, "CORE": 0, "FSIZE": LARGEST_FILE, "NOFILE": FILES}
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as stream:
            limits["AS"] = int(stream.read().split()[0]) * resource.getpagesize() + order["memory"]
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def _collect(end: int, pid: int, deadline: float, most: int) -> tuple[str, bytes]:
    """Read the fork's bytes until it closes the pipe, or is gone while others hold the pipe open, or has had its time."""
    os.set_blocking(end, False)
    found = io.BytesIO()
    gone = False
    while (left := deadline - time.monotonic()) > 0:
        ready, _, _ = select.select([end], [], [], 0 if gone else min(left, 0.05))
        if ready:
            chunk = os.read(end, 1 << 16)
            if not chunk:
                return "done", found.getvalue()
            if found.tell() + len(chunk) > most:
                return "flood", b""
            found.write(chunk)
        elif gone:
            return "done", found.getvalue()
        else:
            gone = _gone(pid)
    return "timeout", found.getvalue()


def _finish(pid: int, alone: bool, deadline: float) -> int | None:
    """Wait for the fork until the deadline, then kill it and all it started.

    Returns:
        The exit code, minus the signal that ended it, or None if it had to be killed.
    """
    while not (ended := _gone(pid)) and time.monotonic() < deadline:
        time.sleep(0.002)
    for kill, whom in ((os.kill, -1),) if alone else ((os.killpg, pid), (os.kill, pid)):
        with contextlib.suppress(OSError):  # nobody is left
            kill(whom, signal.SIGKILL)
    status = 0
    with contextlib.suppress(ChildProcessError):
        while True:  # the first process of a namespace inherits the others
            child, how = os.waitpid(-1, 0)
            status = how if child == pid else status
    patience = time.monotonic() + 2
    with contextlib.suppress(OSError):
        while (
            alone and time.monotonic() < patience
        ):  # whom another process inherited may take a moment to die
            os.kill(-1, signal.SIGKILL)
            time.sleep(0.002)
    return os.waitstatus_to_exitcode(status) if ended else None


def _gone(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def main() -> None:
    """`inside.py nursery|alone|shared MODULES...`; every fork then has the modules."""
    kind, *preload = sys.argv[1:]
    requests, replies = _take(0, "rb"), _take(1, "wb")
    for name in preload:
        __import__(name)
    gc.collect()
    gc.freeze()  # or each fork's first collection would touch, and so copy, all that was loaded here
    with contextlib.suppress(EOFError):
        if kind == "nursery":
            nursery(requests, replies)
        else:
            serve(requests, replies, alone=kind == "alone")
