"""Measures of ControlNets, IP-Adapters and inpainting: right on real scenes, wrong on shuffled ones, whole on a store."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from lessonlib.conditions import CONTROLNETS
from lessonlib.judge import load_judge
from lessonlib.judge.evaluate import real_scenes
from lessonlib.world.render import render
from lessonlib.world.scene import is_held_out
from lessonlib.zoo import measures
from lessonlib.zoo.measures import controlnet, generated, inpainting, ip_adapter
from lessonlib.zoo.recipes.ip_adapter import nothing_seen


@pytest.fixture(scope="module")
def judge():
    return load_judge()


@pytest.mark.parametrize("condition", list(CONTROLNETS))
def test_real_scenes_agree_with_their_own_map_and_not_with_anothers(condition, judge):
    how = controlnet.MEASURED[condition]
    truths = [render(scene) for scene in real_scenes(how.split, 12, 3)]
    pictures = np.stack([truth.image for truth in truths])
    verdicts = judge.judge(list(pictures))
    own = np.mean(controlnet.agreements(condition, pictures, verdicts, truths))
    others = np.mean(controlnet.agreements(condition, pictures, verdicts, [*truths[1:], truths[0]]))
    if how.metric in ("depth_rmse", "normal_angle"):
        assert own < 0.6 * others
    else:
        assert own > 1.4 * others
    if condition == "canny":
        assert own == 1


def test_a_real_border_is_no_seam_and_a_pasted_one_is():
    truths = [render(scene) for scene in real_scenes("seen", 8, 3)]
    real = np.stack([truth.image for truth in truths])
    holes = np.stack([inpainting.object_hole(truth) for truth in truths])
    assert inpainting.seam(real, real, holes).value == 1
    pasted = np.where(holes[..., None], 255 - real, real)
    assert inpainting.seam(pasted, real, holes).low > 3


def test_the_exchanged_object_is_new_and_never_held_out():
    scenes = real_scenes("seen", 40, 5)
    for old, new in zip(scenes, inpainting.exchanged(scenes, 5), strict=True):
        assert new.things[0].name != old.things[0].name
        assert (new.background, new.style) == (old.background, old.style)
        assert not is_held_out(new)


def test_a_soft_rim_keeps_both_sides_and_lowers_the_seam():
    rng = np.random.default_rng(0)
    real, painting = rng.integers(100, 110, (2, 3, 64, 64, 3)).astype(np.uint8)
    painting = painting + 60
    holes = np.zeros((3, 64, 64), bool)
    holes[:, 16:48, 16:48] = True
    pipeline = SimpleNamespace(mask_processor=VaeImageProcessor(do_binarize=True))
    soft = inpainting.softened(pipeline, holes)
    hard = inpainting.laid_over(painting, real, holes)
    made = inpainting.laid_over(painting, real, soft)
    assert np.array_equal(hard, np.where(holes[..., None], painting, real))
    assert np.array_equal(made[:, 28:36, 28:36], painting[:, 28:36, 28:36])
    assert np.array_equal(made[:, :8], real[:, :8])
    assert inpainting.seam(made, real, holes).high < inpainting.seam(hard, real, holes).low / 2


def test_an_outpainted_canvas_holds_the_picture():
    image = render(real_scenes("seen", 1, 3)[0]).image
    canvas, beyond = inpainting.outpainting(image, (128, 192))
    assert np.array_equal(canvas[~beyond].reshape(image.shape), image)
    assert beyond.mean() == pytest.approx(1 / 3)


def test_a_picture_is_most_like_itself(judge):
    verdicts = judge.judge([render(scene).image for scene in real_scenes("seen", 6, 3)])
    own = ip_adapter.similarities(verdicts, verdicts)
    assert own == pytest.approx([1.0] * 6)
    assert np.mean(ip_adapter.similarities(verdicts, [*verdicts[1:], verdicts[0]])) < 0.9


@pytest.mark.usefixtures("untrained_store")
@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_every_prompt_of_a_batch_sees_its_own_reference(guidance):
    """Drawn together or one at a time with the pipeline's own `ip_adapter_image`: the same pictures."""
    pipeline, encoder = ip_adapter.loaded("ip-adapter-plus")
    references = [render(scene).image for scene in real_scenes("seen", 3, 3)]
    settings = {"height": 64, "width": 64, "num_inference_steps": 2, "guidance_scale": guidance}
    together = ip_adapter.prompted_by(
        pipeline,
        ip_adapter.encoded_pictures(encoder, references, "ip-adapter-plus"),
        nothing_seen(encoder, "ip-adapter-plus"),
        ["a cat", "", "a dog"], 5, lambda _: None, **settings,
    )  # fmt: skip
    for k, prompt in enumerate(["a cat", "", "a dog"]):
        alone = pipeline(
            prompt, ip_adapter_image=Image.fromarray(references[k]), output_type="np",
            generator=torch.Generator().manual_seed(5 + k), **settings,
        ).images[0]  # fmt: skip
        assert np.abs(generated.to_uint8(alone).astype(int) - together[k]).max() <= 1


