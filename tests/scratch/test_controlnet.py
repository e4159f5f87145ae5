"""ControlNet from scratch is diffusers', and what the lesson says about zero convolutions is so."""

import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel
from tiny_unets import CONFIGS, TOLERANCE, difference, inputs, randomise, reference_unet

from lessonlib.errors import LessonError
from lessonlib.scratch.controlnet import ControlNet, HintEncoder, MultiControlNet
from lessonlib.scratch.unet import SD15, UNet
from lessonlib.scratch.zero_conv import ZeroConv2d

HINTS = (4, 8)  # half the size: the pictures below are 32 pixels, the latents 16


def reference_controlnet(config, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    unet = reference_unet(config)
    reference = randomise(ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=HINTS), seed)
    for parameter in reference.parameters():
        parameter.data = parameter.data.to(dtype)
    return reference


def small(dtype=torch.float32):
    """A UNet, the ControlNet made from it, and what to call both with."""
    reference = reference_unet(CONFIGS["sd15"], dtype)
    unet = UNet.from_diffusers(reference.config, reference.state_dict()).eval()
    return unet, ControlNet.from_unet(unet, HINTS), inputs(CONFIGS["sd15"], dtype), pictures(dtype)


def pictures(dtype=torch.float32):
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def residuals(output):
    skips, middle = output
    return [*skips, middle]


def controlled(unet, controlnet, kwargs, picture, scale=1.0):
    skips, middle = controlnet(**kwargs, controlnet_cond=picture, conditioning_scale=scale)
    return unet(**kwargs, down_block_additional_residuals=skips, mid_block_additional_residual=middle)


# ----------------------------------------------------------------------------------------------------- parity


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", ["sd15", "sdxl", "inpainting", "attention in the middle"])
def test_equals_diffusers(name, dtype):
    reference = reference_controlnet(CONFIGS[name], dtype)
    controlnet = ControlNet.from_diffusers(reference.config, reference.state_dict())
    kwargs, picture = inputs(CONFIGS[name], dtype), pictures(dtype)
    ours = residuals(controlnet(**kwargs, controlnet_cond=picture, conditioning_scale=0.7))
    theirs = reference(**kwargs, controlnet_cond=picture, conditioning_scale=0.7, return_dict=False)
    theirs = residuals(theirs)
    assert len(ours) == len(theirs)
    assert max(map(difference, ours, theirs)) <= TOLERANCE[dtype]


@torch.no_grad()
def test_controlled_unet_equals_diffusers():
    reference = reference_unet(CONFIGS["sdxl"], torch.float64)
    unet = UNet.from_diffusers(reference.config, reference.state_dict())
    their_net = reference_controlnet(CONFIGS["sdxl"], torch.float64)
    net = ControlNet.from_diffusers(their_net.config, their_net.state_dict())
    kwargs, picture = inputs(CONFIGS["sdxl"], torch.float64), pictures(torch.float64)
    skips, middle = their_net(**kwargs, controlnet_cond=picture, return_dict=False)
    theirs = reference(
        **kwargs,
        down_block_additional_residuals=skips,
        mid_block_additional_residual=middle,
        return_dict=False,
    )[0]
    assert difference(controlled(unet, net, kwargs, picture), theirs) <= 1e-6


@torch.no_grad()
def test_several_nets_equal_diffusers():
    references = [reference_controlnet(CONFIGS["sd15"], torch.float64, seed) for seed in (1, 2)]
    ours = MultiControlNet([ControlNet.from_diffusers(r.config, r.state_dict()) for r in references])
    kwargs = inputs(CONFIGS["sd15"], torch.float64)
    conditions = [pictures(torch.float64), 1 - pictures(torch.float64)]
    got = residuals(ours(**kwargs, controlnet_cond=conditions, conditioning_scale=[1.0, 0.5]))
    theirs = MultiControlNetModel(references)(
        **kwargs, controlnet_cond=conditions, conditioning_scale=[1.0, 0.5], return_dict=False
    )
    assert max(map(difference, got, residuals(theirs))) <= 1e-6


def test_several_nets_need_a_scale_and_a_picture_each():
    _, net, kwargs, picture = small()
    both = MultiControlNet([net, net])
    with pytest.raises(LessonError, match="1 scales"):
        both(**kwargs, controlnet_cond=[picture, picture], conditioning_scale=[1.0])
    with pytest.raises(LessonError, match="1 pictures"):
        both(**kwargs, controlnet_cond=[picture], conditioning_scale=[1.0, 1.0])


def test_full_size_parameters():
    with torch.device("meta"):
        controlnet = ControlNet(SD15)
        theirs = ControlNetModel(cross_attention_dim=768)

    def count(*modules):
        return sum(p.numel() for module in modules for p in module.parameters())

    assert count(controlnet) == 361_279_120
    assert count(controlnet.controlnet_cond_embedding) == 1_086_480
    zero_convs = [m for m in controlnet.modules() if isinstance(m, ZeroConv2d) and m.kernel_size == (1, 1)]
    assert len(zero_convs) == 13
    assert count(*zero_convs) == 11_479_680
    shapes = {key: value.shape for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in controlnet.state_dict().items()} == shapes


# ---------------------------------------------------------------------------------------- the lesson's claims


