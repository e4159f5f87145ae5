import pytest
import torch
from diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion import (
    StableDiffusionPipeline,
    rescale_noise_cfg,
)

from lessonlib.scratch.guidance import classifier_free_guidance, guidance_rescale, w_embedding


def predictions(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, 4, 8, 8, generator=generator, dtype=dtype) for _ in range(2)]


def test_cfg_is_the_line_through_both_predictions():
    uncond, cond = predictions()
    torch.testing.assert_close(classifier_free_guidance(uncond, cond, 0.0), uncond)
    torch.testing.assert_close(classifier_free_guidance(uncond, cond, 1.0), cond)
    w = 6.5  # the paper's w is diffusers' scale less one
    torch.testing.assert_close(classifier_free_guidance(uncond, cond, 7.5), (1 + w) * cond - w * uncond)


@pytest.mark.parametrize("phi", [0.0, 0.7, 1.0])
def test_rescale_equals_diffusers(phi):
    uncond, cond = predictions()
    cfg = classifier_free_guidance(uncond, cond, 7.5)
    torch.testing.assert_close(
        guidance_rescale(cfg, cond, phi), rescale_noise_cfg(cfg, cond, phi), atol=1e-6, rtol=0
    )


def test_full_rescale_restores_each_pictures_deviation():
    uncond, cond = predictions()
    cond[1] *= 5
    rescaled = guidance_rescale(classifier_free_guidance(uncond, cond, 7.5), cond, 1.0)
    torch.testing.assert_close(rescaled.std(dim=(1, 2, 3)), cond.std(dim=(1, 2, 3)))


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
@pytest.mark.parametrize("dim", [2 * 128, 512, 33])
def test_w_embedding_equals_diffusers(dtype, atol, dim):
    w = torch.tensor([0.0, 0.5, 6.5, 7.0, 14.0], dtype=dtype)
    theirs = StableDiffusionPipeline.get_guidance_scale_embedding(None, w, dim, dtype)
    ours = w_embedding(w, dim)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, theirs, atol=atol, rtol=0)


def test_shapes_in_signatures_are_enforced_here():
    """The import hook of this folder's conftest is at work: a batch of two cannot guide a batch of three."""
    uncond, cond = predictions()
    with pytest.raises(TypeError, match="shape"):
        classifier_free_guidance(uncond[:2], cond, 7.5)
