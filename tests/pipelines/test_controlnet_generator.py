"""ControlNet's generator: diffusers' own pictures, loaded once, and every trap of the section said in time."""

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib import conditions
from lessonlib.errors import LessonError
from lessonlib.models import repo
from lessonlib.pipelines import controlnet
from lessonlib.pipelines.controlnet import ControlNetGenerator
from lessonlib.world import parse, render

pytestmark = pytest.mark.usefixtures("family", "adapters")

PROMPT = "a cat"


@pytest.fixture(scope="module")
def generator(family, adapters):
    return ControlNetGenerator()


@pytest.fixture(scope="module")
def scene():
    return render(parse("a woman in a red dress waving on the beach").scene, 64, 64)


@pytest.fixture(scope="module")
def maps(scene):
    return {name: conditions.condition(name, scene) for name in ("canny", "depth", "pose")}


def pixels(picture):
    return np.asarray(picture).astype(int)


def reference(names, maps, scales, seed=0):
    """The picture by diffusers' own calls."""
    from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, UniPCMultistepScheduler

    nets = [ControlNetModel.from_pretrained(repo(conditions.CONTROLNETS[name])) for name in names]
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(
        repo("sd15"), controlnet=nets if len(nets) > 1 else nets[0]
    )
    pipeline.scheduler = UniPCMultistepScheduler.from_config(pipeline.scheduler.config)
    one = len(names) == 1
    return pipeline(
        PROMPT,
        image=maps[0] if one else maps,
        controlnet_conditioning_scale=scales[0] if one else scales,
        num_inference_steps=2,
        guidance_scale=7.5,
        generator=torch.Generator().manual_seed(seed),
    ).images[0]


@pytest.mark.parametrize(("names", "scales"), [(["canny"], [0.7]), (["canny", "depth"], [1.0, 0.5])])
def test_pictures_are_those_of_diffusers_own_calls(generator, maps, names, scales):
    chosen = [maps[name] for name in names]
    made = generator.generate(PROMPT, names, chosen, scales, steps=2)
    assert np.array_equal(pixels(made), pixels(reference(names, chosen, scales)))


def test_every_net_and_the_base_are_loaded_once(generator, maps):
    generator.generate(PROMPT, ["canny", "depth"], [maps["canny"], maps["depth"]], steps=1)
    pipeline, nets = generator.pipeline, dict(generator.nets)
    generator.generate(PROMPT, ["depth"], [maps["depth"]], steps=1)
    generator.generate(PROMPT, ["depth", "canny"], [maps["depth"], maps["canny"]], steps=1)
    assert generator.pipeline is pipeline
    assert all(generator.nets[name] is net for name, net in nets.items())


def test_a_scale_of_0_is_no_controlnet_and_each_scale_belongs_to_its_net(generator, maps):
    both = [maps["canny"], maps["depth"]]
    off = generator.generate(PROMPT, ["canny", "depth"], both, [0, 0], steps=2)
    canny = generator.generate(PROMPT, ["canny"], both[:1], [1], steps=2)
    canny_of_both = generator.generate(PROMPT, ["canny", "depth"], both, [1, 0], steps=2)
    depth_of_both = generator.generate(PROMPT, ["canny", "depth"], both, [0, 1], steps=2)
    assert np.abs(pixels(canny) - pixels(canny_of_both)).max() <= 1
    assert not np.array_equal(pixels(canny_of_both), pixels(off))
    assert not np.array_equal(pixels(canny_of_both), pixels(depth_of_both))


def test_the_map_that_comes_back_is_the_one_that_was_followed(generator, scene, maps):
    picture = Image.fromarray(scene.image)
    made = generator.with_canny(PROMPT, picture, steps=1)
    assert np.array_equal(pixels(made.maps[0]), pixels(maps["canny"]))
    again = generator.generate(PROMPT, ["canny"], made.maps, steps=1)
    assert np.array_equal(pixels(made.picture), pixels(again))
    # thresholds that nothing reaches leave no edge
    assert not pixels(generator.with_canny(PROMPT, picture, 9000, 9000, steps=1).maps[0]).any()


