"""IP-Adapters: diffusers' own pictures, scale 0 and removal exact, and every trap of the section said in time."""

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib.conditions import face
from lessonlib.errors import LessonError
from lessonlib.models import find, repo
from lessonlib.pipelines import ip_adapter
from lessonlib.world import parse, render

NAMES = ("ip-adapter", "ip-adapter-plus", "ip-adapter-face")
PROMPT = "a portrait"

pytestmark = pytest.mark.usefixtures("family", "adapters")


def picture_of(prompt):
    return Image.fromarray(render(parse(prompt).scene).image)


APPLE, CAT = picture_of("a red apple on the beach"), picture_of("a cat in the snow, pixel art")


def pixels(picture):
    return np.asarray(picture).astype(int)


@pytest.fixture(scope="module")
def base(family):
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline.from_pretrained(repo("sd15"))


@pytest.fixture
def plain(base):
    """The base without an adapter, before and after the test."""
    yield ip_adapter.remove(base)
    ip_adapter.remove(base)
    base.disable_attention_slicing()


@pytest.fixture
def adapted(plain):
    return ip_adapter.add(plain, "ip-adapter")


def made(pipeline, references, scale=1.0, **more):
    return pixels(ip_adapter.picture(pipeline, PROMPT, references, scale, **{"steps": 2, **more}))


def noise():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_those_of_diffusers_own_calls(plain, name):
    ours = made(ip_adapter.add(plain, name), APPLE, 0.6)
    ip_adapter.remove(plain)
    plain.load_ip_adapter(repo(name), subfolder="models", weight_name=find(name).weight_name)
    plain.set_ip_adapter_scale(0.6)
    theirs = plain(PROMPT, ip_adapter_image=APPLE, num_inference_steps=2, generator=noise()).images[0]
    assert np.array_equal(ours, pixels(theirs))


def test_a_loaded_pipeline_draws_the_same(adapted):
    assert np.array_equal(made(ip_adapter.load(), APPLE), made(adapted, APPLE))


def test_scale_0_and_removal_are_exactly_no_adapter(adapted):
    off, on = made(adapted, APPLE, 0), made(adapted, APPLE, 1)
    ip_adapter.remove(adapted)
    alone = pixels(adapted(PROMPT, num_inference_steps=2, generator=noise()).images[0])
    assert np.array_equal(off, alone)
    assert not np.array_equal(on, alone)


def test_several_references_of_one_adapter_need_no_nesting(adapted):
    both = made(adapted, [APPLE, CAT])
    assert np.array_equal(both, made(adapted, [[APPLE, CAT]]))
    assert not np.array_equal(both, made(adapted, APPLE))
    assert np.array_equal(made(adapted, [APPLE]), made(adapted, APPLE))


def test_two_adapters_take_a_list_each(plain):
    ip_adapter.add(plain, "ip-adapter", "ip-adapter-plus")
    first = made(plain, [[APPLE], [CAT]], [1.0, 0.0])
    second = made(plain, [[APPLE], [CAT]], [0.0, 1.0])
    assert not np.array_equal(first, second)
    ip_adapter.remove(plain)
    assert np.array_equal(first, made(ip_adapter.add(plain, "ip-adapter"), APPLE))
    ip_adapter.remove(plain)


def test_a_part_that_is_not_named_has_scale_0(adapted):
    parts = ip_adapter.blocks(adapted)
    assert parts == {"down": {"block_0": 1}, "mid": {"block_0": 1}, "up": {"block_1": 2}}
    whole = made(adapted, APPLE, {"down": 1.0, "mid": 1.0, "up": {"block_1": [1.0, 1.0]}})
    assert np.array_equal(whole, made(adapted, APPLE, 1.0))
    up = made(adapted, APPLE, {"up": {"block_1": [0.0, 1.0]}})
    assert not np.array_equal(up, whole)
    assert np.array_equal(made(adapted, APPLE, {"down": 0.0}), made(adapted, APPLE, 0.0))


def test_a_face_is_cropped_before_clip_sees_it(plain):
    person = picture_of("a woman in a red dress waving on the beach")
    ip_adapter.add(plain, "ip-adapter-face")
    found = pixels(ip_adapter.portrait(plain, PROMPT, person, steps=2))
    assert np.array_equal(found, made(plain, face.crop(person), 0.7))
    assert not np.array_equal(found, made(plain, person, 0.7))
    box = (40, 8, 88, 56)
    given = pixels(ip_adapter.portrait(plain, PROMPT, person, box, steps=2))
    assert np.array_equal(given, made(plain, person.crop(box), 0.7))


def test_a_portrait_needs_a_face_and_the_adapter_for_faces(plain):
    person = picture_of("a woman in a red dress waving on the beach")
    with pytest.raises(LessonError, match="not trained on faces: load 'ip-adapter-face'"):
        ip_adapter.portrait(ip_adapter.add(plain, "ip-adapter"), PROMPT, person)
    ip_adapter.add(ip_adapter.remove(plain), "ip-adapter-face")
    for nobody in (APPLE, None):
        with pytest.raises(LessonError, match=r"No person was found|is None"):
            ip_adapter.portrait(plain, PROMPT, nobody)


