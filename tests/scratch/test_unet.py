"""The UNet from scratch computes what diffusers' does, has its parameters, refuses what it cannot be."""

from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel
from tiny_unets import CONFIGS, TOLERANCE, difference, inputs, random_config, reference_unet

from lessonlib.errors import LessonError
from lessonlib.scratch.unet import REFINER, SD15, SDXL, UNet, UNetConfig


def pair(config, dtype=torch.float32):
    reference = reference_unet(config, dtype)
    return UNet.from_diffusers(reference.config, reference.state_dict()).eval(), reference


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CONFIGS)
def test_equals_diffusers(name, dtype):
    unet, reference = pair(CONFIGS[name], dtype)
    kwargs = inputs(CONFIGS[name], dtype)
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("seed", range(12))
def test_equals_diffusers_at_random_configurations(seed):
    config = random_config(seed)
    unet, reference = pair(config, torch.float64)
    kwargs = inputs(config, torch.float64, size=(13, 10))  # sizes that halving rounds up
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= 1e-6


@torch.no_grad()
@pytest.mark.parametrize("timestep", [7, 7.5, torch.tensor(7), torch.tensor([7])])
def test_one_timestep_for_the_whole_batch(timestep):
    unet, reference = pair(CONFIGS["sd15"])
    kwargs = {**inputs(CONFIGS["sd15"]), "timestep": timestep}
    assert difference(unet(**kwargs), reference(**kwargs).sample) <= 1e-4


@torch.no_grad()
def test_half_precision_stays_half():
    unet, _ = pair(CONFIGS["sdxl"], torch.bfloat16)
    assert unet(**inputs(CONFIGS["sdxl"], torch.bfloat16)).dtype == torch.bfloat16


def test_gradients_equal_diffusers():
    unet, reference = pair(CONFIGS["sdxl"], torch.float64)
    kwargs = inputs(CONFIGS["sdxl"], torch.float64)
    unet(**kwargs).square().mean().backward()
    reference(**kwargs).sample.square().mean().backward()
    theirs = dict(reference.named_parameters())
    assert max(difference(p.grad, theirs[n].grad) for n, p in unet.named_parameters()) <= 1e-6


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (SD15, 859_520_964),
        (SDXL, 2_567_463_684),
        (REFINER, 2_259_526_660),
        (replace(SD15, in_channels=9), 859_535_364),
        (replace(SD15, time_cond_proj_dim=256), 859_602_884),
    ],
    ids=["SD1.5", "SDXL", "refiner", "inpainting", "LCM"],
)
def test_full_size_parameters_and_keys(config, parameters):
    options = {name: getattr(config, name) for name in UNetConfig.__dataclass_fields__}
    with torch.device("meta"):
        unet, reference = UNet(config), UNet2DConditionModel(**options)
    assert sum(p.numel() for p in unet.parameters()) == parameters
    shapes = {key: value.shape for key, value in reference.state_dict().items()}
    assert {key: value.shape for key, value in unet.state_dict().items()} == shapes


def test_conversion_copies_the_weights():
    unet, reference = pair(CONFIGS["sd15"])
    with torch.no_grad():
        unet.conv_in.weight.zero_()
    assert reference.conv_in.weight.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("mid_block.resnets.0.conv1.weight"), "missing mid_block.resnets.0.conv1.weight"),
        (lambda s: s.update(stranger=torch.zeros(1)), "unknown stranger"),
        (
            lambda s: s.update({"conv_in.bias": torch.zeros(3)}),
            r"misshapen conv_in.bias \(3,\) instead of \(16,\)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, named):
    reference = reference_unet(CONFIGS["sd15"])
    state_dict = reference.state_dict()
    change(state_dict)
    with pytest.raises(LessonError, match=named):
        UNet.from_diffusers(reference.config, state_dict)


@pytest.mark.parametrize(
    "option",
    [
        {"class_embed_type": "timestep"},
        {"resnet_time_scale_shift": "scale_shift"},
        {"encoder_hid_dim_type": "ip_image_proj"},
        {"act_fn": "gelu"},
        {"dropout": 0.1},
        {"only_cross_attention": True},
        {"layers_per_block": [1, 2, 2, 2]},
        {"addition_embed_type": "image"},
        {"mid_block_type": "UNetMidBlock2D"},
        {"flip_sin_to_cos": False},
        {"an_option_of_tomorrow": 1},
    ],
    ids=lambda option: next(iter(option)),
)
def test_options_that_are_not_written_are_named(option):
    with pytest.raises(LessonError, match=next(iter(option))):
        UNetConfig.from_diffusers(option)


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ({"down_block_types": ("DownBlock2D",)}, "down_block_types has 1 entries for 4"),
        ({"attention_head_dim": (1, 2)}, "attention_head_dim has 2"),
        ({"down_block_types": ("AttnDownBlock2D",) * 4}, "AttnDownBlock2D"),
        ({"norm_num_groups": 24}, "norm_num_groups 24"),
        ({"addition_embed_type": "text_time"}, "addition_time_embed_dim"),
    ],
)
def test_contradicting_options_are_named(option, named):
    with pytest.raises(LessonError, match=named):
        UNetConfig(**option)


def test_options_switched_off_by_null_or_false_are_the_same():
    # SDXL's published configuration says "upcast_attention": null, SD1.5's false
    assert (
        UNetConfig.from_diffusers({"upcast_attention": None, "dual_cross_attention": False}) == UNetConfig()
    )


def test_missing_and_wrong_conditions_are_named():
    unet, _ = pair(CONFIGS["sdxl"])
    kwargs = inputs(CONFIGS["sdxl"])
    with pytest.raises(LessonError, match="added_cond_kwargs"):
        unet(**{**kwargs, "added_cond_kwargs": None})
    five = {**kwargs["added_cond_kwargs"], "time_ids": torch.zeros(2, 5)}
    with pytest.raises(LessonError, match="6 ids"):
        unet(**{**kwargs, "added_cond_kwargs": five})
    with pytest.raises(LessonError, match="time_cond_proj_dim"):
        unet(**kwargs, timestep_cond=torch.zeros(2, 8))
    with pytest.raises(LessonError, match="1 residuals for 9 skips"):
        unet(**kwargs, down_block_additional_residuals=[torch.zeros(())])
