"""Sinusoids, micro-conditioning and the two-layer embedding agree with diffusers'."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline
from diffusers.models.embeddings import TimestepEmbedding as TheirTimestepEmbedding
from diffusers.models.embeddings import get_timestep_embedding
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_unets import difference, randomise

from lessonlib.errors import LessonError
from lessonlib.scratch.embeddings import (
    TimestepEmbedding,
    aesthetic_time_ids,
    micro_conditioning,
    time_ids,
    timestep_embedding,
)


@settings(deadline=None)
@given(
    timesteps=st.lists(st.floats(0, 4096, width=32), min_size=1, max_size=5),
    dim=st.integers(1, 40).map(lambda half: 2 * half),
)
def test_timestep_embedding_equals_diffusers(timesteps, dim):
    ours = timestep_embedding(torch.tensor(timesteps), dim)
    theirs = get_timestep_embedding(
        torch.tensor(timesteps), dim, flip_sin_to_cos=True, downscale_freq_shift=0
    )
    assert difference(ours, theirs) <= 1e-6


def test_timestep_embedding_is_of_the_unit_circle():
    cosines, sines = timestep_embedding(torch.tensor([0, 1, 999]), 64).chunk(2, dim=-1)
    torch.testing.assert_close(cosines**2 + sines**2, torch.ones(3, 32))
    assert torch.equal(cosines[0], torch.ones(32))
    assert cosines[1, 0] == torch.tensor(1.0).cos()  # the first frequency is 1


@pytest.mark.parametrize("cond_proj_dim", [None, 6])
def test_embedding_network_equals_diffusers(cond_proj_dim):
    theirs = randomise(TheirTimestepEmbedding(10, 16, cond_proj_dim=cond_proj_dim)).double()
    ours = TimestepEmbedding(10, 16, cond_proj_dim).double()
    ours.load_state_dict(theirs.state_dict())
    embedding = torch.randn(3, 10, dtype=torch.float64)
    condition = torch.randn(3, 6, dtype=torch.float64) if cond_proj_dim else None
    assert difference(ours(embedding, condition), theirs(embedding, condition)) <= 1e-12


def test_guidance_embedding_without_a_place_for_it():
    with pytest.raises(LessonError, match="timestep_cond"):
        TimestepEmbedding(4, 8)(torch.zeros(1, 4), torch.zeros(1, 4))


def pipeline_with(ids, **config):
    """As much of a pipeline as `_get_add_time_ids` looks at."""
    unet = SimpleNamespace(
        config=SimpleNamespace(addition_time_embed_dim=8),
        add_embedding=SimpleNamespace(linear_1=SimpleNamespace(in_features=32 + 8 * ids)),
    )
    return SimpleNamespace(unet=unet, config=SimpleNamespace(**config))


def test_time_ids_are_the_pipelines():
    ours = time_ids((64, 48), (1, 2), (32, 40))
    theirs = StableDiffusionXLPipeline._get_add_time_ids(
        pipeline_with(6), (64, 48), (1, 2), (32, 40), torch.float32, text_encoder_projection_dim=32
    )
    assert torch.equal(ours, theirs)
    assert ours.tolist() == [[64, 48, 1, 2, 32, 40]]


def test_aesthetic_time_ids_are_the_refiner_pipelines():
    negative, positive = StableDiffusionXLImg2ImgPipeline._get_add_time_ids(
        pipeline_with(5, requires_aesthetics_score=True),
        (64, 48),
        (1, 2),
        (32, 40),
        6.0,
        2.5,
        (64, 48),
        (1, 2),
        (32, 40),
        torch.float32,
        text_encoder_projection_dim=32,
    )
    ours = [aesthetic_time_ids((64, 48), (1, 2)), aesthetic_time_ids((64, 48), (1, 2), 2.5)]
    assert sorted(map(torch.Tensor.tolist, ours)) == sorted(map(torch.Tensor.tolist, [negative, positive]))


@pytest.mark.parametrize(("ids", "features"), [(6, 2816), (5, 2560)], ids=["base", "refiner"])
def test_micro_conditioning_has_the_published_length_and_order(ids, features):
    pooled, numbers = torch.randn(2, 1280), torch.rand(2, ids) * 1024
    vector = micro_conditioning(pooled, numbers, 256)
    assert vector.shape == (2, features)
    assert torch.equal(vector[:, :1280], pooled)
    assert torch.equal(vector[1, 1280 + 256 : 1280 + 512], timestep_embedding(numbers[1, 1:2], 256)[0])
