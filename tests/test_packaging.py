"""Set-up: the same packages for pip and conda, an idempotent Makefile, and what a wheel must carry."""

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def _pip_lines(environment):
    return next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))


def test_environment_yml_equals_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    expected = [*PROJECT["dependencies"]]
    for name, extra in PROJECT["optional-dependencies"].items():
        expected += extra if name != "detectors" else []  # brings a torchvision, which may not fit
    assert sorted(_pip_lines(environment)) == sorted(["-e .", *expected])
    assert f"python{PROJECT['requires-python']}" in environment["dependencies"]


def test_torchvision_is_not_asked_for():
    """A torchvision made for another torch stops diffusers from importing."""
    for lines in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()):
        assert not [line for line in lines if re.match(r"torchvision\b", line)]


def test_a_wheel_carries_every_file_of_the_package():
    patterns = PYPROJECT["tool"]["setuptools"]["package-data"]["lessonlib"]
    package = ROOT / "lessonlib"
    found = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    left_out = [path for path in found if path.suffix != ".py" and not any(map(path.match, patterns))]
    assert len(found) > 400
    assert left_out == []


@pytest.fixture
def clone(tmp_path):
    """The files `make` looks at, as a fresh clone has them."""
    for name in ("Makefile", "pyproject.toml", "tools/install.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _would_run(clone, target, **variables):
    # These tests may themselves run below `make PYTHON=... test`, whose choices must not reach in here.
    outer = ("MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "PYTHON")
    environment = {name: value for name, value in os.environ.items() if name not in outer} | variables
    command = ["make", "--dry-run", target]
    return subprocess.run(
        command, cwd=clone, env=environment, capture_output=True, text=True, check=True
    ).stdout


@needs_make
def test_make_installs_once_and_again_when_the_requirements_change(clone):
    assert _would_run(clone, "lab").count("tools/install.py") == 1
    assert _would_run(clone, "test").count("tools/install.py") == 3  # and the tests' needs, and detectors

    for stamp in (".venv/lab.stamp", ".venv/test.stamp", "build/detectors.stamp"):
        (clone / stamp).parent.mkdir(exist_ok=True)
        (clone / stamp).touch()
        time.sleep(0.01)
    assert _would_run(clone, "lab").split() == [".venv/bin/lesson", "lab"]
    assert "tools/install.py" not in _would_run(clone, "test")

    later = time.time() + 10
    os.utime(clone / "pyproject.toml", (later, later))
    assert "tools/install.py" in _would_run(clone, "lab")


@needs_make
def test_make_test_runs_every_check_and_ends_with_pytest(clone):
    lines = [line for line in _would_run(clone, "test").splitlines() if line.startswith(".venv/bin/")]
    assert [line.removeprefix(".venv/bin/").split(" -")[0] for line in lines] == [
        "ruff check",
        "ruff format",
        "basedpyright",
        "pytest",
        "pytest",
    ]
    assert "--nbval-lax notebooks" in lines[-2]
    assert "notebooks" not in lines[-1]  # the unit tests, which check the exercises as `make exercises` does


@needs_make
def test_make_looks_for_a_new_enough_python(clone):
    """An old `python3` first on the path is passed over."""
    (clone / "bin").mkdir()
    for name, body in (("python3", "exit 1"), ("python3.13", "exit 0")):
        (clone / "bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (clone / "bin" / name).chmod(0o755)
    path = f"{clone / 'bin'}{os.pathsep}{os.environ['PATH']}"
    assert "python3.13 tools/install.py" in _would_run(clone, "lab", PATH=path)


def test_install_explains_an_old_python(clone):
    code = f"import sys, runpy; sys.version_info = (3, 9); sys.argv = ['install']; runpy.run_path({str(clone / 'tools/install.py')!r}, run_name='__main__')"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer" in done.stderr
    assert not (clone / ".venv").exists()
