"""`lesson lab`, started for real and stopped by Ctrl-C."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import nbformat
import psutil
import pytest

from lessonlib.cli.lab import START, _has_display

LAB = [sys.executable, "-m", "lessonlib.cli", "lab", "--no-browser"]
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT to one process")


@pytest.fixture
def course(tmp_path):
    """A folder with a first notebook."""
    (tmp_path / START).parent.mkdir()
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / START)
    return tmp_path


def _start(course, *options):
    """`lesson lab` in `course`, and the address it prints."""
    process = subprocess.Popen(
        [*LAB, *options],
        cwd=course,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A background job of a shell ignores Ctrl-C and hands that down; a terminal's job does not.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("JupyterLab: "):
            return process, line.split()[1]
    raise AssertionError(process.stderr.read() if process.stderr else "")


@posix
def test_serves_the_first_notebook_and_ctrl_c_stops_it_with_its_kernels(course):
    process, address = _start(course)
    try:
        page, token = address.split("?token=")
        server = page.removesuffix(f"/lab/tree/{START}")
        assert urllib.request.urlopen(address, timeout=60).status == 200
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{server}/api/contents/{START}", timeout=60)
        with urllib.request.urlopen(f"{server}/api/contents/{START}?token={token}", timeout=60) as answer:
            assert json.load(answer)["type"] == "notebook"
        notifications = f"{server}/lab/api/settings/@jupyterlab/apputils-extension:notification?token={token}"
        with urllib.request.urlopen(notifications, timeout=60) as answer:
            # no dialog about Jupyter's news over a reader's first notebook
            assert json.load(answer)["schema"]["properties"]["fetchNews"]["default"] == "false"
        urllib.request.urlopen(f"{server}/api/kernels?token={token}", data=b"", timeout=60)
        kernels = psutil.Process(process.pid).children(recursive=True)
        assert kernels

        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert out.endswith("JupyterLab stopped.\n")
    assert "lab.py" not in err, (
        "a traceback of the command (a kernel cut off while it starts may print its own)"
    )
    assert psutil.wait_procs(kernels, timeout=30)[1] == []
    socket.create_server(("127.0.0.1", int(server.rpartition(":")[2]))).close()


@posix
def test_takes_the_next_port_when_the_first_is_taken(course):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 8888))
            taken.listen()
        except OSError:
            pass  # someone else holds it: as good
        process, address = _start(course)
        process.terminate()
        process.communicate(timeout=60)
    assert ":8888/" not in address


def test_a_taken_port_is_named(course):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([*LAB, f"--port={port}"], cwd=course, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Cannot listen on 127.0.0.1:{port} ")
    assert done.stderr.count("\n") == 1


def test_no_browser_without_a_display(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not _has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert _has_display()
