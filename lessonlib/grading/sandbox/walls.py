"""How the inside is started: in bubblewrap, in a container, or as a plain process.

What is bound is the same everywhere: Python and its standard library, torch, NumPy, Pillow, safetensors and
OpenCV with what they require, the few files of this package that the inside runs, and what a task needs besides.
Everything is read-only. Tasks, references, solutions and the rest of this package are not there.
"""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import lessonlib
from lessonlib.errors import LessonError
from lessonlib.grading.sandbox.namespaces import SPACE
from lessonlib.grading.sandbox.supervisor import Program

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "cv2")
PRELOADED = ("torch", "PIL.Image", "safetensors.torch", "safetensors.numpy", "cv2")
# The files of this package that the inside runs.
OWN = (
    "__init__.py",
    "errors.py",
    "exports.py",
    "grading/__init__.py",
    "grading/answers.py",
    "grading/calling.py",
    "grading/notebooks.py",
    "grading/task.py",
    "grading/sandbox/__init__.py",
    "grading/sandbox/wire.py",
    "grading/sandbox/inside.py",
    "grading/sandbox/namespaces.py",
)
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "HOME": "/tmp",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}
INSIDE_CODE, INSIDE_PACKAGES = "/course/code", "/course/packages"
NOBODY = "65534"

Binds = dict[str, str]  # place inside -> path outside


# --- What is bound ------------------------------------------------------------------------------------------


@cache
def binds(needs: tuple[str, ...] = ()) -> Binds:
    """Everything that is readable inside, for tasks that need these modules besides.

    Raises:
        LessonError: a module is not installed.
    """
    found: Binds = {}
    for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"):
        if os.path.isdir(folder) and not os.path.islink(folder):
            found[folder] = folder
    for file in ("/etc/ld.so.cache",):
        if os.path.isfile(file):
            found[file] = file
    for path in (python(), os.path.join(sys.base_prefix, "lib"), sysconfig.get_path("stdlib")):
        if not any(_is_below(path, place) for place in found):
            found[path] = path
    root = Path(lessonlib.__file__).parent
    found |= {f"{INSIDE_CODE}/lessonlib/{name}": str(root / name) for name in OWN}
    found[f"{INSIDE_CODE}/lessonlib/grading/practice.py"] = str(root / "grading/sandbox/practice.py")
    for name in needs:
        if name.split(".")[0] == "lessonlib":
            found |= dict(_own_module(name))
    wanted = [*PACKAGES, *(name.split(".")[0] for name in needs if name.split(".")[0] != "lessonlib")]
    own = [path for place, path in found.items() if place.startswith(INSIDE_CODE)]
    wanted += sorted({name for path in own for name in _imported(Path(path))} - {"lessonlib"})
    for distribution in _required(wanted):
        found |= dict(_top_level(distribution))
    return found


def hidden() -> list[str]:
    """Folders inside what is bound that must look empty: packages of the Python that is bound."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    folders = {sysconfig.get_path(name, vars=base) for name in ("purelib", "platlib")}
    folders |= {"/usr/lib/python3/dist-packages", "/usr/local/lib"}
    seen = binds(())
    return sorted(f for f in folders if os.path.isdir(f) and any(_is_below(f, place) for place in seen))


def python() -> str:
    """The interpreter itself, not a virtual environment's link to it."""
    return os.path.realpath(sys.executable)


def links() -> dict[str, str]:
    """/lib and the like, where they are links to /usr/lib: place -> target."""
    return {name: os.readlink(name) for name in ("/lib", "/lib64", "/bin", "/sbin") if os.path.islink(name)}


def _own_module(name: str) -> Iterator[tuple[str, str]]:
    root = Path(lessonlib.__file__).parent
    path = root.joinpath(*name.split(".")[1:])
    path = path if path.is_dir() else path.with_suffix(".py")
    if not path.exists() or path == root:
        raise LessonError(f"A task needs {name}, which this package does not have: correct its `needs`.")
    for parent in path.parents:  # the packages on the way
        if parent == root:
            break
        yield (
            f"{INSIDE_CODE}/lessonlib/{(parent / '__init__.py').relative_to(root)}",
            str(parent / "__init__.py"),
        )
    yield f"{INSIDE_CODE}/lessonlib/{path.relative_to(root)}", str(path)


