"""The command line as a whole: help, exit codes, and what stays unloaded."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from lessonlib import __version__, cli
from lessonlib.errors import LessonError

HEAVY = ("torch", "numpy", "diffusers", "transformers", "jupyterlab")

run = CliRunner().invoke


@pytest.fixture
def failing(monkeypatch):
    """Add the command `lesson failing`, whose function raises what the test puts in."""

    def add(error):
        command = typer.Typer(add_completion=False)

        @command.command()
        def failing():
            raise error

        monkeypatch.setitem(sys.modules, "lessonlib.cli.failing", SimpleNamespace(app=command))
        monkeypatch.setattr(cli, "COMMANDS", (*cli.COMMANDS, "failing"))

    return add


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command):
    result = run(cli.app, [command, "--help"])
    assert result.exit_code == 0
    assert "--install-completion" not in result.output


def test_help_lists_every_command_with_a_description():
    result = run(cli.app, ["--help"])
    assert result.exit_code == 0
    rows = [line.strip("│ \n").split(maxsplit=1) for line in result.output.splitlines()]
    assert {row[0] for row in rows if len(row) == 2} >= set(cli.COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in cli.COMMANDS)])
def test_help_loads_nothing_heavy(arguments):
    code = (
        "import sys, atexit\n"
        f"atexit.register(lambda: print('HEAVY', [name for name in {HEAVY} if name in sys.modules]))\n"
        "import lessonlib.cli\n"
        "lessonlib.cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("HEAVY []\n")


def test_version():
    result = run(cli.app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"lesson {__version__}\n")


def test_a_lesson_error_is_one_plain_sentence_on_stderr(failing):
    sentence = "No notebook in " + "/a/long/folder" * 20 + ": go [there] first."
    failing(LessonError(sentence))
    result = run(cli.app, ["failing"])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", sentence + "\n")


def test_ctrl_c_is_130(failing):
    failing(KeyboardInterrupt())
    result = run(cli.app, ["failing"])
    assert (result.exit_code, result.stderr) == (130, "Stopped.\n")


SWALLOWED = """
import signal, sys, time, types, typer
from lessonlib import cli

class Late:
    def __del__(self):
        raise KeyboardInterrupt

def late():
    Late()
    time.sleep(600)

signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
command = typer.Typer(add_completion=False)
command.command()(late)
sys.modules["lessonlib.cli.doctor"] = types.SimpleNamespace(app=command)
sys.argv = ["lesson", "doctor"]
cli.main()
"""


def test_ctrl_c_in_a_finaliser_is_not_lost():
    done = subprocess.run([sys.executable, "-c", SWALLOWED], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_a_bug_is_not_hidden(failing):
    failing(ZeroDivisionError())
    assert isinstance(run(cli.app, ["failing"]).exception, ZeroDivisionError)


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["lab", "--port", "0"]])
def test_a_wrong_command_line_is_2(arguments):
    assert run(cli.app, arguments).exit_code == 2


def test_a_misspelt_command_is_recognised():
    assert "Did you mean 'lab'" in run(cli.app, ["lap"]).output
