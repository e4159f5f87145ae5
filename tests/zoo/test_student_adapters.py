"""What `lesson train controlnet` and `lesson train ip-adapter` do, on untrained models and a clock that ticks by itself."""

import functools
import itertools
import json

import numpy as np
import pytest
import torch
from diffusers import ControlNetModel, StableDiffusionPipeline
from PIL import Image
from typer.testing import CliRunner

from lessonlib.cli import train as command
from lessonlib.errors import LessonError
from lessonlib.models import store
from lessonlib.world.render import render
from lessonlib.zoo.latents import scene
from lessonlib.zoo.student import controlnet, ip_adapter, learning


@pytest.fixture(autouse=True)
def small(untrained_store, monkeypatch):
    """Few pictures and few steps; every look at the clock is a second later than the last."""
    for student in (controlnet, ip_adapter):
        ticking = functools.partial(learning.learn, clock=itertools.count().__next__, points=2)
        monkeypatch.setattr(student, "learn", ticking)
        monkeypatch.setattr(student, "PICTURES", 2)
        monkeypatch.setattr(student, "STEPS", 1)
        monkeypatch.setattr(student, "BATCH", 2)
        monkeypatch.setattr(student, "SCENES", 4)


@pytest.mark.parametrize("condition", ["canny", "depth"])
def test_a_students_controlnet_was_trained_and_loads(condition, tmp_path):
    seen = []
    curve = controlnet.train(tmp_path / "mine", 0.2, condition=condition, on_point=seen.append)
    assert seen == curve
    assert curve[-1].step > 0
    assert {"shuffled", controlnet.main_figure(condition)} <= curve[0].measured.keys()
    loaded = ControlNetModel.from_pretrained(tmp_path / "mine")
    assert loaded.controlnet_mid_block.weight.abs().max() > 0
    told = json.loads((tmp_path / "mine/curve.json").read_text())
    assert [point["step"] for point in told] == [point.step for point in curve]
    assert (tmp_path / "mine/curve.png").stat().st_size > 0


def test_zero_starts_where_sd15_is_and_random_does_not(tmp_path):
    curves = {
        start: controlnet.train(tmp_path / start, 0.05, start=start, seed=3) for start in ("zero", "random")
    }
    assert curves["zero"][0].measured != curves["random"][0].measured
    untouched = controlnet.train(tmp_path / "lineart", 0.05, condition="lineart", seed=3)
    assert set(untouched[0].measured) == {"edge_f1", "shuffled"}


def test_an_unknown_condition_is_named(tmp_path):
    with pytest.raises(LessonError, match=r"'kanny'.*canny"):
        controlnet.train(tmp_path, 0.1, condition="kanny")


def test_a_students_ip_adapter_was_trained_and_loads(tmp_path):
    curve = ip_adapter.train(tmp_path / "mine", 0.2)
    assert curve[-1].step > 0
    assert set(curve[0].measured) == {"recovered", "shuffled"}
    pipeline = StableDiffusionPipeline.from_pretrained(store.unfold("sd15"))
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_ip_adapter(
        str(tmp_path / "mine"), subfolder="models", weight_name="ip-adapter_sd15.safetensors"
    )
    reference = Image.fromarray(render(scene(0)).image)
    drawn = pipeline(
        "",
        ip_adapter_image=reference,
        num_inference_steps=1,
        output_type="np",
        generator=torch.manual_seed(0),
    ).images
    assert np.isfinite(drawn).all()


def test_the_commands_say_how_what_they_saved_is_loaded(tmp_path):
    for words, call in (
        (["controlnet", "--condition", "scribble", "--random"], "ControlNetModel.from_pretrained"),
        (["ip-adapter"], "load_ip_adapter"),
    ):
        result = CliRunner().invoke(
            command.app, [*words, "--minutes", "0.1", "--out", str(tmp_path / words[0])]
        )
        assert result.exit_code == 0, result.output
        assert call in result.output
        assert "shuffled" in result.output
        assert "Loading" not in result.output  # diffusers' bars would tear the curve apart
