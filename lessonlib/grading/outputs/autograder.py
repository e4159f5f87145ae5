"""Gradescope's autograder: a folder that grades one submission with the very same grader.

Gradescope starts `setup.sh` once and `run_autograder` for each submission, as root, in a container of its own.
Where that container forbids namespaces, bubblewrap cannot hold there; then nothing is graded unless the
folder was built to allow a plain process, whose code runs as another user who can read neither the tasks nor
the seed.
"""

from __future__ import annotations

import importlib.metadata
import json
import shutil
from pathlib import Path
from typing import Any

import lessonlib
from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.grading import submissions
from lessonlib.grading.grade import Terms, grade_student, task_ids_of
from lessonlib.grading.outputs import gradescope
from lessonlib.grading.roster import Student
from lessonlib.grading.sandbox.levels import choose
from lessonlib.grading.sandbox.supervisor import Limits

SETUP = """\
#!/usr/bin/env bash
# Gradescope runs this once, when the autograder is uploaded.
set -euo pipefail
apt-get update -qq
apt-get install -y -qq --no-install-recommends bubblewrap python3 python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install -q --extra-index-url https://download.pytorch.org/whl/cpu \\
    -r /autograder/source/requirements.txt
cd /autograder/source
chmod -R go-rwx terms.json lessonlib/grading/tasks lessonlib/grading/references
"""

RUN = """\
#!/usr/bin/env bash
# Gradescope runs this for each submission; without results.json it says that the autograder failed.
cd /autograder/source
exec /autograder/venv/bin/python -m lessonlib.cli gradescope run
"""


def build(folder: Path, seed: str, notebooks: list[str], seconds: float, allow_process: bool) -> Path:
    """Write the folder and the zip to upload.

    Raises:
        LessonError: the folder exists, or no exercise belongs to a notebook.
    """
    task_ids_of(notebooks)
    if folder.exists():
        raise LessonError(f"{folder} exists: remove it, or choose another --out.")
    package = Path(lessonlib.__file__).parent
    shutil.copytree(package, folder / "lessonlib", ignore=shutil.ignore_patterns("__pycache__"))
    terms = {"seed": seed, "notebooks": notebooks, "seconds": seconds, "allow_process": allow_process}
    write_text(folder / "terms.json", json.dumps(terms, indent=1) + "\n")
    requirements = [line for line in importlib.metadata.requires("lessonlib") or () if "extra ==" not in line]
    write_text(folder / "requirements.txt", "\n".join(requirements) + "\n")
    for name, text in {"setup.sh": SETUP, "run_autograder": RUN}.items():
        write_text(folder / name, text)
        (folder / name).chmod(0o755)
    return Path(shutil.make_archive(str(folder), "zip", folder))


def run(root: Path) -> dict[str, Any]:
    """Grade the submission under `root` (`/autograder`) and write its `results/results.json`.

    Raises:
        LessonError: this is no autograder, or nothing here isolates well enough.
    """
    path = root / "source" / "terms.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LessonError(
            f"{path} cannot be read: build the autograder with `lesson gradescope build`."
        ) from error
    level = choose(allow_process=known["allow_process"])
    terms = Terms(known["seed"], level, Limits(known["seconds"]), task_ids=task_ids_of(known["notebooks"]))
    contents = submissions.read((root / "submission",))
    results = gradescope.results(grade_student(Student("submission"), contents, terms))
    write_text(root / "results" / "results.json", json.dumps(results, indent=1) + "\n")
    return results
