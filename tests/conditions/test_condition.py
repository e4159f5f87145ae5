"""`condition`: pictures and scenes to maps, in both tiers."""

import numpy as np
import pytest
from PIL import Image

from lessonlib import conditions
from lessonlib.conditions import detectors, scribble, segmentation
from lessonlib.errors import LessonError
from lessonlib.judge.edges import edge_f1
from lessonlib.world import parse, render, sample

SEEDS = range(300, 332)


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setenv("LESSON_TIER", "tiny")


@pytest.fixture(scope="module")
def scenes():
    return [render(sample(seed=seed)) for seed in SEEDS]


@pytest.fixture(scope="module")
def person():
    return render(parse("a woman in a red dress waving on the beach").scene)


def pairs(name, scenes):
    """(the map read from the picture, the map of the truth), as floats."""
    for rendered in scenes:
        found = conditions.condition(name, Image.fromarray(rendered.image))
        yield np.asarray(found).astype(float), conditions.from_truth(name, rendered).astype(float)


@pytest.mark.parametrize("name", conditions.NAMES)
def test_scene_and_picture_give_rgb_at_the_asked_size(name, person):
    for given in (person.scene, person, Image.fromarray(person.image)):
        found = conditions.condition(name, given, (96, 160))
        assert (found.mode, found.size) == ("RGB", (96, 160))
    assert conditions.condition(name, person.scene).size == (128, 128)
    assert conditions.condition(name, Image.fromarray(person.image)).size == (128, 128)


@pytest.mark.parametrize("name", conditions.NAMES)
def test_a_scene_gives_its_truth(name, person):
    truth = conditions.from_truth(name, person)
    assert np.array_equal(conditions.condition(name, person), truth)
    assert np.array_equal(conditions.condition(name, person.scene), truth)


def test_canny_of_a_picture_is_the_truth(scenes):
    assert all(np.array_equal(found, true) for found, true in pairs("canny", scenes))


@pytest.mark.parametrize(("name", "least"), [("scribble", 0.7), ("lineart", 0.75)])
def test_lines_of_a_picture_are_where_the_truth_has_them(name, least, scenes):
    agreement = [edge_f1(f[..., 0] > 127, t[..., 0] > 127, tolerance=3) for f, t in pairs(name, scenes)]
    assert np.median(agreement) > least


def test_depth_of_a_picture_has_the_truths_order(scenes):
    kept = [np.corrcoef(found.ravel(), true.ravel())[0, 1] for found, true in pairs("depth", scenes)]
    assert np.median(kept) > 0.8


def test_normals_of_a_picture_point_the_truths_way(scenes):
    def angle(found, true):
        a, b = found / 127.5 - 1, true / 127.5 - 1
        lengths = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
        return np.degrees(np.arccos(np.clip((a * b).sum(2) / lengths, -1, 1))).mean()

    assert np.median([angle(found, true) for found, true in pairs("normal", scenes)]) < 20


def test_classes_of_a_picture_are_mostly_the_truths(scenes):
    same = [(found == true).all(2).mean() for found, true in pairs("segmentation", scenes)]
    assert np.median(same) > 0.8


def test_the_pose_of_a_picture_is_near_the_truth(person):
    found, true = next(pairs("pose", [person]))
    assert edge_f1(found.any(2), true.any(2), tolerance=4) > 0.8


def test_a_pose_needs_a_person():
    scene = parse("a red apple on the beach").scene
    for given in (scene, Image.fromarray(render(scene).image)):
        with pytest.raises(LessonError, match="no pose: give one that"):
            conditions.condition("pose", given)


def test_a_picture_of_another_size_needs_the_size_said():
    odd = Image.new("RGB", (130, 100), "white")
    with pytest.raises(LessonError, match=r"The picture.s size is 130 x 100.*such as 128 x 96"):
        conditions.condition("canny", odd)
    assert conditions.condition("canny", odd, (128, 96)).size == (128, 96)
    with pytest.raises(LessonError, match="The asked size is 100 x 100"):
        conditions.condition("canny", odd, (100, 100))


def test_a_pencil_drawing_becomes_white_on_black():
    paper = np.full((64, 64, 3), 250, np.uint8)
    paper[30:33, 10:50] = 60
    map_ = scribble.from_drawing(paper)
    assert np.array_equal(map_[..., 0] == 255, paper[..., 0] == 60)
    with pytest.raises(LessonError, match="use it as it is"):
        scribble.from_drawing(map_)


# ---- the full tier


def test_the_full_tier_asks_its_detectors(monkeypatch):
    """What no filter can see goes to the detectors; canny does not."""
    asked = []

    def recorder(name):
        return lambda picture, side: asked.append((name, side)) or picture.resize((192, 128))

    monkeypatch.setenv("LESSON_TIER", "full")
    monkeypatch.setattr(detectors, "DETECTORS", {name: recorder(name) for name in detectors.DETECTORS})
    picture = Image.new("RGB", (160, 96), "white")
    for name in conditions.NAMES:
        assert conditions.condition(name, picture).size == (160, 96)
    assert asked == [(name, 96) for name in conditions.NAMES if name != "canny"]


def test_the_segmentation_network_is_run_for_real(tmp_path, monkeypatch):
    """A random UperNet in the true layout: its classes in ADE20K's colours, at the picture's size."""
    import torch
    from transformers import (
        ConvNextConfig,
        SegformerImageProcessorPil,
        UperNetConfig,
        UperNetForSemanticSegmentation,
    )

    torch.manual_seed(0)
    backbone = ConvNextConfig(
        hidden_sizes=[8, 8, 8, 8], depths=[1, 1, 1, 1], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=8, num_labels=150, auxiliary_channels=8, auxiliary_in_channels=8
    )
    UperNetForSemanticSegmentation(config).save_pretrained(tmp_path)
    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    monkeypatch.setenv("LESSON_TIER", "full")
    monkeypatch.setattr(detectors, "_SEGMENTER", str(tmp_path))
    found = conditions.condition("segmentation", Image.fromarray(render(sample(seed=1)).image))
    colors = {tuple(color) for color in np.asarray(found).reshape(-1, 3).tolist()}
    assert colors <= {tuple(color) for color in segmentation.ade20k_palette().tolist()}
    assert found.size == (128, 128)


def test_detectors_that_are_not_installed_are_said_to_be(monkeypatch):
    monkeypatch.setenv("LESSON_TIER", "full")
    detectors._loaded.cache_clear()
    monkeypatch.setattr(detectors, "check_torchvision", lambda: None)
    monkeypatch.setitem(__import__("sys").modules, "controlnet_aux", None)
    with pytest.raises(LessonError, match=r"pip install 'lessonlib\[detectors\]'"):
        conditions.condition("depth", Image.new("RGB", (64, 64)))


def test_a_torchvision_of_another_torch_is_named(tmp_path, monkeypatch):
    """As the build for CUDA does beside torch for the CPU."""
    import sys

    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision/__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    (tmp_path / "torchvision-0.28.0.dist-info").mkdir()
    (tmp_path / "torchvision-0.28.0.dist-info/METADATA").write_text(
        "Name: torchvision\nVersion: 0.28.0+cu130\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    sentence = r"torchvision 0\.28\.0\+cu130 was not built for the installed torch .*nms does not exist"
    with pytest.raises(LessonError, match=sentence):
        detectors.check_torchvision()


def test_no_torchvision_is_no_error_by_itself(monkeypatch):
    monkeypatch.setattr(detectors.importlib.util, "find_spec", lambda name: None)
    detectors.check_torchvision()
