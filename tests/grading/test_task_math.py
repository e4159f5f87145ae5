"""The tasks' references are what the course's pieces from scratch, and diffusers, compute in their own ways."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
# (diffusers annotates its keyword arguments and outputs too narrowly)
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.embeddings import get_timestep_embedding
from PIL import Image

from lessonlib.grading import tasks
from lessonlib.scratch.attention import Attention
from lessonlib.scratch.controlnet import ControlNet, MultiControlNet
from lessonlib.scratch.embeddings import micro_conditioning, timestep_embedding
from lessonlib.scratch.ip_adapter import DecoupledCrossAttention, ImagePrompt
from lessonlib.scratch.unet import UNet, UNetConfig
from lessonlib.scratch.zero_conv import ZeroConv2d


def given(task_id: str, seed: int = 3):
    """(what the task's reference answers, its inputs)"""
    task = tasks.get(task_id)
    inputs = task.inputs(seed)
    return task.reference(*task.inputs(seed).values()), inputs


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.allclose(a, b.to(a.dtype), rtol=1e-4, atol=1e-4)


def test_timestep_embedding() -> None:
    answer, inputs = given("timestep_embedding")
    assert close(answer, timestep_embedding(**inputs))
    theirs = get_timestep_embedding(
        inputs["timesteps"], inputs["dim"], flip_sin_to_cos=True, downscale_freq_shift=0
    )
    assert close(answer, theirs)


def test_add_embedding() -> None:
    answer, inputs = given("add_embedding")
    assert close(answer, micro_conditioning(inputs["pooled"], inputs["time_ids"], inputs["dim"]))


def test_vae_latents() -> None:
    answer, inputs = given("vae_latents")
    distribution = DiagonalGaussianDistribution(torch.cat([inputs["mean"], inputs["logvar"]], dim=1))
    sample = distribution.mean + distribution.std * inputs["noise"]
    assert close(answer, sample * inputs["scaling_factor"])


def test_latent_shape_is_the_vaes() -> None:
    from diffusers import AutoencoderKL

    config = {"block_out_channels": (4, 4, 4, 4), "norm_num_groups": 2, "latent_channels": 4}
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    vae = AutoencoderKL(**config, **blocks)
    with torch.no_grad():
        latents = vae.encode(torch.zeros(2, 3, 32, 48)).latent_dist.mode()
    assert tasks.get("latent_shape").reference(2, 32, 48, [4] * 4, 4) == tuple(latents.shape)


def test_canny_map() -> None:
    answer, inputs = given("canny_map")
    edges = cv2.Canny(np.asarray(inputs["image"]), inputs["low_threshold"], inputs["high_threshold"])
    assert np.array_equal(np.asarray(answer), np.stack([edges] * 3, axis=-1))
    assert 0.02 < (edges > 0).mean() < 0.4  # there is something to find


def test_control_tensor_is_the_pipelines() -> None:
    answer, inputs = given("control_tensor")
    processor = VaeImageProcessor(vae_scale_factor=1, do_convert_rgb=True, do_normalize=False)
    theirs = processor.preprocess(Image.fromarray(inputs["picture"]))
    assert close(answer, theirs.repeat(inputs["batch_size"], 1, 1, 1))


def test_zero_conv_gradients_are_the_modules() -> None:
    answer, inputs = given("zero_conv_gradients")
    encoder, zero = torch.nn.Conv2d(3, 4, 1, bias=False), ZeroConv2d(4, 5)
    encoder.weight.data = inputs["encoder"][..., None, None]
    x, target = inputs["x"][None, :, None], inputs["target"][None, :, None]
    for step in range(2):
        loss = (zero(encoder(x)) - target).square().sum() / 2
        gradients = torch.autograd.grad(loss, (zero.weight, encoder.weight))
        assert close(answer[f"zero_{step}"], gradients[0][..., 0, 0])
        assert close(answer[f"encoder_{step}"], gradients[1][..., 0, 0])
        zero.weight.data -= inputs["lr"] * gradients[0]
        encoder.weight.data -= inputs["lr"] * gradients[1]
    assert not answer["encoder_0"].any()


@torch.no_grad()
def test_residuals_enter_the_unet_as_the_task_says() -> None:
    """The way up on the task's skips and middle gives what the UNet gives with a ControlNet's residuals."""
    torch.manual_seed(0)
    config = UNetConfig.from_diffusers(
        {
            "block_out_channels": (8, 16),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": 6,
            "attention_head_dim": 4,
        }
    )
    unet = UNet(config).eval()
    sample, text = torch.randn(1, 4, 8, 8), torch.randn(1, 5, 6)
    emb = unet.embed(torch.tensor(10), 1, None, None)
    middle, skips = unet.encode(unet.conv_in(sample), emb, text)
    residuals, middle_residual = [torch.randn_like(skip) for skip in skips], torch.randn_like(middle)
    new_skips, new_middle = tasks.get("residual_injection").reference(
        skips, middle, residuals, middle_residual, 0.7
    )

    expected = unet(
        sample,
        10,
        text,
        down_block_additional_residuals=[0.7 * residual for residual in residuals],
        mid_block_additional_residual=0.7 * middle_residual,
    )
    without = unet(sample, 10, text)
    by_hand = unet(
        sample,
        10,
        text,
        down_block_additional_residuals=[new - old for new, old in zip(new_skips, skips, strict=True)],
        mid_block_additional_residual=new_middle - middle,
    )
    assert close(expected, by_hand)
    assert not close(expected, without)


class Fixed(ControlNet):
    """A net that always gives the same residuals."""

    def __init__(self, parts: list[torch.Tensor]) -> None:
        torch.nn.Module.__init__(self)
        self.parts = parts

    def forward(self, sample, timestep, states, picture, scale, added):  # type: ignore[override]
        return [part * scale for part in self.parts[:-1]], self.parts[-1] * scale


def test_multi_control() -> None:
    answer, inputs = given("multi_control")
    nets = MultiControlNet([Fixed(parts) for parts in inputs["residuals"]])
    picture = torch.zeros(1, 3, 8, 8)
    skips, middle = nets(torch.zeros(1, 4, 1, 1), 0, None, [picture] * 3, inputs["scales"])
    parts = [*skips, middle]
    assert len(parts) == len(answer)
    assert all(map(close, answer, parts))


def layer(dim: int, context: int, heads: int = 1) -> DecoupledCrossAttention:
    """A decoupled attention whose text projections are zero and whose output is what attention gives."""
    attention = DecoupledCrossAttention(Attention(dim, heads, dim // heads, context), adapters=1)
    attention.to_q.weight.data = torch.eye(dim)
    attention.to_out[0] = torch.nn.Identity()
    attention.to_v.weight.data.zero_()
    return attention


@torch.no_grad()
def test_decoupled_attention() -> None:
    answer, inputs = given("decoupled_attention")
    batch, heads, _, dim = inputs["query"].shape
    flat = {
        name: value.transpose(1, 2).flatten(2)
        for name, value in inputs.items()
        if isinstance(value, torch.Tensor)
    }
    attention = layer(heads * dim, 2 * heads * dim, heads)
    first, second = torch.eye(2 * heads * dim).chunk(2)  # keys and values side by side in one context
    attention.to_k.weight.data, attention.to_v.weight.data = first, second
    attention.to_k_ip[0].weight.data, attention.to_v_ip[0].weight.data = first, second
    attention.scales = [inputs["scale"]]
    text = torch.cat([flat["key"], flat["value"]], dim=-1)
    picture = torch.cat([flat["ip_key"], flat["ip_value"]], dim=-1)[:, None]
    theirs = attention(flat["query"], ImagePrompt(text, [picture]))
    assert close(answer.transpose(1, 2).flatten(2), theirs)
    assert batch == len(theirs)


@torch.no_grad()
def test_several_references() -> None:
    answer, inputs = given("several_references")
    attention = layer(5, 6)
    attention.to_k_ip[0].weight.data, attention.to_v_ip[0].weight.data = inputs["to_k"], inputs["to_v"]
    theirs = attention(inputs["query"], ImagePrompt(torch.zeros(2, 1, 6), [inputs["image_tokens"]]))
    assert close(answer, theirs)


@torch.no_grad()
@pytest.mark.parametrize("seed", [0, 1])
def test_masked_references(seed: int) -> None:
    """One token a picture: its attention is its value everywhere, so the masks and scales are all there is."""
    generator = torch.Generator().manual_seed(seed)
    masks, values = torch.rand(3, 4, 5, generator=generator), torch.randn(3, 6, generator=generator)
    scales = [0.3, 1.0, 0.7]
    attention = layer(6, 6)
    attention.to_v_ip[0].weight.data = torch.eye(6)
    attention.scales = [scales]
    query = torch.randn(1, 20, 6, generator=generator)
    prompt = ImagePrompt(torch.zeros(1, 1, 6), [values[None, :, None]], [masks[None]])
    answers = values[:, None, None].expand(-1, 1, 20, -1)
    answer = tasks.get("masked_references").reference(torch.zeros(1, 20, 6), answers, masks, scales)
    assert close(answer, attention(query, prompt))


def test_numbers_to_explain_are_the_models() -> None:
    sdxl = tasks.get("explain_sdxl").reference()
    assert (sdxl["channels"], sdxl["add_embedding"]) == (768 + 1280, 1280 + 6 * 256)
    sd15 = UNetConfig()
    assert tasks.get("explain_controlnet").reference()["residuals"] == len(sd15.skip_channels()) + 1
