"""`lesson lab`: JupyterLab on the first notebook of the course."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

import lessonlib
from lessonlib.errors import LessonError

START = "notebooks/00_start_here.ipynb"
DEFAULTS = Path(__file__).parent / "jupyter"  # settings of JupyterLab that a reader's own go before

app = typer.Typer(add_completion=False)


@app.command()
def lab(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to serve on; without it the first free one.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on: 0.0.0.0 in a container with a published port.")
    ] = "127.0.0.1",
    browser: Annotated[
        bool | None,
        typer.Option("--browser/--no-browser", help="Open a browser; without it, if there is a display."),
    ] = None,
) -> None:
    """Open the course in JupyterLab. Ctrl-C stops it."""
    folder = _course_folder()
    port = _free_port(host, port)
    token = secrets.token_urlsafe(16)
    typer.echo("Starting JupyterLab ...")
    signal.signal(signal.SIGINT, _interrupt)
    others = os.environ.get("JUPYTER_CONFIG_PATH")
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join([*([others] if others else []), str(DEFAULTS)])

    from jupyterlab.labapp import LabApp

    # In this process, not in a child: there is nothing that could outlive the command.
    server = LabApp.initialize_server(
        [
            f"--ServerApp.root_dir={folder}",
            f"--ServerApp.ip={host}",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={token}",
            f"--LabApp.default_url=/lab/tree/{START}",
            f"--ServerApp.open_browser={_has_display() if browser is None else browser}",
            f"--ServerApp.allow_root={_is_root()}",
            "--ServerApp.answer_yes=True",  # Ctrl-C means stop; Jupyter would ask
            "--Application.log_level=ERROR",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            "--LabApp.news_url=None",
        ]
    )
    # Jupyter starts to listen when its loop runs; the address is printed right after.
    server.io_loop.add_callback(_announce, "127.0.0.1" if host == "0.0.0.0" else host, port, token)
    server.start()
    typer.echo("JupyterLab stopped.")


def _announce(host: str, port: int, token: str) -> None:
    typer.echo(f"JupyterLab: http://{host}:{port}/lab/tree/{START}?token={token}")
    typer.echo("Ctrl-C stops it.")
    sys.stdout.flush()


def _interrupt(signum: int, frame: object) -> None:
    """Ctrl-C: once Jupyter handles SIGTERM, which ends its kernels too, stop that way; before, just leave.

    On a Unix terminal Jupyter replaces this handler by its own, which does the same.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGTERM)


def _course_folder() -> Path:
    """The folder with the notebooks: where the user stands, or else the clone this package comes from."""
    candidates = (Path.cwd(), Path(lessonlib.__file__).parents[1])
    for folder in candidates:
        if (folder / START).is_file():
            return folder
    raise LessonError(f"No {START} in {candidates[0]}: go to the folder you cloned the course into.")


def _free_port(host: str, wanted: int | None) -> int:
    """`wanted` if it can be bound on `host`, or the first free one from 8888, Jupyter's usual port."""
    for port in range(8888, 8988) if wanted is None else [wanted]:
        try:
            with socket.create_server((host, port)):
                return port
        except OSError as error:
            reason = error.strerror
    raise LessonError(
        f"Cannot listen on {host}:{wanted or '8888-8987'} ({reason}): choose another --port or --host."
    )


def _has_display() -> bool:
    """Whether a browser opened here would be seen: a display on Linux, and no ssh in between."""
    if sys.platform == "linux":
        return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
    return "SSH_CONNECTION" not in os.environ


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0
