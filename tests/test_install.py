"""tools/install.py: which torch it takes. No package is installed here: the commands are recorded."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).resolve().parents[1] / "tools/install.py"


def _load():
    spec = importlib.util.spec_from_file_location("install", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def install(monkeypatch):
    """The script as a module, with the commands it would run in `install.ran`."""
    module = _load()
    module.ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, **_: module.ran.append(list(command)))
    return module


def test_torch_that_is_here_already_is_kept(install, monkeypatch):
    monkeypatch.setattr(install, "succeeds", lambda *command, seconds: "--no-index" in command)
    install.install_cpu_torch()
    assert install.ran == []


def test_without_a_gpu_torch_alone_comes_from_the_cpu_wheels(install, monkeypatch):
    monkeypatch.setattr(install, "succeeds", lambda *command, seconds: "--no-index" not in command)
    install.install_cpu_torch()
    [command] = install.ran
    assert command[-3:] == ["--no-deps", f"--index-url={install.CPU_WHEELS}", install.torch_requirement()]


def test_unreachable_cpu_wheels_are_one_line_and_no_error(install, monkeypatch, capsys):
    monkeypatch.setattr(install, "succeeds", lambda *command, seconds: False)
    install.install_cpu_torch()
    assert install.ran == []
    assert capsys.readouterr().out.count("\n") == 1


def test_here_leaves_torch_alone(install):
    install.install_here()
    requirements, course = install.ran
    assert install.torch_requirement() in install.requirements()
    assert set(install.requirements()) - set(requirements) == {install.torch_requirement()}
    assert course[-3:] == ["--no-deps", "--editable", str(FILE.parents[1])]


def test_a_question_without_an_answer_is_a_no():
    module = _load()
    assert module.succeeds(sys.executable, "-c", "pass", seconds=60)
    assert not module.succeeds(sys.executable, "-c", "raise SystemExit(1)", seconds=60)
    assert not module.succeeds(sys.executable, "-c", "import time; time.sleep(60)", seconds=0.2)
