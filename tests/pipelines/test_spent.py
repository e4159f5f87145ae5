"""What a picture costs: passes are counted, seconds add up, and nothing stays behind."""

import pytest
import torch
from diffusers import AutoencoderTiny
from random_models import random_sd15
from random_variants import random_sdxl

from lessonlib.pipelines.spent import REST, spent


@pytest.fixture(scope="module")
def sd15():
    pipeline = random_sd15()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by one at every look."""
    ticks = iter(range(10_000))
    monkeypatch.setattr("lessonlib.pipelines.spent._now", lambda: float(next(ticks)))


@pytest.mark.parametrize(("guidance", "batches"), [(1.0, (1, 1, 1)), (1.5, (2, 2, 2))])
def test_a_guided_step_is_two_passes(sd15, guidance, batches):
    found = spent(sd15, lambda: sd15("a cat", num_inference_steps=3, guidance_scale=guidance))
    assert found.batches == batches
    assert found.passes == sum(batches)


def test_every_network_is_timed_and_the_rest_is_what_remains(sd15, clock):
    found = spent(sd15, lambda: sd15("a cat", num_inference_steps=3, guidance_scale=1.5))
    # looks: one at the start, one at the end, two a call; texts are encoded twice, with and without prompt
    assert found.seconds == {"text encoder": 2.0, "UNet": 3.0, "VAE decoder": 1.0, REST: 7.0}


def test_both_text_encoders_of_sdxl_count(clock):
    pipeline = random_sdxl()
    pipeline.set_progress_bar_config(disable=True)
    found = spent(pipeline, lambda: pipeline("a cat", num_inference_steps=1, guidance_scale=0.0))
    assert found.seconds["text encoder"] == 2.0
    assert found.passes == 1


def test_another_decoder_is_timed_too(sd15, clock):
    torch.manual_seed(0)
    narrow = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    own, sd15.vae = sd15.vae, AutoencoderTiny(**narrow)
    try:
        assert spent(sd15, lambda: sd15("a cat", num_inference_steps=1)).seconds["VAE decoder"] == 1.0
    finally:
        sd15.vae = own


def test_nothing_stays_in_the_networks_when_the_call_fails(sd15):
    with pytest.raises(ZeroDivisionError):
        spent(sd15, lambda: 1 / 0)
    assert not sd15.unet._forward_hooks
    assert not sd15.unet._forward_pre_hooks
    assert not sd15.vae.decoder._forward_hooks
