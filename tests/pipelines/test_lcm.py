"""Few steps: passes are counted, the embedded w is what the paper says, and what cannot work is said first."""

import numpy as np
import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler
from PIL import Image
from random_variants import random_sdxl

from lessonlib.errors import LessonError
from lessonlib.pipelines import lcm
from lessonlib.scratch.guidance import w_embedding
from lessonlib.scratch.samplers import LCM, lcm_step, lcm_timesteps, scaled_linear_alphas_cumprod


def quiet(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def with_lora(family):
    return quiet(lcm.load_lora("sd15"))


@pytest.fixture(scope="module")
def full(family):
    return quiet(lcm.load_full())


@pytest.fixture
def calls(monkeypatch):
    """The (batch, keyword arguments) of every UNet call of a pipeline."""

    def watch(pipeline):
        seen = []
        forward = pipeline.unet.forward
        monkeypatch.setattr(
            pipeline.unet, "forward", lambda *a, **k: (seen.append((len(a[0]), k)), forward(*a, **k))[1]
        )
        return seen

    return watch


def pixels(picture):
    return np.asarray(picture).astype(int)


def no_model(*_args, **_kwargs):
    pytest.fail("a model ran")


# -------- LCM-LoRA


@pytest.mark.parametrize(("guidance", "batch"), [(1.0, 1), (1.5, 2)])
def test_guidance_above_one_doubles_the_passes(with_lora, calls, guidance, batch):
    seen = calls(with_lora)
    lcm.lora_picture(with_lora, "a cat", guidance=guidance)
    assert [rows for rows, _ in seen] == [batch] * 4
    assert sum(rows for rows, _ in seen) == lcm.unet_passes(4, guidance)


def test_the_lessons_comparison_of_cost():
    assert (lcm.unet_passes(50, 7.5), lcm.unet_passes(4, 1.5), lcm.unet_passes(4, 1.0)) == (100, 8, 4)


def test_the_lora_changes_the_picture_and_leaves_with_its_block(family):
    pipeline = quiet(lcm.generate.load("sd15"))

    def standard():
        generator = torch.Generator().manual_seed(0)
        return pixels(pipeline("a cat", num_inference_steps=2, generator=generator).images[0])

    before, scheduler = standard(), pipeline.scheduler
    with lcm.with_lora(pipeline, "lcm-lora-sd15") as fast:
        assert fast is pipeline
        changed = pixels(lcm.lora_picture(pipeline, "a cat", steps=2))
        pipeline.disable_lora()
        assert not np.array_equal(changed, pixels(lcm.lora_picture(pipeline, "a cat", steps=2)))
    assert pipeline.scheduler is scheduler
    assert np.array_equal(standard(), before)
    with pytest.raises(LessonError, match="lacks the LCM-LoRA"):
        lcm.lora_picture(pipeline, "a cat")


def test_a_negative_prompt_counts_only_with_guidance(with_lora, monkeypatch):
    one, two = (
        pixels(lcm.lora_picture(with_lora, "a cat", guidance=1.5, negative_prompt=text))
        for text in ("blurry", "a dog on the beach")
    )
    assert not np.array_equal(one, two)
    monkeypatch.setattr(type(with_lora), "__call__", no_model)
    with pytest.raises(LessonError, match="negative prompt would be ignored"):
        lcm.lora_picture(with_lora, "a cat", guidance=1.0, negative_prompt="blurry")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 51}, "steps is 51: choose 1 to 50"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": -1.0}, "guidance is -1"),
        ({"guidance": float("nan")}, "guidance is nan"),
    ],
)
def test_numbers_out_of_range(with_lora, full, monkeypatch, options, words):
    for draw, pipeline in ((lcm.lora_picture, with_lora), (lcm.full_picture, full)):
        monkeypatch.setattr(type(pipeline), "__call__", no_model)
        with pytest.raises(LessonError, match=words):
            draw(pipeline, "a cat", **options)


def test_a_lora_of_another_family_is_refused_before_it_is_loaded(with_lora, monkeypatch):
    monkeypatch.setattr(type(with_lora), "load_lora_weights", no_model)
    with pytest.raises(LessonError, match="use 'lcm-lora-sd15'"):
        lcm.add_lora(with_lora, "lcm-lora-sdxl")
    with pytest.raises(LessonError, match="use 'lcm-lora-sd15'"):
        lcm.add_lora(with_lora, "controlnet-canny")
    with pytest.raises(LessonError, match="no LCM-LoRA for 'sdxl-turbo'"):
        lcm.load_lora("sdxl-turbo")


