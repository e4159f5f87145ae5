"""The trusted end of a sandbox: it asks, waits no longer than agreed, and kills what does not answer.

It runs no student code and parses nothing but frames; whatever goes wrong inside is a `Reply` with a status.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Literal

import psutil

from lessonlib.errors import LessonError
from lessonlib.grading.sandbox import wire

Level = Literal["sandboxed", "container", "process"]
Status = Literal["done", "timeout", "flood", "memory", "exited", "crashed", "lost"]

START = 180.0  # seconds until torch is loaded inside, on a machine that is busy
GRACE = 3.0  # seconds after a deadline that the inside should have kept by itself


@dataclass(frozen=True)
class Limits:
    """What one request may use: seconds, bytes of memory, bytes of its result."""

    seconds: float = 10.0
    memory: int = 2 << 30
    result: int = 64 << 20


@dataclass(frozen=True)
class Program:
    """How to start the inside: a command whose standard input and output are the wall's two slots.

    remove: ends what outlives the command, such as a container.
    user: whom root starts it as.
    renews: it can make itself the next student's without being started again.
    """

    level: Level
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    user: int | None = None
    renews: bool = False


@dataclass(frozen=True)
class Request:
    """Something to be done inside: see `extract` and `run`."""

    note: Mapping[str, str]
    body: bytes


def extract(notebook: bytes) -> Request:
    """Find the answers in a notebook; the reply's `data` is JSON, task id -> program."""
    return Request({"do": "extract"}, notebook)


def run(source: str, inputs: bytes) -> Request:
    """Call an answer on packed inputs; the reply's `data` are packed outputs."""
    return Request({"do": "run", "source": source}, inputs)


@dataclass(frozen=True)
class Reply:
    """What came of a request.

    status: "done" (then `data`), "timeout", "flood" (more bytes than allowed), "memory", "exited" (the code
        ended its process before it answered; `code`), "crashed" (a signal did; `-code`), or "lost" (the
        sandbox itself was ended from inside).
    """

    status: Status
    data: bytes = b""
    code: int = 0
    seconds: float = 0.0


