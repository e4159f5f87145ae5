"""What must fail inside, tried inside, before anything is graded: that bwrap exists proves nothing.

The probe goes the way of a student's answer. It reports what it managed to do, one flag a canary; a sandbox
that does not report is no sandbox either.
"""

from __future__ import annotations

import os
import secrets
import socket
import tempfile
from pathlib import Path

from lessonlib.errors import LessonError
from lessonlib.grading import references
from lessonlib.grading.sandbox import spares, wire
from lessonlib.grading.sandbox.supervisor import Limits, Program, run

# canary -> what the sandbox would let a student do
CANARIES = {
    "read": "read a file of yours",
    "solutions": "read the right answers",
    "import": "import the course's tasks",
    "write": "write where Python and its packages are",
    "connect": "open a network connection to this machine",
    "processes": "see your processes",
    "fork": "start any number of processes",
    "fill": "fill the disk",
    "descriptors": "use open files of the grader",
    "environment": "read your environment variables",
    "namespaces": "make namespaces, and be root in them",
}

# Each function returns whether it got out.
PROBE = """
import os, socket, sys
import torch


def read(planted, solutions, port, pid, secret):
    return os.path.exists(planted)


def solutions(planted, solutions, port, pid, secret):
    return os.path.exists(solutions)


def import_(planted, solutions, port, pid, secret):
    import lessonlib.grading.tasks
    return True


def write(planted, solutions, port, pid, secret):
    for folder in ("/", os.path.dirname(os.__file__), os.path.dirname(torch.__file__), "/dev", os.path.dirname(planted)):
        try:
            name = os.path.join(folder, "lesson-canary")
            open(name, "x").close()
            os.unlink(name)
            return True
        except OSError:
            pass
    return False


def connect(planted, solutions, port, pid, secret):
    socket.create_connection(("127.0.0.1", port), 2).close()
    return True


def processes(planted, solutions, port, pid, secret):
    # Another namespace's number may mean another process here.
    with open(f"/proc/{pid}/environ", "rb") as stream:
        return secret.encode() in stream.read()


def fork(planted, solutions, port, pid, secret):
    import signal
    children = []
    try:
        while len(children) < 150:
            child = os.fork()
            if child == 0:
                signal.pause()
                os._exit(0)
            children.append(child)
    except OSError:
        return False
    finally:
        for child in children:
            os.kill(child, 9)
            os.waitpid(child, 0)
    return True


def fill(planted, solutions, port, pid, secret):
    for folder in ("/tmp", "/dev/shm", os.path.dirname(planted)):
        names = [os.path.join(folder, f"canary{number}") for number in range(20)]
        written = 0
        try:
            for name in names:
                with open(name, "wb", buffering=0) as stream:
                    written += stream.write(bytes(15 << 20))
        except OSError:
            pass
        for name in names:
            if os.path.exists(name):
                os.unlink(name)
        if written > 200 << 20:
            return True
    return False


def descriptors(planted, solutions, port, pid, secret):
    import stat
    for number in range(3, 256):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            continue
        if stat.S_ISREG(kind) or stat.S_ISSOCK(kind):
            return True
    return False


def environment(planted, solutions, port, pid, secret):
    return secret in os.environ.values()


def namespaces(planted, solutions, port, pid, secret):
    import ctypes
    libc = ctypes.CDLL(None)
    return any(libc.unshare(flag) == 0 for flag in (0x10000000, 0x20000, 0x20000000))


def probe(planted, solutions_folder, port, pid, secret):
    flags = []
    for canary in (read, solutions, import_, write, connect, processes, fork, fill, descriptors, environment, namespaces):
        try:
            flags.append(bool(canary(planted, solutions_folder, port, pid, secret)))
        except (OSError, ImportError):
            flags.append(False)
    return torch.tensor(flags)
"""


def escapes(program: Program) -> list[str]:
    """What the canaries managed to do in a sandbox of this kind; empty where it holds.

    Raises:
        LessonError: it does not start, or the probe does not come back.
    """
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="lesson-canary-") as folder, socket.socket() as listener:
        planted = Path(folder) / "planted"
        planted.write_text(secret)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        inputs = {
            "planted": str(planted),
            "solutions_folder": str(references.FOLDER),
            "port": listener.getsockname()[1],
            "pid": os.getpid(),
            "secret": secret,
        }
        os.environ["LESSON_CANARY"] = secret
        try:
            with spares.sandbox(program) as sandbox:
                reply = sandbox.ask(run(PROBE, wire.pack_inputs([inputs])), Limits(seconds=60))
        finally:
            del os.environ["LESSON_CANARY"]
    if reply.status != "done":
        raise LessonError(f"The sandbox cannot run even the course's own code ({reply.status}).")
    (output,) = wire.unpack_outputs(reply.data, 1)
    if output.values is None or output.values.shape != (len(CANARIES),):
        raise LessonError(f"The sandbox cannot run even the course's own code ({output.about}).")
    return [name for name, escaped in zip(CANARIES, output.values, strict=True) if escaped]