def test_transparent_references_are_laid_on_white(adapted):
    clear = APPLE.convert("RGBA")
    clear.putalpha(0)
    assert np.array_equal(made(adapted, clear), made(adapted, Image.new("RGB", APPLE.size, "white")))


def test_the_size_can_be_asked_for(adapted):
    assert ip_adapter.picture(adapted, PROMPT, APPLE, steps=1, size=(96, 64)).size == (96, 64)
    with pytest.raises(LessonError, match="multiples of 8"):
        ip_adapter.picture(adapted, PROMPT, APPLE, size=(100, 64))


@pytest.mark.parametrize(
    ("references", "sentence"),
    [
        (None, "There is no reference picture"),
        ([], "There is no reference picture"),
        ([[]], "give a list of 1 lists"),
        ([[APPLE], [CAT]], "has 1 IP-Adapter: give a list of 1 lists"),
        (np.asarray(APPLE), "RGB or BGR"),
        ([APPLE, None], "Reference 2 is None, which cv2.imread returns"),
        (torch.zeros(1, 3, 8, 8), "is a Tensor"),
        ("missing.jpg", "'missing.jpg' does not exist"),
    ],
)
def test_references_that_cannot_work_are_said(adapted, references, sentence):
    with pytest.raises(LessonError) as error:
        ip_adapter.picture(adapted, PROMPT, references)
    assert sentence in str(error.value)


def test_a_flat_list_for_two_adapters_is_said(plain):
    ip_adapter.add(plain, "ip-adapter", "ip-adapter-plus")
    for references in ([APPLE, CAT], APPLE, [[APPLE, CAT]]):
        with pytest.raises(LessonError, match="has 2 IP-Adapters: give a list of 2 lists"):
            ip_adapter.picture(plain, PROMPT, references)
    with pytest.raises(LessonError, match="There are 1 scales for 2 IP-Adapters"):
        ip_adapter.picture(plain, PROMPT, [[APPLE], [CAT]], [0.5])


@pytest.mark.parametrize(
    ("scale", "sentence"),
    [
        (-0.1, "is -0.1: choose a number"),
        (float("nan"), "is nan"),
        ("0.6", "is '0.6'"),
        (True, "is True"),
        ([0.5, 0.5], "There are 2 scales for 1 IP-Adapters"),
        ({"up": {"block_7": 1.0}}, "'up' has no 'block_7'"),
        ({"down": {"block_1": 1.0}}, "'down' has no 'block_1'"),
        ({"upper": 1.0}, "has no 'upper'"),
        ({"up": {"block_1": [1.0, 1.0, 1.0]}}, "There are 3 scales for 'up.block_1', which has 2"),
        ({"mid": [1.0, 1.0]}, "There are 2 scales for 'mid', which has 1"),
        ({"up": {"block_1": [1.0, -1.0]}}, "is -1.0"),
    ],
)
def test_scales_that_cannot_work_are_said(adapted, scale, sentence):
    with pytest.raises(LessonError) as error:
        ip_adapter.picture(adapted, PROMPT, APPLE, scale)
    assert sentence in str(error.value)


def test_attention_slicing_and_an_adapter_exclude_each_other(plain):
    plain.enable_attention_slicing()
    with pytest.raises(LessonError, match=r"disable_attention_slicing\(\) first"):
        ip_adapter.add(plain, "ip-adapter")
    plain.disable_attention_slicing()
    before = made(ip_adapter.add(plain, "ip-adapter"), APPLE)
    plain.enable_attention_slicing()
    with pytest.raises(LessonError, match="slicing has replaced the IP-Adapter's attention"):
        ip_adapter.picture(plain, PROMPT, APPLE)
    ip_adapter.remove(plain)
    assert np.array_equal(made(ip_adapter.add(plain, "ip-adapter"), APPLE), before)


def test_an_adapter_without_a_reference_is_said_by_other_pipelines_too(adapted):
    from lessonlib.pipelines.checks import check_call

    with pytest.raises(LessonError, match="no reference picture was given"):
        check_call(adapted, {})


def test_no_adapter_a_second_one_and_another_kind_of_model_are_said(plain):
    with pytest.raises(LessonError, match="has no IP-Adapter: load one"):
        ip_adapter.picture(plain, PROMPT, APPLE)
    ip_adapter.add(plain, "ip-adapter")
    with pytest.raises(LessonError, match="has an IP-Adapter already"):
        ip_adapter.add(plain, "ip-adapter-plus")
    with pytest.raises(LessonError, match="'sdxl-base' is no IP-Adapter: choose one of ip-adapter,"):
        ip_adapter.load("sdxl-base")


def test_a_pipeline_of_mixed_dtypes_is_said(adapted):
    adapted.image_encoder.to(torch.float16)
    with pytest.raises(LessonError, match=r"mixes dtypes .*image_encoder float16"):
        ip_adapter.picture(adapted, PROMPT, APPLE)
