"""`lesson doctor`: what is broken is named, and breaks the exit code."""

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import save_file
from torch import ones
from typer.testing import CliRunner

from lessonlib import cli
from lessonlib.cli import doctor
from lessonlib.models import store


@pytest.fixture
def weights(tmp_path, monkeypatch):
    source, root = tmp_path / "source", tmp_path / "weights"
    source.mkdir()
    save_file({"w": ones(64, 64)}, source / "model.safetensors")
    store.fold(source, "net", root)
    store.add_member("taesd", None, {"": "net"}, root)
    monkeypatch.setenv("LESSON_WEIGHTS", str(root))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LESSON_TIER", raising=False)
    return root


def report():
    result = CliRunner().invoke(cli.app, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert result.exit_code == (0 if found["ok"] else 1)
    return found, {check["name"]: check for check in found["checks"]}


def test_a_healthy_machine(weights):
    found, checks = report()
    assert found["ok"], [c for c in found["checks"] if c["state"] == "broken"]
    assert checks["zoo"]["text"] == "1 models in 1 parts, every file whole"
    assert checks["tier"]["text"].startswith(("tiny: ", "full: "))
    assert {"Python", "torch", "RAM", "GPU", "cache"} <= set(checks)


def test_every_lesson_says_what_it_needs_and_whether_it_fits(weights):
    found, _ = report()
    assert "parameters x 2 bytes" in found["formula"]
    assert len(found["lessons"]) >= 8
    for row in found["lessons"]:
        assert row["download"] > 1e9
        assert row["vram_sequential"] < row["vram_offload"] < row["vram"] < row["ram_cpu"]
        assert row["fits"] in ("yes", "with offload", "cpu, slow", "no")


def test_a_damaged_part_is_named(weights):
    (weights / "parts/net/weights.safetensors.gz").write_bytes(b"short")
    found, checks = report()
    assert not found["ok"]
    assert checks["zoo part net"]["text"].startswith("altered")


def test_an_installation_without_weights(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "nothing"))
    found, checks = report()
    assert not found["ok"]
    assert "no tiny weights" in checks["zoo"]["text"]


@pytest.mark.parametrize(
    ("requires", "state", "text"),
    [
        ("numpy>=1", "ok", ""),
        ("numpy>=999", "broken", "is not >=999"),
        ("no-such-package>=2", "broken", "pip install 'no-such-package>=2'"),
    ],
)
def test_versions_are_held_against_what_is_required(monkeypatch, requires, state, text):
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: [requires, "pytest; extra == 'dev'"])
    (check,) = doctor._packages()
    assert check.state == state
    assert text in check.text


def test_the_tables_for_people(weights):
    result = CliRunner().invoke(cli.app, ["doctor"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "1 SDXL base + refiner" in result.stdout
    assert "least VRAM" in result.stdout
    assert "fits here" in result.stdout


def test_a_mismatched_torchvision_is_named(weights, tmp_path):
    """What a torchvision built for another torch does: it is installed, and raises when imported."""
    site = tmp_path / "site"
    (site / "torchvision").mkdir(parents=True)
    (site / "torchvision/__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    (site / "torchvision-0.28.0.dist-info").mkdir()
    (site / "torchvision-0.28.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0+cu130\n"
    )
    path = os.pathsep.join([str(site), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-m", "lessonlib.cli", "doctor", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert result.returncode == 1, result.stderr
    (check,) = [c for c in json.loads(result.stdout)["checks"] if c["name"] == "torchvision"]
    assert check["state"] == "broken"
    assert "0.28.0+cu130 does not match torch" in check["text"]
    assert "nms" in check["text"]
