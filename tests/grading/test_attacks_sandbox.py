"""Attacks on the grader, for real: each scores 0 for a reason that has a name, and the next honest answer passes.

They are what nbgrader, otter, codejail, KernelBench and pygpubench were tried with, as answers to one exercise.
All go through one sandbox, one fork each, as a student's exercises do; those that end it make it start again.
"""

from __future__ import annotations

import os
import pickle
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch
from sandboxes import needs_bwrap

from lessonlib.errors import LessonError
from lessonlib.grading import references, tasks
from lessonlib.grading.grade import hidden_cases, judged
from lessonlib.grading.sandbox import levels, spares, walls
from lessonlib.grading.sandbox.canaries import escapes
from lessonlib.grading.sandbox.supervisor import Limits, Program, Sandbox, run

pytestmark = needs_bwrap

TASK = tasks.get("cfg")
LIMITS = Limits(seconds=30.0, memory=1 << 28, result=1 << 20)
SHORT = replace(LIMITS, seconds=1.0)

HONEST = """
def answer(noise_pred, guidance_scale):
    uncond, cond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)
"""

# What an attack ends with when it did not raise: an answer that only a fooled grader would take.
ZEROS = "    return torch.zeros_like(noise_pred.chunk(2)[0])\n"


def started() -> Program:
    """bubblewrap where namespaces cannot be made inside it: every student's sandbox is started anew."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(walls, "_namespaces_nest", lambda: False)
        return walls.bubblewrap()


@pytest.fixture(scope="module", params=["renewed", "started"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    if request.param == "renewed" and not walls.bubblewrap().renews:
        pytest.skip("namespaces cannot be made inside bubblewrap's here")
    with Sandbox(walls.bubblewrap() if request.param == "renewed" else started()) as one:
        one.start()
        process = one._process
        assert process is not None
        family = psutil.Process(process.pid).children(recursive=True)
        yield one
    assert not psutil.pid_exists(process.pid)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def grade(sandbox: Sandbox, source: str, limits: Limits = LIMITS) -> dict:
    hidden, inputs = hidden_cases("cfg", "the secret of this test")
    return judged(TASK, hidden, sandbox.ask(run(source, inputs), limits), source, limits)


def program(body: str, end: str = ZEROS) -> str:
    """An answer whose body does this first."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return f"import os, sys, torch\n\ndef answer(noise_pred, guidance_scale):\n{lines}{end}"


def to_every_descriptor(data: str, frame: str = "len(data).to_bytes(8, 'little') + data") -> str:
    """Write a frame to whatever is open: one of them is the way out."""
    return f"""
data = {data}
data = {frame}
for number in range(3, 64):
    try:
        os.write(number, data)
    except OSError:
        pass
"""


PUBLIC = {
    tuple(case.inputs["noise_pred"].shape): case.expected.astype("float32").tolist()
    for case in references.load(TASK)
}


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/lesson-pwned",)


