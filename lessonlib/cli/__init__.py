"""The command `lesson`.

Each command is one file in this folder, named as the command is, with a module-level `app =
typer.Typer(add_completion=False)`: one function for a plain command (`lesson lab`), an `@app.callback()`
and several functions for a group (`lesson zoo train`). To add a command, write that file and add its name
to `COMMANDS`. The files are imported to print `lesson --help`, so torch and other heavy things are imported
inside functions.

Exit codes: 0 done; 1 a `LessonError`, printed as one sentence on stderr; 2 a command line that makes no
sense; 130 Ctrl-C.
"""

from __future__ import annotations

import _thread
import importlib
import signal
import sys
import threading
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import lessonlib
from lessonlib.errors import LessonError

COMMANDS = (
    "lab",
    "doctor",
    "models",
    "generate",
    "exercises",
    "grade",
    "gradescope",
    "progress",
    "world",
    "zoo",
    "train",
    "bench",
    "notebooks",
)


class _Commands(TyperGroup):
    """A group that imports a command's file when it is asked for, and turns errors into exit codes."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            # `self.commands` is where typer looks for "Did you mean ...?".
            self.commands.update({name: self.get_command(ctx, name) for name in COMMANDS})
            return None
        command = typer.main.get_command(importlib.import_module(f"lessonlib.cli.{cmd_name}").app)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LessonError as error:
            _complain(str(error))
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _complain("Stopped.")
            raise typer.Exit(130) from None


def _complain(sentence: str) -> None:
    """Print on stderr: red on a terminal, plain in a pipe or where NO_COLOR is set."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(sentence, style="red"), soft_wrap=True)


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"lesson {lessonlib.__version__}")
        raise typer.Exit


@app.callback()
def lesson(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Advanced image generation, hands on."""


def _send_again(swallowed: Any) -> None:
    """A Ctrl-C that falls into a finaliser (`__del__`) is swallowed there: it is sent once more, a moment later."""
    if not issubclass(swallowed.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(swallowed)
    elif sys.platform == "win32":
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:  # a real signal to this, the main thread, also ends a call that waits
        threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGINT)).start()


def main() -> None:
    """The console script `lesson`."""
    sys.unraisablehook = _send_again
    app(prog_name="lesson")