def test_a_pose_and_any_condition_come_from_a_scene_or_a_picture(generator, scene, maps):
    assert np.array_equal(pixels(generator.with_pose(PROMPT, scene, steps=1).maps[0]), pixels(maps["pose"]))
    made = generator.with_condition("depth", PROMPT, Image.fromarray(scene.image), size=(96, 64), steps=1)
    assert made.picture.size == made.maps[0].size == (96, 64)
    several = generator.with_several(PROMPT, scene, ["canny", "pose"], [1.0, 0.5], steps=1)
    assert np.array_equal(pixels(several.maps[1]), pixels(maps["pose"]))


def test_the_seed_and_the_negative_prompt_count(generator, maps):
    def made(**sampling):
        return pixels(generator.generate(PROMPT, ["canny"], [maps["canny"]], steps=2, **sampling))

    assert np.array_equal(made(seed=3), made(seed=3))
    assert not np.array_equal(made(seed=3), made(seed=4))
    assert not np.array_equal(made(), made(negative_prompt="blurry"))


GREY = Image.new("RGB", (64, 64), (60, 60, 60))


@pytest.mark.parametrize(
    ("names", "maps", "scales", "sentence"),
    [
        (["canny", "depth"], [GREY, GREY], [1.0], "There are 1 scales for 2 ControlNets"),
        (["canny"], [GREY], [1.0, 0.5], "There are 2 scales for 1 ControlNets"),
        (["canny", "depth"], [GREY, GREY], 1.0, "must be a list with one number for each"),
        (["canny", "depth"], [GREY], None, "There are 1 control maps for 2 ControlNets"),
        (["canny"], [GREY], [-1.0], "scale is -1"),
        (["canny"], [GREY], [float("nan")], "scale is nan"),
        (["canny", "depth"], [GREY, GREY.resize((96, 64))], None, "different sizes (64 x 64, 96 x 64)"),
        (["canny"], [GREY.resize((60, 64))], None, "is 60 x 64: both sides must be multiples of 8"),
        (["canny"], [np.asarray(GREY)], None, "RGB or BGR: give Image.fromarray"),
        (["canny"], [np.asarray(GREY) / 255], None, "float64 array"),
        (["canny"], [None], None, "is None, which cv2.imread returns"),
        (["scribble"], [Image.new("RGB", (64, 64), "white")], None, "learned light lines on black"),
        (["sketch"], [GREY], None, "no condition called 'sketch'"),
        ("canny", [GREY], None, "must be a list such as"),
        ([], [], None, "must be a list such as"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_loaded(names, maps, scales, sentence):
    generator = ControlNetGenerator()
    with pytest.raises(LessonError) as error:
        generator.generate(PROMPT, names, maps, scales)
    assert sentence in str(error.value)
    assert generator.pipeline is None
    assert not generator.nets


@pytest.mark.parametrize(
    ("sampling", "sentence"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"guidance": float("inf")}, "guidance is inf"),
        ({"guidance": 1.0, "negative_prompt": "blurry"}, "would be ignored"),
    ],
)
def test_numbers_out_of_range_are_said(sampling, sentence):
    with pytest.raises(LessonError, match=sentence):
        ControlNetGenerator().generate(PROMPT, ["canny"], [GREY], **sampling)


def test_thresholds_in_the_wrong_order_are_said():
    with pytest.raises(LessonError, match="the first must be 0 to the second"):
        ControlNetGenerator().with_canny(PROMPT, GREY, 200, 100)


def test_an_rgba_map_is_laid_on_white_and_so_found_to_be_light():
    """A transparent PNG of black lines is black on white to the eye, whatever its hidden colours are."""
    with pytest.raises(LessonError, match="mostly light"):
        controlnet.arguments(["canny"], [Image.new("RGBA", (64, 64), (0, 0, 0, 0))])


def test_a_net_of_another_dtype_is_said(maps):
    generator = ControlNetGenerator()
    generator.use(["canny", "depth"])
    generator.nets["depth"].to(torch.float16)
    with pytest.raises(LessonError, match=r"mixes dtypes .*controlnet 2 float16"):
        generator.generate(PROMPT, ["canny", "depth"], [maps["canny"], maps["depth"]])
    with pytest.raises(LessonError, match="controlnet float16"):
        generator.generate(PROMPT, ["depth"], [maps["depth"]])


def test_weights_that_are_not_there_are_said():
    with pytest.raises(LessonError, match="tiny weights of 'controlnet-lineart' are not shipped"):
        ControlNetGenerator().generate(PROMPT, ["lineart"], [GREY])
