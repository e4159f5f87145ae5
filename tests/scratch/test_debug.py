"""The comparison finds the layer where a student's model parts from the reference, and says why."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from tiny_unets import CONFIGS, inputs, reference_unet
from torch import nn

from lessonlib.errors import LessonError
from lessonlib.scratch import unet as scratch_unet
from lessonlib.scratch.debug import EXAMPLES, compare, example, main
from lessonlib.scratch.unet import UNet
from lessonlib.scratch.weights import load_weights


@pytest.fixture
def sdxl():
    torch.manual_seed(0)
    config, kwargs = example("sdxl")
    reference, model = UNet(config).eval(), UNet(config).eval()
    load_weights(model, reference.state_dict())
    return model, reference, kwargs


def test_equal_models_agree(sdxl):
    model, reference, kwargs = sdxl
    comparison = compare(model, reference, **kwargs)
    assert comparison.agrees
    assert comparison.first is None
    assert "All" in str(comparison)


def test_our_unet_agrees_with_diffusers_layer_by_layer():
    reference = reference_unet(CONFIGS["sdxl"])
    unet = UNet.from_diffusers(reference.config, reference.state_dict())
    comparison = compare(unet, reference, **inputs(CONFIGS["sdxl"]))
    assert comparison.agrees
    assert comparison.compared > 100


def test_another_computation_inside_a_layer(sdxl, monkeypatch):
    model, reference, kwargs = sdxl
    layer = model.down_blocks[1].attentions[0].transformer_blocks[0].ff.net[0]

    def swapped(x):
        value, gate = layer.proj(x).chunk(2, dim=-1)
        return F.gelu(value) * gate

    monkeypatch.setattr(layer, "forward", swapped)
    comparison = compare(model, reference, **kwargs)
    assert comparison.first.name == "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0"
    assert "its own forward puts them together" in comparison.reason
    assert "✗ down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0" in str(comparison)
    assert "layers before agree" in str(comparison)


def test_a_mistake_between_two_layers_is_seen_in_the_inputs(sdxl, monkeypatch):
    model, reference, kwargs = sdxl
    block = model.down_blocks[0].resnets[1]

    def without_activation(x, emb):
        h = block.conv1(F.silu(block.norm1(x)))
        h = h + block.time_emb_proj(emb)[:, :, None, None]  # forgets silu
        return x + block.conv2(F.silu(block.norm2(h)))

    monkeypatch.setattr(block, "forward", without_activation)
    comparison = compare(model, reference, **kwargs)
    assert comparison.first.name == "down_blocks.0.resnets.1.time_emb_proj"
    assert "what reaches it differs already" in comparison.reason
    assert "down_blocks.0.resnets.1 does after down_blocks.0.resnets.1.conv1" in comparison.reason


def test_other_weights_are_told_from_other_code(sdxl):
    model, reference, kwargs = sdxl
    with torch.no_grad():
        model.mid_block.resnets[0].norm2.weight += 0.1
    comparison = compare(model, reference, **kwargs)
    assert comparison.first.name == "mid_block.resnets.0.norm2"
    assert "its weight is another" in comparison.reason


def test_another_epsilon_in_a_norm_is_its_own_computation():
    norm, wrong = nn.GroupNorm(2, 4), nn.GroupNorm(2, 4, eps=0.1)
    comparison = compare(wrong, norm, torch.randn(2, 4, 3, 3))
    assert comparison.first.name == ""
    assert "same input, same weights" in comparison.reason


def test_another_shape_is_said(sdxl):
    model, reference, kwargs = sdxl
    model.conv_out = nn.Conv2d(model.conv_out.in_channels, 3, 3, padding=1)
    comparison = compare(model, reference, **kwargs)
    assert comparison.first.name == "conv_out"
    expected = "Yours is (2, 3, 16, 16) float32, the reference (2, 4, 16, 16) float32."
    assert expected in comparison.reason


def test_not_a_number_is_a_difference():
    class Broken(nn.Identity):
        def forward(self, x):
            return x * float("nan")

    assert compare(Broken(), nn.Identity(), torch.ones(2)).first.difference == float("inf")


def test_a_model_that_stops_is_compared_as_far_as_it_went(sdxl, monkeypatch):
    model, reference, kwargs = sdxl

    def stop(*_):
        raise RuntimeError("sizes of tensors must match")

    monkeypatch.setattr(model.up_blocks[0].resnets[0], "forward", stop)
    comparison = compare(model, reference, **kwargs)
    assert comparison.first is None
    assert not comparison.agrees
    assert "agrees up to mid_block" in comparison.reason
    assert "sizes of tensors must match" in comparison.reason


def test_models_without_a_common_layer():
    class Empty(nn.Module):
        def forward(self, x):
            raise RuntimeError("not yet")

    with pytest.raises(LessonError, match="share no layer"):
        compare(Empty(), nn.Sequential(nn.Identity()), torch.ones(1))


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_run(name):
    config, kwargs = example(name)
    with torch.no_grad():
        assert UNet(config)(**kwargs).shape == kwargs["sample"].shape


def student(tmp_path, replaced=("", "")):
    """A student's file: a copy of the UNet's source, possibly with a mistake."""
    file = tmp_path / "my_unet.py"
    with open(scratch_unet.__file__, encoding="utf-8") as source:
        file.write_text(source.read().replace(*replaced), encoding="utf-8")
    return f"{file}:UNet"


def test_command_line_says_where_a_mistake_is(tmp_path, capsys):
    assert main([student(tmp_path), "--config", "sdxl"]) == 0
    assert "agree" in capsys.readouterr().out
    assert main([student(tmp_path, ("eps=1e-6", "eps=1e-1")), "--config", "sdxl"]) == 1
    assert "down_blocks.1.attentions.0.norm is the first to differ" in capsys.readouterr().out
    assert main([student(tmp_path, ("self.conv_out", "self.last_conv"))]) == 1
    assert "missing last_conv.weight" in capsys.readouterr().err
    assert main(["nowhere.py:UNet"]) == 1
    assert "no file 'nowhere.py'" in capsys.readouterr().err


def test_scratch_imports_neither_diffusers_nor_transformers():
    code = (
        "import sys, pkgutil, importlib, lessonlib.scratch as s\n"
        "for m in pkgutil.walk_packages(s.__path__, 'lessonlib.scratch.'): importlib.import_module(m.name)\n"
        "print([m for m in ('diffusers', 'transformers', 'peft', 'cv2') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
