"""`lesson train lcm-lora`, from the command to a folder that loads, on random weights for a few seconds."""

import json

import numpy as np
import torch
from random_models import make_store
from typer.testing import CliRunner

from lessonlib.cli import app
from lessonlib.models import store


def test_the_command_shows_its_curve_and_saves_a_lora_that_loads(sd15_folder, tmp_path, monkeypatch):
    from diffusers import LCMScheduler, StableDiffusionPipeline

    from lessonlib.zoo.student import lcm_lora

    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    make_store(sd15_folder, tmp_path / "weights")
    store.add_member("vae", None, {"": "sd15-vae"})
    for name, value in {"SCENES": 8, "BATCH": 2, "PICTURES": 2, "TEACHER_STEPS": 2}.items():
        monkeypatch.setattr(lcm_lora, name, value)
    folder = tmp_path / "lora"
    result = CliRunner().invoke(app, ["train", "lcm-lora", "--minutes", "0.1", "--out", str(folder)])
    assert result.exit_code == 0, result.output
    assert "Loading" not in result.output
    lines = result.output.splitlines()
    curve = json.loads((folder / "curve.json").read_text())
    assert sum("step" in line for line in lines) >= len(curve) >= 2
    assert curve[-1]["step"] > 0
    assert curve[0]["loss"] is None
    assert np.isfinite(curve[-1]["loss"])
    assert (folder / "curve.png").is_file()

    pipeline = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"))
    pipeline.load_lora_weights(folder)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a cat", num_inference_steps=4, guidance_scale=1.0, output_type="pt").images
    assert torch.isfinite(image).all()