def test_copy_starts_from_the_pretrained_encoder():
    unet, controlnet, _, _ = small()
    copied = {k: v for k, v in controlnet.state_dict().items() if not k.startswith("controlnet_")}
    theirs = unet.state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in copied.items())
    assert {key.split(".")[0] for key in copied} == {"conv_in", "time_embedding", "down_blocks", "mid_block"}
    with torch.no_grad():
        controlnet.conv_in.weight.zero_()  # and it is a copy: training it leaves the UNet alone
    assert unet.conv_in.weight.abs().sum() > 0


@torch.no_grad()
def test_at_the_start_the_unet_is_unchanged():
    unet, controlnet, kwargs, picture = small()
    assert difference(controlled(unet, controlnet, kwargs, picture), unet(**kwargs)) == 0.0


@torch.no_grad()
def test_only_what_comes_after_the_middle_changes():
    unet, controlnet, kwargs, picture = small()
    randomise(controlnet)
    outputs = []
    names = [f"{part}_blocks.{i}" for part in ("down", "up") for i in range(4)] + ["mid_block"]
    for name in names:
        unet.get_submodule(name).register_forward_hook(lambda m, i, out, n=name: outputs.append((n, out)))
    unet(**kwargs)
    plain = dict(outputs)
    controlled(unet, controlnet, kwargs, picture)
    steered = dict(outputs[len(plain) :])

    def same(name):
        (a, b) = (x[0] if isinstance(x, tuple) else x for x in (plain[name], steered[name]))
        return torch.equal(a, b)

    assert {name for name in names if not same(name)} == {f"up_blocks.{i}" for i in range(4)}


@torch.no_grad()
def test_random_instead_of_zero_convolutions_would_change_the_output_at_once():
    unet, controlnet, kwargs, picture = small()
    for module in controlnet.modules():
        if isinstance(module, ZeroConv2d):
            torch.nn.Conv2d.reset_parameters(module)
    plain = unet(**kwargs)
    assert (controlled(unet, controlnet, kwargs, picture) - plain).norm() > 0.1 * plain.norm()


def test_gradient_arrives_in_three_steps():
    """Step 1: zero convolutions. Step 2: also the copy and the last hint convolution. Step 3: everything."""
    unet, controlnet, kwargs, picture = small(torch.float64)
    unet.requires_grad_(False)
    optimizer = torch.optim.SGD(controlnet.parameters(), lr=0.1)
    target = torch.randn_like(kwargs["sample"])

    def parts_with_gradient():
        optimizer.zero_grad()
        (controlled(unet, controlnet, kwargs, picture) - target).square().mean().backward()
        moving = {name for name, p in controlnet.named_parameters() if p.grad is not None and p.grad.any()}
        optimizer.step()
        return moving

    everything = {name for name, _ in controlnet.named_parameters()}
    zero_convs = {n for n in everything if n.startswith(("controlnet_down_blocks", "controlnet_mid_block"))}
    hint = {n for n in everything if n.startswith("controlnet_cond_embedding")}
    last_hint = {n for n in hint if ".conv_out." in n}
    copy = everything - zero_convs - hint
    assert parts_with_gradient() == zero_convs
    assert parts_with_gradient() == zero_convs | copy | last_hint
    assert parts_with_gradient() == everything


@torch.no_grad()
def test_scale_is_linear():
    unet, controlnet, kwargs, picture = small()
    randomise(controlnet)
    whole, half, none = (
        residuals(controlnet(**kwargs, controlnet_cond=picture, conditioning_scale=s))
        for s in (1.0, 0.5, 0.0)
    )
    assert all(torch.equal(h, w / 2) for h, w in zip(half, whole, strict=True))
    assert not any(n.any() for n in none)
    assert difference(controlled(unet, controlnet, kwargs, picture, 0.0), unet(**kwargs)) == 0.0


def test_hint_encoder_starts_silent():
    assert not HintEncoder(8, HINTS)(pictures()).any()


# ----------------------------------------------------------------------------------------------- the mistakes


def test_a_picture_of_another_size():
    _, controlnet, kwargs, _ = small()
    with pytest.raises(LessonError, match=r"\(64, 64\) pixels"):
        controlnet(**kwargs, controlnet_cond=torch.zeros(2, 3, 64, 64))


def test_options_that_are_not_written_are_named():
    config = {**reference_controlnet(CONFIGS["sd15"]).config, "controlnet_conditioning_channel_order": "bgr"}
    with pytest.raises(LessonError, match="controlnet_conditioning_channel_order='bgr'"):
        ControlNet.from_diffusers(config, {})


@torch.no_grad()
def test_distilled_guidance_stays_with_the_unet():
    reference = reference_unet(CONFIGS["lcm"])
    unet = UNet.from_diffusers(reference.config, reference.state_dict())
    controlnet = ControlNet.from_unet(unet, HINTS)
    kwargs = inputs(CONFIGS["lcm"])
    condition = kwargs.pop("timestep_cond")
    skips, middle = controlnet(**kwargs, controlnet_cond=pictures())
    steered = unet(
        **kwargs,
        timestep_cond=condition,
        down_block_additional_residuals=skips,
        mid_block_additional_residual=middle,
    )
    assert difference(steered, unet(**kwargs, timestep_cond=condition)) == 0.0