# -------- full LCM


def test_the_embedded_guidance_is_w_and_never_a_second_pass(full, calls):
    seen = calls(full)
    lcm.full_picture(full, "a cat", guidance=8.0)
    assert [rows for rows, _ in seen] == [1, 1, 1, 1]
    embedding = w_embedding(torch.tensor([8.0 - 1]), 16)
    for _, arguments in seen:
        torch.testing.assert_close(arguments["timestep_cond"], embedding, atol=1e-4, rtol=0)


def test_the_guidance_is_an_input(full):
    weak, strong = (pixels(lcm.full_picture(full, "a cat", guidance=g)) for g in (1.0, 12.0))
    assert not np.array_equal(weak, strong)


def test_a_run_equals_the_one_from_scratch(full):
    """The sampler, its re-noising and the embedded w of lessonlib.scratch around the same UNet and VAE."""
    theirs = pixels(lcm.full_picture(full, "a cat", steps=3, guidance=5.0, seed=3))
    generator = torch.Generator().manual_seed(3)
    embedding = w_embedding(torch.tensor([5.0 - 1]), 16)
    with torch.no_grad():
        states, _ = full.encode_prompt("a cat", "cpu", 1, False)
        latents = torch.randn(1, 4, 8, 8, generator=generator)
        steps = LCM(lcm_timesteps(3), scaled_linear_alphas_cumprod())
        for i, (t, abar_t, abar_next) in enumerate(steps):
            eps = full.unet(latents, t, encoder_hidden_states=states, timestep_cond=embedding).sample
            noise = torch.randn(latents.shape, generator=generator) if i < 2 else None
            latents = lcm_step(eps, latents, t, abar_t, abar_next, noise).prev_sample.float()
        decoded = full.vae.decode(latents / full.vae.config.scaling_factor).sample
    ours = full.image_processor.postprocess(decoded, output_type="pil")[0]
    assert abs(pixels(ours) - theirs).max() <= 1


def test_an_ordinary_unet_is_no_full_lcm(with_lora):
    with pytest.raises(LessonError, match="no embedded guidance"):
        lcm.full_picture(with_lora, "a cat")


def test_sizes(full):
    assert lcm.full_picture(full, "a cat", steps=1, size=(96, 64)).size == (96, 64)
    for size in ((100, 64), (64, 32), (4096, 64)):
        with pytest.raises(LessonError, match="multiples of 8"):
            lcm.full_picture(full, "a cat", size=size)


def test_parts_of_another_dtype_are_named_before_any_model_runs(full, monkeypatch):
    monkeypatch.setattr(type(full), "__call__", no_model)
    full.text_encoder.to(torch.float64)
    try:
        with pytest.raises(LessonError, match="text_encoder float64"):
            lcm.full_picture(full, "a cat")
    finally:
        full.text_encoder.to(torch.float32)


# -------- Turbo


def test_turbo_keeps_its_scheduler(with_lora, monkeypatch):
    monkeypatch.setattr(type(with_lora), "__call__", no_model)
    with pytest.raises(LessonError, match=r"'leading'.*'trailing'"):
        lcm.turbo_picture(with_lora, "a cat")
    with pytest.raises(LessonError, match="steps is 5: choose 1 to 4"):
        lcm.turbo_picture(with_lora, "a cat", steps=5)


def test_one_step_of_turbo_is_one_pass_at_pure_noise(calls):
    turbo = quiet(random_sdxl())
    turbo.scheduler = EulerAncestralDiscreteScheduler.from_config(
        turbo.scheduler.config, timestep_spacing="trailing"
    )
    seen = calls(turbo)
    assert lcm.turbo_picture(turbo, "a cat", size=(64, 64)).size == (64, 64)
    assert [rows for rows, _ in seen] == [1]
    assert turbo.scheduler.timesteps.tolist() == [999]


# -------- real time


def test_the_first_picture_is_not_timed_and_prompts_may_be_endless():
    drawn = []

    def draw(prompt):
        drawn.append(prompt)
        return Image.new("RGB", (8, 8))

    def typed():
        while True:
            yield f"prompt {len(drawn)}"

    frames = lcm.real_time(draw, typed())
    first, second = next(frames), next(frames)
    assert drawn == ["warm up", first.prompt, second.prompt]
    assert (first.prompt, second.prompt) == ("prompt 1", "prompt 2")
    assert first.seconds >= 0
    assert first.picture.size == (8, 8)