class Sandbox:
    """One sandbox, for one student at a time: started when it is first asked, and again after it was lost."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None
        self._family: list[psutil.Process] = []  # what it was when it was ready

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def ask(self, request: Request, limits: Limits) -> Reply:
        """Have a request done, by itself."""
        return self.ask_all([request], limits)[0]

    def ask_all(self, requests: Sequence[Request], limits: Limits) -> list[Reply]:
        """Have requests done one after the other, all within the limits of one.

        They share a process: what one of them did to it, the others may meet.

        Returns:
            a reply to each up to the first that was not done, whose reply says why; to those behind it, none.
        """
        self.start()
        assert self._process is not None
        head = {
            "requests": [dict(request.note) for request in requests],
            "seconds": limits.seconds,
            "memory": limits.memory,
            "bytes": limits.result,
        }
        start = time.monotonic()
        parts = (json.dumps(head).encode(), *(request.body for request in requests))
        exchange = _Exchange(self._process, parts, limits.result + (1 << 16))
        status: Status = "lost"
        deadline = start + limits.seconds + GRACE
        while not exchange.wait(0.2):
            if time.monotonic() > deadline:
                break
            if _memory(self._process.pid) > limits.memory + (1 << 29):
                status = "memory"
                break
        seconds = round(time.monotonic() - start, 4)
        replies = _read(exchange.reply, len(requests), seconds) if exchange.reply is not None else None
        if replies is None or status == "memory":
            self.close()
            return [Reply(status, seconds=seconds)]
        return replies

    def renew(self) -> None:
        """Make it the next student's: of the one before, no process and no file is left."""
        if self._process is None:
            return
        if self.program.renews:
            exchange = _Exchange(self._process, (b"{}",), 1 << 16)  # a message without requests
            if exchange.wait(START) and exchange.reply is not None:
                return
        self.close()

    def close(self) -> None:
        """Kill everything inside."""
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process, self._family)
        if self.program.remove:
            subprocess.run(self.program.remove, capture_output=True, timeout=60, check=False)
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError, ValueError):
                assert stream is not None
                stream.close()

    def start(self) -> None:
        """Start the inside, if it does not run.

        Raises:
            LessonError: it does not come up.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        with tempfile.TemporaryFile() as errors:
            try:
                process: subprocess.Popen[bytes] = subprocess.Popen(
                    self.program.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=dict(self.program.environment),
                    user=self.program.user,
                    group=self.program.user,
                    extra_groups=None if self.program.user is None else (),
                )
            except OSError as error:
                raise LessonError(f"The sandbox cannot start: {error}.") from error
            self._process = process
            exchange = _Exchange(process, (), 1 << 16)
            if exchange.wait(START) and exchange.reply is not None:
                self._family = _descendants(process.pid)
                return
            self.close()
            errors.seek(0)
            lines = errors.read()[-2000:].decode(errors="replace").strip().splitlines() or ["no message"]
        raise LessonError(f"The sandbox cannot start ({self.program.level}): {lines[-1]}")


class _Exchange:
    """One message each way, in a thread: a stream that blocks for ever costs the thread and nothing else."""

    def __init__(self, process: subprocess.Popen[bytes], parts: Sequence[bytes], largest: int) -> None:
        self.reply: list[bytes] | None = None
        assert process.stdin is not None
        assert process.stdout is not None
        self._thread = threading.Thread(
            target=self._work, args=(process.stdin, process.stdout, parts, largest), daemon=True
        )
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether it is over, well or badly, within so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self, requests: IO[bytes], replies: IO[bytes], parts: Sequence[bytes], largest: int) -> None:
        with contextlib.suppress(OSError, ValueError, EOFError, MemoryError):
            if parts:
                wire.send(requests, *parts)
            self.reply = wire.receive(replies, largest)


def _read(parts: list[bytes], asked: int, seconds: float) -> list[Reply] | None:
    """Replies that the inside may have made up; None if they are none."""
    try:
        note, stream = json.loads(parts[0]), parts[1]
        status, code = note["status"], note["code"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    if status not in ("done", "timeout", "flood", "exited", "crashed") or type(code) is not int:
        return None
    done, rest = wire.frames(stream, asked)
    each = round(seconds / min(len(done) + 1, asked), 4)
    replies = [Reply("done", data, seconds=each) for data in done]
    if len(done) < asked:  # "done" then means that something else was written
        replies.append(Reply(status, rest if status == "done" else b"", code, each))
    return replies


def _kill(process: subprocess.Popen[bytes], family: Sequence[psutil.Process]) -> None:
    """Kill a process, what descends from it and what did, and wait until they are gone.

    A process namespace dies with its first process.
    """
    everybody = {*family, *_descendants(process.pid)}
    process.kill()
    for one in everybody:
        with contextlib.suppress(psutil.Error):
            one.kill()  # refused if the number has become another process since
    process.wait()
    deadline = time.monotonic() + 10
    while any(_lives(one) for one in everybody) and time.monotonic() < deadline:
        time.sleep(0.002)


def _lives(process: psutil.Process) -> bool:
    """Whether it can still do anything: a zombie only waits until somebody asks how it ended."""
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _memory(pid: int) -> int:
    """Bytes that a process and its descendants have to themselves."""
    total = 0
    for process in _descendants(pid):
        with contextlib.suppress(psutil.Error, OSError, KeyError):  # it has just ended
            total += _own_memory(process)
    return total


def _own_memory(process: psutil.Process) -> int:
    if not psutil.LINUX:
        return process.memory_info().rss
    # Forks share most pages: each counts its share of them (Pss), not all of them (Rss).
    with open(f"/proc/{process.pid}/smaps_rollup") as stream:
        fields = dict(line.split(":", 1) for line in stream if ":" in line)
    return sum(int(fields[name].split()[0]) * 1024 for name in ("Pss_Anon", "Pss_Shmem"))