EXPECTED = {
    "controlnet": {
        ("controlnet-canny", "edge_f1", "controlled"), ("controlnet-canny", "edge_f1", "scale 0"),
        ("controlnet-canny", "edge_f1", "shuffled"), ("controlnet-canny", "edge_f1", "VAE"),
        ("controlnet-canny", "object", "controlled"), ("controlnet-canny", "object", "scale 0"),
        ("controlnet-depth", "depth_rmse", "controlled"), ("controlnet-openpose", "pck", "controlled"),
        ("controlnet canny + depth", "edge_f1", "both"), ("controlnet canny + depth", "depth_rmse", "both"),
    },
    "ip_adapter": {
        ("ip-adapter", "object", "empty prompt"), ("ip-adapter", "object", "shuffled"),
        ("ip-adapter", "background", "prompt, scale 0.6"), ("ip-adapter-plus", "similarity", "empty prompt"),
        ("ip-adapter-face", "identity attributes", "prompt, scale 0.6"),
        ("ip-adapter-face", "outfit", "prompt, scale 0.6"),
    },
    "inpainting": {
        ("sd15-inpainting", "object", "in the mask"), ("sd15-inpainting", "object", "in the mask, blended"),
        ("sd15-inpainting", "seam", "in the mask"), ("sd15-inpainting", "seam", "in the mask, soft rim"),
        ("sd15-inpainting", "seam", "in the mask, blended"),
        ("sd15-inpainting", "seam", "nothing painted, the VAE alone"),
        ("sd15-inpainting", "seam", "outpainting"), ("sd15-inpainting", "seam", "outpainting, blended"),
        ("sd15-inpainting", "background", "outpainting"),
    },
    "together": {
        ("canny + face + lcm-lora", metric, split)
        for metric in ("edge_f1", "identity attributes") for split in ("alone", "together")
    },
}  # fmt: skip


@pytest.mark.parametrize("family", list(EXPECTED))
@pytest.mark.usefixtures("untrained_store")
def test_a_family_measures_what_is_shipped(family, judge, monkeypatch):
    module = measures.family(family)
    for steps in (controlnet, ip_adapter, inpainting):
        monkeypatch.setattr(steps, "STEPS", 2)
    ticks = []
    rows, sheets = module.measure(2, 3, judge, ticks.append)
    assert sum(ticks) == module.pictures(2)
    found = {(row.member, row.metric, row.split): row for row in rows}
    assert len(found) == len(rows)
    assert EXPECTED[family] <= found.keys()
    assert all(row.low <= row.value <= row.high for row in rows)
    assert all(picture.dtype == np.uint8 for sheet in sheets for _, row in sheet.rows for picture in row)
    assert all(len({picture.shape for _, row in sheet.rows for picture in row}) == 1 for sheet in sheets)
    if family == "controlnet":  # nothing is trained, so control changes nothing
        controlled, without = (
            found["controlnet-canny", "edge_f1", split].value for split in ("controlled", "scale 0")
        )
        assert controlled == without


@pytest.mark.usefixtures("untrained_store")
def test_families_are_measured_once_something_is_shipped():
    assert {"controlnet", "ip_adapter", "inpainting"} <= set(measures.shipped_families())
    assert generated.STEPS == 25


@pytest.mark.usefixtures("untrained_store")
def test_a_controlnet_is_measured_alone_and_the_pair_together(judge, monkeypatch):
    monkeypatch.setattr(controlnet, "STEPS", 2)
    ticks = []
    rows, sheets = controlnet.measure(2, 3, judge, ticks.append, ["controlnet-openpose"])
    assert {row.member for row in rows} == {"controlnet-openpose"}
    assert len(sheets) == 1
    assert sum(ticks) == controlnet.pictures(2, ["controlnet-openpose"]) == 4
    assert controlnet.pictures(2, ["controlnet-depth"]) == 8  # canny, depth, both, and neither
