"""SDXL: base, refiner, sizes as conditions, shapes; diffusers' own pictures, and every trap said in time."""

import math

import numpy as np
import pytest
import torch

from lessonlib.errors import LessonError
from lessonlib.pipelines import sdxl
from lessonlib.pipelines.sdxl import Micro

pytestmark = pytest.mark.usefixtures("family", "sdxl_models")

PROMPT = "a night city"


@pytest.fixture(scope="module")
def base(family, sdxl_models):
    return sdxl.load_base()


@pytest.fixture(scope="module")
def refiner(base):
    return sdxl.load_refiner(base)


def noise():
    return torch.Generator().manual_seed(0)


def made(base, **more):
    return np.asarray(sdxl.picture(base, PROMPT, steps=2, **more)).astype(int)


def test_a_picture_is_that_of_diffusers_own_call(base):
    theirs = base(PROMPT, num_inference_steps=2, guidance_scale=7.5, generator=noise()).images[0]
    assert np.array_equal(made(base), theirs)


def test_the_sizes_reach_the_unet_in_their_order(base):
    """(height, width) of the source, (top, left) of the crop, (height, width) of the target."""
    seen = []
    hook = base.unet.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["added_cond_kwargs"]["time_ids"].tolist()),
        with_kwargs=True,
    )
    try:
        micro = Micro((16, 32), (4, 8), (64, 96), (1, 2), (0, 3), (5, 6))
        sdxl.picture(base, PROMPT, steps=1, size=(96, 64), micro=micro)
    finally:
        hook.remove()
    assert seen == [[[1, 2, 0, 3, 5, 6], [16, 32, 4, 8, 64, 96]]]  # negative, then positive


def test_saying_the_defaults_changes_nothing_and_anything_else_does(base):
    plain = made(base)
    assert np.array_equal(plain, made(base, micro=Micro((64, 64), (0, 0), (64, 64))))
    for micro in (
        Micro(original_size=(16, 16)),
        Micro(crops_coords_top_left=(16, 0)),
        Micro(target_size=(32, 64)),
        Micro(negative_original_size=(32, 32), negative_target_size=(64, 64)),
    ):
        assert not np.array_equal(plain, made(base, micro=micro)), micro


def test_no_negative_prompt_is_zeros_and_an_empty_one_is_a_text(base):
    assert not np.array_equal(made(base), made(base, negative_prompt=""))


def test_the_refiner_shares_parts_and_is_told_a_score(base, refiner):
    assert refiner.text_encoder_2 is base.text_encoder_2
    assert refiner.vae is base.vae
    assert refiner.config.requires_aesthetics_score


def test_base_and_refiner_share_the_steps(base, refiner):
    timesteps = {"base": [], "refiner": []}
    hooks = [
        pipeline.unet.register_forward_pre_hook(
            lambda _m, args, name=name: timesteps[name].append(float(args[1]))
        )
        for name, pipeline in (("base", base), ("refiner", refiner))
    ]
    try:
        sdxl.refined(base, refiner, PROMPT, steps=10, split=0.8)
    finally:
        for hook in hooks:
            hook.remove()
    assert (len(timesteps["base"]), len(timesteps["refiner"])) == (8, 2)
    assert min(timesteps["base"]) >= 200 > max(timesteps["refiner"])


def test_a_refined_picture_is_that_of_diffusers_own_calls(base, refiner):
    ours = sdxl.refined(base, refiner, PROMPT, steps=5, split=0.6, size=(96, 64))
    generator = noise()
    size = {"width": 96, "height": 64}
    common = {"num_inference_steps": 5, "guidance_scale": 7.5, "generator": generator}
    latents = base(PROMPT, denoising_end=0.6, output_type="latent", **size, **common).images
    theirs = refiner(prompt=PROMPT, image=latents, denoising_start=0.6, **common).images[0]
    assert ours.size == (96, 64)
    assert np.array_equal(ours, theirs)


def test_the_aesthetic_score_counts(base, refiner):
    def refined(**more):
        return np.asarray(sdxl.refined(base, refiner, PROMPT, steps=4, split=0.5, **more))

    assert not np.array_equal(refined(), refined(aesthetic_score=1.0))


@pytest.mark.parametrize(("steps", "split"), [(4, 0.0), (4, 1.0), (4, 0.8), (4, 0.1), (40, float("nan"))])
def test_a_split_that_leaves_one_no_step_is_said(base, refiner, steps, split):
    with pytest.raises(LessonError, match=f"leaves the base or the refiner none of the {steps} steps"):
        sdxl.refined(base, refiner, PROMPT, steps=steps, split=split)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (
            {"micro": Micro(original_size=(0, 64))},
            r"original_size must be \(height, width\) in whole pixels from 1",
        ),
        ({"micro": Micro(original_size=256)}, "original_size must be"),
        ({"micro": Micro(target_size=(64.0, 64.0))}, "target_size must be"),
        ({"micro": Micro(crops_coords_top_left=(-1, 0))}, r"must be \(top, left\) in whole pixels from 0"),
        ({"micro": Micro(negative_original_size=(9, 9)), "guidance": 1.0}, "negative sizes would be ignored"),
        ({"negative_prompt": "blurry", "guidance": 0.0}, "negative prompt would be ignored"),
        ({"size": (100, 64)}, "multiples of 8"),
        ({"steps": 0}, "steps is 0"),
        ({"guidance": -1.0}, "guidance is -1"),
    ],
)
def test_what_cannot_work_is_said(base, more, sentence):
    with pytest.raises(LessonError, match=sentence):
        sdxl.picture(base, PROMPT, **more)


def test_a_text_encoder_of_another_dtype_is_said(base):
    base.text_encoder.to(torch.float16)
    try:
        with pytest.raises(LessonError, match=r"mixes dtypes .*text_encoder float16"):
            sdxl.picture(base, PROMPT)
    finally:
        base.text_encoder.to(torch.float32)


def test_the_published_shapes_are_found():
    assert sdxl.bucket(9 / 7) == (1152, 896)
    assert sdxl.bucket(19 / 13) == (1216, 832)
    assert sdxl.bucket(7 / 4) == (1344, 768)
    assert sdxl.bucket(1) == (1024, 1024)
    assert sdxl.bucket(7 / 9, side=128) == (112, 144)


def test_shapes_keep_the_area_and_the_ratio():
    for side in (128, 512, 1024):
        for ratio in np.geomspace(0.25, 4, 41):
            width, height = sdxl.bucket(float(ratio), side)
            assert width % (side // 16) == height % (side // 16) == 0
            assert 0.8 < width * height / side**2 <= 1
            assert abs(math.log(width / height / ratio)) < 0.13
            assert sdxl.bucket(1 / float(ratio), side) == (height, width)


def test_shapes_that_were_never_trained_are_said():
    for ratio in (0.0, 5.0, float("nan")):
        with pytest.raises(LessonError, match=r"choose 0\.25 to 4"):
            sdxl.bucket(ratio)
    with pytest.raises(LessonError, match="choose a multiple of 128"):
        sdxl.bucket(1.0, 1000)
