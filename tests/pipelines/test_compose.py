"""ControlNet, IP-Adapter and LCM-LoRA in one pipeline: each of them counts, and none of their checks is lost."""

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib import conditions
from lessonlib.errors import LessonError
from lessonlib.models import repo
from lessonlib.pipelines import compose
from lessonlib.world import parse, render

pytestmark = pytest.mark.usefixtures("family", "adapters")

PROMPT = "a superhero"


@pytest.fixture(scope="module")
def scene():
    return render(parse("a woman in a red dress waving on the beach").scene, 64, 64)


@pytest.fixture(scope="module")
def pose(scene):
    return conditions.condition("pose", scene)


@pytest.fixture(scope="module")
def face(scene):
    return Image.fromarray(scene.image)


@pytest.fixture(scope="module")
def pipeline(family, adapters):
    return compose.load(["pose"], "ip-adapter-face")


def pixels(picture):
    return np.asarray(picture).astype(int)


def made(pipeline, pose, face, **more):
    return pixels(compose.picture(pipeline, PROMPT, ["pose"], [pose], face, **{"steps": 2, **more}))


def test_the_picture_is_that_of_diffusers_own_calls(pipeline, pose, face):
    from diffusers import ControlNetModel, LCMScheduler, StableDiffusionControlNetPipeline

    net = ControlNetModel.from_pretrained(repo("controlnet-openpose"))
    theirs = StableDiffusionControlNetPipeline.from_pretrained(repo("sd15"), controlnet=net)
    # in the other order: it does not matter
    theirs.load_lora_weights(repo("lcm-lora-sd15"))
    theirs.load_ip_adapter(
        repo("ip-adapter"), subfolder="models", weight_name="ip-adapter-full-face_sd15.safetensors"
    )
    theirs.set_ip_adapter_scale(0.6)
    theirs.scheduler = LCMScheduler.from_config(theirs.scheduler.config)
    picture = theirs(
        PROMPT,
        image=pose,
        ip_adapter_image=face,
        num_inference_steps=4,
        guidance_scale=1.5,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    assert np.abs(pixels(picture) - made(pipeline, pose, face, steps=4)).max() <= 1


def test_each_part_counts(pipeline, pose, face):
    whole = made(pipeline, pose, face)
    assert not np.array_equal(whole, made(pipeline, pose, face, control_scales=[0.0]))
    assert not np.array_equal(whole, made(pipeline, pose, face, reference_scale=0.0))
    assert not np.array_equal(whole, made(pipeline, pose, face, negative_prompt="blurry"))
    pipeline.disable_lora()
    without = made(pipeline, pose, face)
    pipeline.enable_lora()
    assert not np.array_equal(whole, without)
    assert np.array_equal(whole, made(pipeline, pose, face))


def test_what_cannot_work_is_said(pipeline, pose, face):
    def say(sentence, names=("pose",), maps=None, references=face, **more):
        with pytest.raises(LessonError, match=sentence):
            compose.picture(pipeline, PROMPT, names, maps or [pose], references, **more)

    say("51: choose 1 to 50", steps=51)
    say("would be ignored", guidance=1.0, negative_prompt="blurry")
    say("There is no reference picture", references=None)
    say("has 1 ControlNets and 2 were named", names=["pose", "canny"], maps=[pose, pose])
    say("RGB or BGR", maps=[np.asarray(pose)])
    say("There are 2 scales for 1", control_scales=[1.0, 1.0])
    with pytest.raises(LessonError, match="no condition called 'poses'"):
        compose.load(["poses"])
    with pytest.raises(LessonError, match="is no IP-Adapter"):
        compose.load(["pose"], "lcm")
