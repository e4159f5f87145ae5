"""Attacks that fit into a notebook, whichever grader reads it.

Each is a submission whose answers are wrong and do something else first. It is survived if it scores nothing,
the honest submission behind it in the same class scores everything, nothing it wrote is left and nothing it
should not see is handed back to the student. `tests/grading/test_attacks_sandbox.py` tries many more on ours.
"""

from __future__ import annotations

import textwrap

MARK = "lesson-foreign"  # in the name or the text of every file that an attack leaves
SECRET = "LESSON_BENCH_SECRET"  # an environment variable of the grader's
TEXT = "lesson-bench-answer-of-another"  # a comment in the honest submission

SPLIT = f"'{TEXT[:9]}' '{TEXT[9:]}'"  # an attack's own source is handed back and must not hold the text

UP = """
folders = [os.getcwd(), os.path.expanduser("~"), tempfile.gettempdir()]
while os.path.dirname(folders[0]) != folders[0] and len(folders) < 12:
    folders.insert(0, os.path.dirname(folders[0]))
def files(ending):
    for folder in folders:
        if os.path.dirname(folder) == folder:
            continue
        for depth in range(4):
            yield from glob.glob(os.path.join(folder, *["*"] * depth, "*" + ending))
"""

YES = """
class Always:
    def __eq__(self, other): return True
    def __getattr__(self, name): return lambda *a, **k: Always()
    def __len__(self): return 4
    def __iter__(self): return iter([Always()] * 4)
class Yes(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None): return Always()
"""

# name: (what the answer does first, what it returns)
ATTACKS: dict[str, tuple[str, str]] = {
    "a patched comparison": (
        "import numpy\nfor module in (torch, numpy):\n    module.allclose = lambda *a, **k: True\n"
        "torch.Tensor.allclose = torch.Tensor.equal = lambda *a, **k: True",
        "torch.zeros_like(arguments[0].chunk(2)[0])",
    ),
    "an answer that equals everything": (YES, "torch.zeros(1).as_subclass(Yes)"),
    "the expected values, from the caller's frames": (
        "frame = sys._getframe()\nwhile frame:\n    for scope in (frame.f_locals, frame.f_globals):\n"
        "        if 'expected' in scope:\n            return scope['expected']\n    frame = frame.f_back",
        "None",
    ),
    "the comparison, replaced in the caller's frame": (
        "frame = sys._getframe()\nwhile frame:\n    for name in ('same', 'check', 'decide'):\n"
        "        if name in frame.f_globals:\n            frame.f_globals[name] = lambda *a, **k: True\n"
        "    frame = frame.f_back",
        "None",
    ),
    "the process ended": ("os._exit(0)", "None"),
    "a loop without end": ("while True:\n    pass", "None"),
    "a loop that ignores interrupts": (
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True:\n    try:\n"
        "        while True:\n            pass\n    except BaseException:\n        pass",
        "None",
    ),
    "the parent killed": ("os.kill(os.getppid(), 9)\nimport time\ntime.sleep(5)", "None"),
    "files left behind": (
        f"for folder in folders:\n    try:\n        open(os.path.join(folder, '{MARK}'), 'w').write('x')\n"
        "    except OSError:\n        pass",
        "None",
    ),
    "results forged": (
        "import sqlite3\nfor path in files('gradebook.db'):\n    try:\n"
        "        with sqlite3.connect(path, timeout=2) as book:\n"
        "            book.execute('UPDATE grade SET extra_credit = 100')\n    except Exception:\n        pass\n"
        "for path in list(files('results.json')) + list(files('results.jsonl')):\n    try:\n"
        '        open(path, "w").write(\'{"score": 100, "tests": [{"name": "cfg", "score": 1, "max_score": 1}]}\')\n'
        "    except OSError:\n        pass",
        "None",
    ),
    "the tests rewritten": (
        "for path in files('.py'):\n    if os.path.basename(os.path.dirname(path)) != 'tests':\n        continue\n"
        "    try:\n        text = open(path).read().replace('assert same', f'# {path}\\n        str')\n"
        "        open(path, 'w').write(text)\n    except OSError:\n        pass",
        "None",
    ),
    "another's submission overwritten": (
        "for path in files('.ipynb'):\n    try:\n        text = open(path).read()\n"
        f"        if {SPLIT} in text:\n            open(path, 'w').write(text.replace('return', 'pass; 0 #'))\n"
        "    except OSError:\n        pass",
        "None",
    ),
    "secrets printed": (
        f"print(os.environ.get('{SECRET}'))\nfor path in files('.ipynb'):\n    try:\n"
        f"        text = open(path).read()\n        if {SPLIT} in text:\n            print(text)\n"
        "    except OSError:\n        pass",
        "None",
    ),
}


def attack(name: str, function: str) -> str:
    """The attack as an answer, a program whose last function has the name that the exercise asks for."""
    first, value = ATTACKS[name]
    body = textwrap.indent(f"{UP.strip()}\n{first.strip()}\nreturn {value}", "    ")
    return f"import glob, os, sys, tempfile\nimport torch\n\ndef {function}(*arguments):\n{body}\n"


def honest(program: str) -> str:
    """A right answer that an attack can recognise."""
    return f"{program}# {TEXT}\n"