def _imported(path: Path) -> set[str]:
    """The packages outside the standard library that a module, or a package's modules, import at once."""
    found: set[str] = set()
    for file in path.rglob("*.py") if path.is_dir() else (path,):
        for statement in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(statement, ast.Import):
                found |= {alias.name.split(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom) and statement.module and not statement.level:
                found.add(statement.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


def _required(names: list[str]) -> Iterator[importlib.metadata.Distribution]:
    """Distributions by import or project name, with everything they require, without extras."""
    by_module = importlib.metadata.packages_distributions()
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key in seen:
            continue
        seen.add(key)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name in by_module and by_module[name][0] != name:
                waiting.append(by_module[name][0])
            elif name in names:
                raise LessonError(
                    f"A task needs {name}, which is not installed: pip install {name}."
                ) from None
            continue
        yield found
        for requirement in found.requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def _top_level(distribution: importlib.metadata.Distribution) -> Iterator[tuple[str, str]]:
    """The folders and files that a distribution has put beside each other, its metadata included."""
    for name in {
        file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")
    }:
        path = str(distribution.locate_file(name))
        if not name.endswith(".pth") and os.path.exists(path):
            yield f"{INSIDE_PACKAGES}/{name}", path


def _is_below(path: str, folder: str) -> bool:
    return os.path.commonpath([path, folder]) == folder


def _start(code: str, packages: str, kind: str, needs: tuple[str, ...]) -> list[str]:
    """The command that starts the inside as this kind of server."""
    program = "from lessonlib.grading.sandbox.inside import main; main()"
    return [*_python(code, packages, program), kind, *PRELOADED, *needs]


def _python(code: str, packages: str, program: str) -> list[str]:
    """A program in the bound Python; -I and -S keep every other path and set-up out."""
    return [python(), "-I", "-S", "-B", "-c", f"import sys; sys.path[:0] = {[code, packages]!r}; {program}"]


# --- bubblewrap ---------------------------------------------------------------------------------------------


def bubblewrap(needs: tuple[str, ...] = ()) -> Program:
    """A sandbox of namespaces: no network, no other process, nothing to write but a small /tmp.

    Where the kernel lets it, it can be renewed for the next student: what a student's code sees are then namespaces of that
    student's own inside bubblewrap's, and it has no capability in either.

    Run by root, the inside is another user (nobody) outside as well, because the kernel does not limit root's
    number of processes.

    Raises:
        LessonError: bwrap is not installed.
    """
    renews = _namespaces_nest()
    inside = _start(INSIDE_CODE, INSIDE_PACKAGES, "nursery" if renews else "alone", needs)
    return Program(
        "sandboxed", _in_bubblewrap(needs, inside, renews), {"PATH": "/usr/bin:/bin"}, renews=renews
    )


@cache
def _namespaces_nest() -> bool:
    """Whether namespaces can be made inside bubblewrap's: some systems take every capability from what bwrap starts."""
    inside = _python(
        INSIDE_CODE, INSIDE_PACKAGES, "from lessonlib.grading.sandbox.namespaces import enter; enter()"
    )
    try:
        tried = subprocess.run(
            _in_bubblewrap((), inside, True),
            env={"PATH": "/usr/bin:/bin"},
            capture_output=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _in_bubblewrap(needs: tuple[str, ...], inside: list[str], nests: bool) -> tuple[str, ...]:
    """The command that runs another in bubblewrap, where it may make namespaces or not."""
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise LessonError(
            "bubblewrap is not installed: `apt-get install bubblewrap` (Debian, Ubuntu), `dnf install "
            "bubblewrap` (Fedora) or `conda install -c conda-forge bubblewrap`."
        )
    bound = binds(needs)
    if os.geteuid() != 0:
        return tuple(_namespaces(bwrap, bound, nests) + inside)
    stages = {place: f"/stage/{number}" for number, place in enumerate(bound)}
    outer = [bwrap, "--die-with-parent", "--ro-bind", "/usr", "/usr"]
    for name in ("/lib", "/lib64", "/bin", "/sbin"):
        if os.path.islink(name):
            outer += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            outer += ["--ro-bind", name, name]
    outer += ["--ro-bind", os.path.realpath(bwrap), "/bwrap", "--dev-bind", "/dev", "/dev"]
    outer += ["--bind", "/proc", "/proc", "--tmpfs", "/tmp", "--perms", "0755", "--dir", "/stage"]
    for place, stage in stages.items():
        outer += ["--ro-bind", bound[place], stage]
    outer += ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    return tuple(outer + _namespaces("/bwrap", stages, nests) + inside)


def _namespaces(bwrap: str, bound: Binds, nests: bool) -> list[str]:
    command = [
        bwrap,
        "--unshare-all",
        "--unshare-user",
        "--uid",
        "1000",
        "--gid",
        "1000",
        "--cap-drop",
        "ALL",
    ]
    command += ["--cap-add", "CAP_SYS_ADMIN"] if nests else ["--disable-userns"]
    command += ["--clearenv", "--die-with-parent", "--new-session", "--hostname", "sandbox"]
    for name, value in ENVIRONMENT.items():
        command += ["--setenv", name, value]
    for place, path in bound.items():
        command += ["--ro-bind", path, place]
    for folder in hidden():
        command += ["--tmpfs", folder, "--remount-ro", folder]
    for place, target in links().items():
        command += ["--symlink", target, place]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder in ("/dev/shm", "/tmp"):
        command += ["--perms", "1777", "--size", str(SPACE), "--tmpfs", folder]
    return command + ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


# --- Containers ---------------------------------------------------------------------------------------------

IMAGE = "lesson-empty"


def container(needs: tuple[str, ...] = ()) -> Program:
    """docker or podman with an empty image: everything inside is bound from outside, read-only.

    Raises:
        LessonError: neither is installed.
    """
    engine = shutil.which("podman") or shutil.which("docker")
    if engine is None:
        raise LessonError("Neither podman nor docker is installed.")
    name = f"lesson-{uuid.uuid4().hex[:12]}"
    command = [engine, "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only"]
    command += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", f"{NOBODY}:{NOBODY}"]
    command += ["--pids-limit", "64", "--memory", "4g", "--workdir", "/tmp"]
    command += ["--ulimit", "nofile=256:256", "--ulimit", "nproc=4096:4096"]
    command += ["--tmpfs", f"/tmp:rw,size={SPACE},mode=1777", "--shm-size", str(SPACE)]
    for key, value in ENVIRONMENT.items():
        command += ["--env", f"{key}={value}"]
    bound = binds(needs)
    for place, path in bound.items():
        command += ["--volume", f"{path}:{place}:ro"]
    for place, target in links().items():
        if (whole := os.path.normpath(os.path.join("/", target))) in bound:
            command += ["--volume", f"{whole}:{place}:ro"]
    empty = "ro,size=4096" + (",notmpcopyup" if "podman" in engine else "")  # podman would copy what it hides
    for folder in hidden():
        command += ["--tmpfs", f"{folder}:{empty}"]
    # Root may do everything to a process of its container but what `--cap-drop` took: nobody else is in it.
    command += ["--entrypoint", python(), IMAGE]
    inside = _start(INSIDE_CODE, INSIDE_PACKAGES, "alone", needs)[1:]
    return Program("container", tuple(command + inside), dict(os.environ), (engine, "rm", "--force", name))


# --- A plain process ----------------------------------------------------------------------------------------


def process(needs: tuple[str, ...] = ()) -> Program:
    """A process with limits of time and memory, and nothing that isolates it.

    Root starts it as nobody, where nobody can read Python and the packages.
    """
    code = str(Path(lessonlib.__file__).parents[1])
    spec = importlib.util.find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    packages = str(Path(spec.origin).parents[1])
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
    environment = {**kept, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    user = int(NOBODY) if _nobody_reads(code, packages) else None
    return Program("process", tuple(_start(code, packages, "shared", needs)), environment, user=user)


@cache
def _nobody_reads(*folders: str) -> bool:
    """Whether root can start Python as nobody, and nobody can list these folders."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return False
    program = f"import os; [os.listdir(folder) for folder in {folders!r}]"
    try:
        tried = subprocess.run(
            [python(), "-I", "-S", "-c", program],
            user=int(NOBODY),
            group=int(NOBODY),
            extra_groups=(),
            capture_output=True,
            check=False,
        )
    except OSError:
        return False
    return tried.returncode == 0