ATTACKS = {
    # name: (kind of the result, a word of its reason or details, the program)
    "os._exit": ("exited", "exit code 0", program("os._exit(0)")),
    "os._exit with a code": ("exited", "exit code 7", program("os._exit(7)")),
    "sys.exit": ("error", "SystemExit", program("sys.exit(0)")),
    "a crash": ("crashed", "SIGSEGV", program("import ctypes\nctypes.string_at(0)")),
    "an abort": ("crashed", "SIGABRT", program("os.abort()")),
    "a patched torch": (
        "values",
        "not right",
        program(
            "for name in ('allclose', 'equal', 'isclose', 'all'):\n"
            "    setattr(torch, name, lambda *a, **k: True)\n"
            "torch.testing.assert_close = lambda *a, **k: None\n"
            "torch.Tensor.__eq__ = torch.Tensor.allclose = lambda *a, **k: True"
        ),
    ),
    "a patched NumPy": (
        "values",
        "not right",
        program(
            "import numpy\nnumpy.absolute = numpy.abs = lambda x: 0\n"
            "numpy.allclose = numpy.isfinite = lambda *a, **k: True"
        ),
    ),
    "asserts dropped": (
        "values",
        "not right",
        program(
            "import ast, builtins\nast.NodeTransformer.visit_Assert = lambda *a: None\n"
            "compiled = builtins.compile\nbuiltins.compile = lambda s, *a, **k: compiled('pass', *a, **k)"
        ),
    ),
    "a patched runner": (
        "values",
        "not right",
        program(
            "from lessonlib.grading.sandbox import inside, wire\n"
            'wire.pack_outputs = lambda outputs: b\'{"kind": "passed", "points": 10}\''
        ),
    ),
    "a patched caller": (
        "values",
        "not right",
        program(
            "from lessonlib.grading import answers, calling\n"
            "import numpy\n"
            "honest = answers.read\n"
            "calling.read = lambda v: answers.Output('tensor', shape=tuple(v.shape), dtype='torch.float32',"
            " values=numpy.zeros(tuple(v.shape)))"
        ),
    ),
    "a verdict instead of an answer": (
        "object",
        "dict",
        program("", "    return {'kind': 'passed', 'passed': True, 'points': 10, 'score': object()}\n"),
    ),
    "a tensor subclass": (
        "object",
        "subclass of torch.Tensor",
        "import torch\n\nclass Yes(torch.Tensor):\n    @classmethod\n"
        "    def __torch_function__(cls, func, types, args=(), kwargs=None):\n        return True\n\n"
        "def answer(noise_pred, guidance_scale):\n    return noise_pred.chunk(2)[0].as_subclass(Yes)\n",
    ),
    "equal to everything": (
        "object",
        "Yes",
        "class Yes:\n    def __eq__(self, other):\n        return True\n    def __getattr__(self, name):\n"
        "        return self\n    def __call__(self, *a, **k):\n        return self\n\n"
        "def answer(noise_pred, guidance_scale):\n    return Yes()\n",
    ),
    "a printed score": (
        "values",
        "not right",
        program(
            'print(\'{"score": 10, "tests": []}\')\nprint("PASSED", file=sys.stderr)\nsys.stdout.flush()'
        ),
    ),
    "a written score": (
        "error",
        "Read-only file system",
        program("os.makedirs('/autograder/results')\nopen('/autograder/results/results.json', 'w')"),
    ),
    "a score into every descriptor": (
        "forged",
        "not what a function returned",
        program(to_every_descriptor('b\'{"status": "done", "points": 10}\'')),
    ),
    "a score without a frame": (
        "forged",
        "not what a function returned",
        program(to_every_descriptor('b\'{"status": "done", "points": 10}\'', frame="data")),
    ),
    "a frame bomb": (
        "forged",
        "not what a function returned",
        program(to_every_descriptor("b'{' * 1000", frame="(2 ** 60).to_bytes(8, 'little') + data")),
    ),
    "a pickle into every descriptor": (
        "forged",
        "not what a function returned",
        program(to_every_descriptor(repr(pickle.dumps(Evil())))),
    ),
    "a pickle as the answer": (
        "object",
        "Evil",
        "class Evil:\n    def __reduce__(self):\n        import os\n"
        "        return os.system, ('touch /tmp/lesson-pwned',)\n\n"
        "def answer(noise_pred, guidance_scale):\n    return Evil()\n",
    ),
    "a header bomb": (
        "forged",
        "not what a function returned",
        program(to_every_descriptor("(2 ** 60).to_bytes(8, 'little') + b'{' * 1000") + "\nos._exit(0)"),
    ),
    "a shape bomb": (
        "forged",
        "not what a function returned",
        program(
            'h = b\'{"__metadata__": {"lesson": "[]"}, "0": {"dtype": "F64", '
            '"shape": [1099511627776], "data_offsets": [0, 8]}}\''
            + to_every_descriptor("len(h).to_bytes(8, 'little') + h + bytes(8)")
            + "\nos._exit(0)"
        ),
    ),
    "a JSON bomb": (
        "forged",
        "not what a function returned",
        program(
            "h = b'[' * 100000" + to_every_descriptor("len(h).to_bytes(8, 'little') + h") + "\nos._exit(0)"
        ),
    ),
    "reading the answers": (
        "error",
        "No such file",
        program(f"open({str(references.path(TASK))!r}, 'rb')"),
    ),
    "reading the solution": (
        "error",
        "No such file",
        program(f"open({str(Path(__file__).parents[2] / 'solutions' / '00_start_here.ipynb')!r})"),
    ),
    "importing the tasks": (
        "error",
        "ModuleNotFoundError",
        program(
            "from lessonlib.grading.tasks.cfg import TASK", "    return TASK.reference(noise_pred, 7.5)\n"
        ),
    ),
    "calling the library's reference": (
        "error",
        "ModuleNotFoundError",
        program("from lessonlib.scratch.guidance import classifier_free_guidance"),
    ),
    "importing the decider": (
        "error",
        "ImportError",
        program("from lessonlib.grading import deciding\ndeciding.decide = lambda *a: None"),
    ),
    "diffusers": ("error", "ModuleNotFoundError", program("import diffusers")),
    "walking the garbage collector": (
        "values",
        "not right",
        program(
            "import gc\nfor found in gc.get_objects():\n"
            "    if type(found) is dict and torch.is_tensor(found.get('expected')):\n"
            "        return found['expected']"
        ),
    ),
    "walking the frames": (
        "values",
        "not right",
        program(
            "frame = sys._getframe()\nwhile frame:\n    for name, value in frame.f_locals.items():\n"
            "        if name in ('hidden', 'expected', 'verdict', 'task', 'seed', 'solution'):\n"
            "            return value\n    frame = frame.f_back"
        ),
    ),
    "a loop without end": ("timeout", "longer than 1 s", program("while True:\n    pass")),
    "a loop that ignores interrupts": (
        "timeout",
        "longer than 1 s",
        program(
            "import signal\nfor number in range(1, 64):\n    try:\n"
            "        signal.signal(number, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\n"
            "while True:\n    try:\n        while True:\n            pass\n"
            "    except BaseException:\n        pass"
        ),
    ),
    "a sleep": ("timeout", "longer than 1 s", program("import time\ntime.sleep(3600)")),
    "a memory bomb": ("error", "MemoryError", program("x = [bytearray(1 << 24) for _ in range(1000)]")),
    "a memory bomb of tensors": (
        "error",
        "memory",
        program("x = [torch.ones(1 << 22) for _ in range(1000)]"),
    ),
    "a fork bomb": (
        "timeout",
        "longer than 1 s",
        program("while True:\n    try:\n        os.fork()\n    except OSError:\n        pass"),
    ),
    "a thread bomb": (
        "error",
        "thread",
        program(
            "import threading\nfor _ in range(10000):\n"
            "    threading.Thread(target=threading.Event().wait, daemon=True).start()"
        ),
    ),
    "a daemon": (
        "values",
        "not right",
        program(
            "import time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n"
            "        time.sleep(3600)\n    os._exit(0)"
        ),
    ),
    "a daemon that keeps the pipe": (
        "exited",
        "exit code 0",
        program("import time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(3600)\nos._exit(0)"),
    ),
    "the network": (
        "error",
        "unreachable",
        program("import socket\nsocket.create_connection(('1.1.1.1', 53), 3)"),
    ),
    "the name service": (
        "error",
        "gaierror",
        program("import socket\nsocket.getaddrinfo('example.org', 80)"),
    ),
    "deleting the packages": (
        "error",
        "Read-only file system",
        program("import shutil\nshutil.rmtree(os.path.dirname(torch.__file__))"),
    ),
    "altering the packages": (
        "error",
        "Errno",
        program("open(torch.__file__, 'a').write('raise SystemExit')"),
    ),
    "altering Python": (
        "error",
        "Read-only file system",
        program("open(os.path.join(os.path.dirname(os.__file__), 'sitecustomize.py'), 'w')"),
    ),
    "filling the disk": (
        "error",
        "No space left",
        program(
            "for number in range(1000):\n    with open(f'/tmp/{number}', 'wb', 0) as file:\n"
            "        file.write(bytes(8 << 20))"
        ),
    ),
    "one large file": ("error", "too large", program("open('/dev/shm/x', 'wb', 0).truncate(1 << 40)")),
    "flooding stdout": (
        "values",
        "not right",
        program("for _ in range(64):\n    os.write(1, bytes(1 << 20))\n    os.write(2, bytes(1 << 20))"),
    ),
    "flooding the result": (
        "flood",
        "more than 1 MB",
        program("while True:\n" + to_every_descriptor("bytes(1 << 16)").replace("\n", "\n    ")),
    ),
    "a large answer": (
        "flood",
        "more than 1 MB",
        program("", "    return torch.zeros(1 << 20, dtype=torch.float64)\n"),
    ),
    "tracing the grader": (
        "error",
        "PermissionError",
        program(
            "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "if libc.ptrace(16, os.getppid(), 0, 0) != 0:\n"
            "    raise PermissionError(ctypes.get_errno())"
        ),
    ),
    "the grader's memory": (
        "error",
        "PermissionError",
        program("open(f'/proc/{os.getppid()}/mem', 'r+b')"),
    ),
    "the grader's descriptors": (
        "error",
        "PermissionError",
        program("os.listdir(f'/proc/{os.getppid()}/fd')"),
    ),
    "a namespace of its own": (
        "error",
        "OSError",
        program(
            "import ctypes\nif ctypes.CDLL(None).unshare(0x10000000) != 0:\n    raise OSError('no namespace')"
        ),
    ),
    "becoming root": ("error", "Errno", program("os.setuid(0)")),
    "raising its limits": (
        "error",
        "ValueError",
        program("import resource\nresource.setrlimit(resource.RLIMIT_NPROC, (10 ** 6, 10 ** 6))"),
    ),
    "inherited descriptors": (
        "values",
        "not right",
        program(
            "import stat\nfor number in range(3, 64):\n    try:\n        kind = os.fstat(number).st_mode\n"
            "    except OSError:\n        continue\n"
            "    if not stat.S_ISFIFO(kind) and not stat.S_ISCHR(kind):\n"
            "        return os.read(number, 1 << 20)"
        ),
    ),
    "the grader's environment": (
        "values",
        "not right",
        program("if os.environ.get('LESSON_SEED'):\n    return os.environ['LESSON_SEED']"),
    ),
    "NaN": ("nonfinite", "NaN", program("", "    return noise_pred.chunk(2)[0] * float('nan')\n")),
    "infinity": ("nonfinite", "NaN", program("", "    return noise_pred.chunk(2)[0] / 0\n")),
    "a scalar that broadcasts": ("shape", "shape", program("", "    return torch.tensor(0.0)\n")),
    "a shape that broadcasts": ("shape", "shape", program("", "    return noise_pred[:1, :1]\n")),
    "another dtype": ("dtype", "dtype", HONEST.replace("return ", "return (").rstrip() + ").double()\n"),
    "answers of the public seed": (
        "values",
        "not right",
        f"import torch\nKNOWN = {PUBLIC!r}\n\ndef answer(noise_pred, guidance_scale):\n"
        "    known = KNOWN.get(tuple(noise_pred.shape))\n"
        "    return torch.tensor(known) if known else noise_pred.chunk(2)[0]\n",
    ),
    "terminal escapes and markup": (
        "error",
        "script",
        program("raise ValueError('\\x1b[2J\\x1b]0;owned\\x07<script>alert(1)</script>')"),
    ),
    "an error of its own": (
        "error",
        "Mine",
        program("class Mine(BaseException):\n    def __str__(self):\n        raise self\nraise Mine"),
    ),
    "not Python": ("error", "SyntaxError", "def answer(:\n"),
    "no function": ("error", "", "answer = 3\n"),
    "an answer that raises when it is defined": (
        "error",
        "ZeroDivisionError",
        "def answer(noise_pred, guidance_scale=1 / 0):\n    return noise_pred\n",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_scores_nothing_and_harms_nobody(name: str, sandbox: Sandbox) -> None:
    kind, word, source = ATTACKS[name]
    process = sandbox._process
    result = grade(sandbox, source, SHORT if kind == "timeout" else LIMITS)
    assert (result["points"], result["kind"]) == (0, kind), result
    assert word in result["reason"] + " " + " ".join(result["details"].values())
    assert grade(sandbox, HONEST)["points"] == TASK.points
    assert sandbox._process is process  # it has held: the honest answer ran where the attack did
    _nothing_is_left(sandbox)


# What ends the sandbox itself where it is started anew, for it starts again for the next exercise; a renewed one's server is
# the first process of its namespace, which nobody in it can kill or stop. name -> (kind where started, where renewed, ...)
FATAL = {
    "killing the grader": (
        "lost",
        "timeout",
        program("os.kill(os.getppid(), 9)\nimport time\ntime.sleep(60)"),
        SHORT,
    ),
    "killing everybody": ("lost", "error", program("os.kill(-1, 9)\nimport time\ntime.sleep(60)"), SHORT),
    "stopping the grader": (
        "lost",
        "timeout",
        program("os.kill(os.getppid(), 19)\nimport time\ntime.sleep(60)"),
        SHORT,
    ),
    "memory through many processes": (
        "memory",
        "memory",
        program(
            "import time\nfor _ in range(8):\n    if os.fork() == 0:\n        x = bytearray(140 << 20)\n"
            "        for i in range(0, len(x), 4096):\n            x[i] = 1\n        time.sleep(60)\n"
            "time.sleep(60)"
        ),
        LIMITS,
    ),
}


@pytest.mark.parametrize("name", FATAL)
def test_an_attack_that_ends_the_sandbox_ends_nothing_else(name: str, sandbox: Sandbox) -> None:
    lost, held, source, limits = FATAL[name]
    kind = held if sandbox.program.renews else lost
    sandbox.start()
    assert sandbox._process is not None
    before = psutil.Process(sandbox._process.pid).children(recursive=True)
    result = grade(sandbox, source, limits)
    assert (result["points"], result["kind"]) == (0, kind), result
    assert result["reason"]
    assert kind not in ("lost", "memory") or not [
        p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE
    ]
    assert grade(sandbox, HONEST)["points"] == TASK.points
    _nothing_is_left(sandbox)


def _nothing_is_left(sandbox: Sandbox) -> None:
    """No process but bubblewrap's own and the one that serves; nothing a pickle or a score could have made."""
    assert sandbox._process is not None
    family = [psutil.Process(sandbox._process.pid), *psutil.Process(sandbox._process.pid).children(True)]
    names = [p.name() for p in family if p.status() != psutil.STATUS_ZOMBIE]
    servers = 3 if sandbox.program.renews else 1  # the one that loaded torch, and two of this student
    assert [name for name in names if name not in ("bwrap", "setpriv")] == [
        os.path.basename(walls.python())[:15]
    ] * servers
    assert not os.path.exists("/tmp/lesson-pwned")
    assert not os.path.exists("/autograder/results/results.json")
    assert Path(torch.__file__).stat().st_size


def test_the_network_of_this_machine_is_out_of_reach(sandbox: Sandbox) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        port = listener.getsockname()[1]
        result = grade(sandbox, program(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 3)"))
        assert result["kind"] == "error"
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_what_an_exercise_needs_is_there_and_no_more(sandbox: Sandbox) -> None:
    source = "from PIL import Image\nimport numpy, math, safetensors\n" + HONEST
    assert grade(sandbox, source)["points"] == TASK.points
    code = "from lessonlib.scratch.guidance import classifier_free_guidance as g\n\ndef answer(n, w):\n"
    with Sandbox(walls.bubblewrap(("lessonlib.scratch",))) as wider:
        assert grade(wider, code + "    return g(*n.chunk(2), w)\n")["points"] == TASK.points
        assert grade(wider, program("import lessonlib.grading.tasks"))["kind"] == "error"


# A student leaves something in every place that processes can share, and a process that listens.
PLANTED = program(
    """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
for folder in ("/tmp", "/dev/shm"):
    open(folder + "/mine", "w").write("mine")
libc.shmget(4242, 4096, 0o1666)
libc.syscall(248, b"user", b"mine", b"mine", 4, -4)
if os.fork() == 0:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(chr(0) + "mine")
    listener.listen()
    import time
    time.sleep(60)
import time
time.sleep(0.3)
"""
)
# The places where it is found; a process has no pid of its own to be found by, but listens.
FOUND = program(
    """
import ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
found = [folder for folder in ("/tmp", "/dev/shm") if os.path.exists(folder + "/mine")]
found += ["memory"] if libc.shmget(4242, 4096, 0) >= 0 else []
found += ["keyring"] if libc.syscall(250, 10, -4, b"user", b"mine", 0) >= 0 else []
try:
    socket.socket(socket.AF_UNIX).connect(chr(0) + "mine")
    found += ["socket"]
except OSError:
    pass
found += [str(len([name for name in os.listdir("/proc") if name.isdigit()])) + " processes"]
raise ValueError(" ".join(found))
"""
)


def test_nothing_of_one_student_is_there_for_the_next(sandbox: Sandbox) -> None:
    def found() -> list[str]:
        return grade(sandbox, FOUND)["details"]["error"].split()[1:]

    sandbox.renew()
    clean = found()
    grade(sandbox, PLANTED)
    assert found() == [
        "/tmp",
        "/dev/shm",
        "memory",
        "keyring",
        *clean,
    ]  # the same student: only processes are gone
    process = sandbox._process
    sandbox.renew()
    assert found() == clean
    assert (sandbox._process is process) == sandbox.program.renews


def test_a_sandbox_that_cannot_be_renewed_is_started_anew(sandbox: Sandbox) -> None:
    sandbox.start()
    process = sandbox._process
    assert process is not None
    for server in psutil.Process(process.pid).children(recursive=True):
        server.kill()
    process.wait()
    sandbox.renew()
    assert grade(sandbox, HONEST)["points"] == TASK.points
    assert sandbox._process is not process


@pytest.mark.parametrize("kind", ["renewed", "started"])
def test_the_canaries_hold_here(kind: str) -> None:
    assert escapes(walls.bubblewrap() if kind == "renewed" else started()) == []
    spares.close()


def test_a_wall_with_a_hole_is_seen_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = started()
    command = [
        part for one in sound.command for part in ((one, "--share-net") if one == "--unshare-all" else (one,))
    ]
    leaky = replace(sound, command=tuple(command))
    monkeypatch.setitem(levels.WALLS, "sandboxed", lambda needs: leaky)
    with pytest.raises(LessonError, match="open a network connection"):
        levels.choose(wanted="sandboxed")
