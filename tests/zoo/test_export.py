"""`lesson zoo export` writes folders that load without this package."""

import json

import pytest
import torch
from random_models import make_store
from typer.testing import CliRunner

from lessonlib.cli import app


@pytest.fixture
def shipped(sd15_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    make_store(sd15_folder, tmp_path / "weights")
    (tmp_path / "weights/cards").mkdir()
    (tmp_path / "weights/cards/sd15.json").write_text('{"what": "A model."}')
    return tmp_path


def test_an_exported_member_loads_and_carries_its_card(shipped):
    from diffusers import StableDiffusionPipeline

    result = CliRunner().invoke(app, ["zoo", "export", str(shipped / "out")])
    assert result.exit_code == 0, result.output
    folder = shipped / "out/sd15"
    assert not list(folder.rglob(".lesson.json"))
    assert json.loads((folder / "card.json").read_text()) == {"what": "A model."}
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a cat", num_inference_steps=1, output_type="pt").images
    assert torch.isfinite(image).all()


def test_exporting_again_replaces_the_folder(shipped):
    folder = shipped / "out/sd15"
    folder.mkdir(parents=True)
    (folder / "old.txt").write_text("old")
    assert CliRunner().invoke(app, ["zoo", "export", str(shipped / "out"), "--name", "sd15"]).exit_code == 0
    assert not (folder / "old.txt").exists()


def test_an_unknown_member_and_an_unwritable_folder_are_one_sentence(shipped):
    unknown = CliRunner().invoke(app, ["zoo", "export", str(shipped / "out"), "--name", "sd16"])
    assert unknown.exit_code == 1
    assert "no member 'sd16'" in unknown.stderr
    (shipped / "file").write_text("")
    blocked = CliRunner().invoke(app, ["zoo", "export", str(shipped / "file")])
    assert blocked.exit_code == 1
    assert blocked.stderr.startswith("Cannot write")
