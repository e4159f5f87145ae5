"""The ground truth is exact: every claim that is made of a picture is checked against its pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from lessonlib.errors import LessonError
from lessonlib.world import Person, Scene, parse, render, sample
from lessonlib.world.canvas import CLASS_INDEX, CLASSES, STUFF
from lessonlib.world.people import KEYPOINTS, keypoints
from lessonlib.world.scene import Identity
from lessonlib.world.vocabulary import BACKGROUNDS, COLORS, HAT_WEARERS, HATS, OUTFITS, POSES, STYLES


def centroid(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


def test_shapes_types_and_ranges(drawn):
    for r in drawn:
        assert r.image.shape == (128, 128, 3)
        assert r.image.dtype == np.uint8
        for array, kind in ((r.classes, np.uint8), (r.instances, np.uint8), (r.depth, np.float32)):
            assert array.shape == (128, 128)
            assert array.dtype == kind
        assert r.depth.min() >= 0
        assert r.depth.max() <= 1
        assert np.abs(np.linalg.norm(r.normals, axis=2) - 1).max() < 1e-5
        assert (r.normals[..., 2] > 0).all()  # what is seen faces the camera
        assert set(np.unique(r.edges)) <= {0, 255}
        assert set(np.unique(r.outlines)) <= {0, 255}


def test_boxes_enclose_masks_tightly(drawn):
    for r in drawn:
        for index, box in enumerate(r.boxes):
            rows, columns = np.nonzero(r.mask(index))
            assert box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_classes_agree_with_instances(drawn):
    for r in drawn:
        names = ["person"] if r.scene.person else [thing.name for thing in r.scene.things]
        assert len(r.boxes) == len(names)
        assert (r.classes[r.instances == 0] < len(STUFF)).all()
        for index, name in enumerate(names):
            assert r.mask(index).any()
            assert {CLASSES[c] for c in np.unique(r.classes[r.mask(index)])} == {name}


def test_objects_are_mostly_in_the_picture(drawn):
    for r in drawn:
        if r.scene.kind in ("single", "pair"):
            for index in range(len(r.scene.things)):
                assert r.mask(index).sum() > 100


def test_depth_is_of_whole_objects_that_bulge_towards_us(drawn):
    for r in drawn:
        assert (r.depth <= r.plane_depth).all()
        assert np.array_equal(r.depth[r.instances == 0], r.plane_depth[r.instances == 0])
        for index in range(len(r.boxes)):
            assert np.ptp(r.plane_depth[r.mask(index)]) == 0
            ring = r.mask(index) & ~cv2.erode(r.mask(index).astype(np.uint8), np.ones((3, 3))).astype(bool)
            assert r.depth[r.mask(index)].min() < r.depth[ring].mean()


def test_outlines_lie_where_labels_meet(drawn):
    for r in drawn[::5]:
        for index in range(len(r.boxes)):
            mask = r.mask(index)
            inner = cv2.erode(mask.astype(np.uint8), np.ones((3, 3))).astype(bool)
            assert not r.outlines[inner].any()
            left_rim = mask[:, 1:] & ~mask[:, :-1]
            assert (r.outlines[:, 1:][left_rim] == 255).all()


def test_normals_point_away_from_the_middle():
    r = render(parse("a basketball in the middle, 3d style").scene)
    x0, y0, x1, y1 = r.boxes[0]
    middle_x, middle_y = (x0 + x1) // 2, (y0 + y1) // 2
    assert r.normals[middle_y, x0 + 3, 0] < -0.3
    assert r.normals[middle_y, x1 - 4, 0] > 0.3
    assert r.normals[y0 + 3, middle_x, 1] > 0.3
    assert r.normals[y1 - 4, middle_x, 1] < -0.3
    assert r.normals[middle_y, middle_x, 2] > 0.9
    assert r.normals[127, 2, 1] > 0.9  # the floor looks up


def test_relations_are_visible(drawn):
    seen = set()
    for r in drawn:
        if r.scene.kind != "pair":
            continue
        seen.add(r.scene.relation)
        (ax, ay), (bx, by) = centroid(r.mask(0)), centroid(r.mask(1))
        match r.scene.relation:
            case "to the left of":
                assert ax < bx - 20
            case "to the right of":
                assert ax > bx + 20
            case "next to":
                assert abs(ax - bx) > 20
                assert abs(ay - by) < 30
            case "above":
                assert ay < by - 20
            case "in front of":
                assert r.plane_depth[r.mask(0)].max() < r.plane_depth[r.mask(1)].min()
            case "wearing":
                assert ay < by - 15
                assert abs(ax - bx) < 15
                assert r.plane_depth[r.mask(0)].max() < r.plane_depth[r.mask(1)].min()
    assert len(seen) == 6


def test_the_nearer_object_hides_the_other(drawn):
    overlaps = 0
    for r in drawn:
        if r.scene.kind != "pair":
            continue
        alone = [render(replace(r.scene, things=(thing,), relation=None)).mask(0) for thing in r.scene.things]
        both = alone[0] & alone[1]
        if both.sum() < 20:
            continue
        overlaps += 1
        depths = [r.plane_depth[r.mask(index)].max() for index in range(2)]
        assert (r.instances[both] == 1 + int(np.argmin(depths))).all()
        for index in range(2):
            assert (r.mask(index) | both).sum() == (alone[index] | both).sum()
    assert overlaps > 10


@pytest.mark.parametrize("hat", HATS)
def test_hats_sit_on_every_head(hat):
    for style in ("3d", "soft", "ink"):
        for wearer in HAT_WEARERS:
            r = render(parse(f"a {wearer} wearing a {hat}, {style} style").scene)
            hat_box, box = r.boxes
            touching = cv2.dilate(r.mask(0).astype(np.uint8), np.ones((5, 5))).astype(bool) & r.mask(1)
            assert touching.any(), (wearer, style)
            assert box[0] < (hat_box[0] + hat_box[2]) / 2 < box[2]
            assert hat_box[1] < box[1] + 2
            assert hat_box[3] < (box[1] + box[3]) / 2 + 6


def test_places_are_where_they_say(drawn):
    places = set()
    for r in drawn:
        if r.scene.kind != "single" or not r.scene.things[0].place:
            continue
        place = r.scene.things[0].place
        places.add(place)
        x0, y0, x1, y1 = r.boxes[0]
        x, y = (x0 + x1) / 256, (y0 + y1) / 256
        assert {
            "left": x < 0.42, "right": x > 0.58, "middle": 0.4 < x < 0.6, "top": y < 0.45, "bottom": y > 0.55,
        }[place]  # fmt: skip
    assert len(places) == 5


def test_sizes_are_as_they_say():
    sides = {
        word: max(np.subtract(render(parse(f"a {word} basketball in the middle", seed).scene).boxes[0][2:],
                              render(parse(f"a {word} basketball in the middle", seed).scene).boxes[0][:2]))
        for seed, word in enumerate(("small", "", "large"))
    }  # fmt: skip
    assert sides["small"] < 0.42 * 128 < sides[""] < 0.6 * 128 < sides["large"]


@pytest.mark.parametrize("color", COLORS)
def test_painted_objects_have_their_colour(color):
    for name in ("car", "balloon", "heart", "fish"):
        r = render(parse(f"a large {color} {name}, flat style").scene)
        hsv = cv2.cvtColor(r.image, cv2.COLOR_RGB2HSV)[r.mask(0)].astype(int)
        vivid = hsv[(hsv[:, 1] > 100) & (hsv[:, 2] > 60), 0]
        distance = np.abs((vivid - COLORS[color] + 90) % 180 - 90)
        assert np.median(distance) <= 12, name


def person(**changes) -> Person:
    return replace(
        Person(Identity("short hair", "light", False), "business suit", "standing", 0.5, 0.52, 0.9), **changes
    )


def test_key_points_lie_on_the_figure(drawn):
    people = 0
    for r in drawn:
        if r.keypoints is None:
            assert r.scene.person is None
            continue
        people += 1
        near = cv2.dilate(r.mask(0).astype(np.uint8), np.ones((5, 5))).astype(bool)
        for name, (x, y) in zip(KEYPOINTS, r.keypoints, strict=True):
            inside = 2 <= x < 126 and 2 <= y < 126
            if inside and not name.endswith("_ear"):
                assert near[int(y), int(x)], (name, r.scene)
    assert people > 50


@pytest.mark.parametrize("pose", POSES)
def test_key_points_name_the_persons_own_sides(pose):
    plain = keypoints(person(pose=pose, joints=(3.0, -5.0, 2.0, 7.0, 1.0, -2.0, 4.0, 6.0)))
    swapped = keypoints(person(pose=pose, joints=(3.0, -5.0, 2.0, 7.0, 1.0, -2.0, 4.0, 6.0), mirrored=True))
    for points in (plain, swapped):  # we see people from the front: their right is at our left
        for part in ("shoulder", "hip", "eye", "ear"):
            assert points[KEYPOINTS.index(f"right_{part}")][0] < points[KEYPOINTS.index(f"left_{part}")][0]
    for index, name in enumerate(KEYPOINTS):
        side, _, part = name.partition("_")
        other = {"left": "right", "right": "left"}.get(side)
        twin = KEYPOINTS.index(f"{other}_{part}") if other else index
        assert np.allclose(swapped[twin], (1 - plain[index][0], plain[index][1]))


def test_a_mirrored_wave_is_the_other_arm():
    right = keypoints(person(pose="waving"))
    left = keypoints(person(pose="waving", mirrored=True))
    wrist = {side: KEYPOINTS.index(f"{side}_wrist") for side in ("left", "right")}
    assert right[wrist["right"]][1] < right[wrist["left"]][1]
    assert left[wrist["left"]][1] < left[wrist["right"]][1]


def test_poses_outfits_styles_and_backgrounds_all_differ():
    def picture(scene: Scene) -> bytes:
        return render(scene, 64, 64).image.tobytes()

    assert len({picture(Scene("white", "3d", person=person(pose=pose))) for pose in POSES}) == len(POSES)
    assert len({picture(Scene("white", "3d", person=person(outfit=outfit))) for outfit in OUTFITS}) == len(
        OUTFITS
    )
    assert len({picture(Scene("beach", style)) for style in STYLES}) == len(STYLES)
    assert len({picture(Scene(background, "3d")) for background in BACKGROUNDS}) == len(BACKGROUNDS)


@pytest.mark.parametrize(("height", "width"), [(96, 160), (256, 128), (64, 64), (8, 8)])
def test_other_sizes(height, width):
    for seed in (0, 3, 11):
        r = render(sample(seed), height, width)
        assert r.image.shape == (height, width, 3)
        assert r.depth.shape == r.edges.shape == r.outlines.shape == (height, width)
        for box in filter(None, r.boxes):
            assert 0 <= box[0] < box[2] <= width
            assert 0 <= box[1] < box[3] <= height


def test_a_larger_picture_shows_the_same_scene():
    scene = parse("a cat to the left of a dog on the beach").scene
    small, large = render(scene), render(scene, 256, 256)
    assert np.abs(np.array(large.boxes) - 2 * np.array(small.boxes)).max() <= 4
    for index in range(2):
        shrunk = cv2.resize(large.mask(index).astype(np.uint8), (128, 128), interpolation=cv2.INTER_AREA)
        assert (shrunk.astype(bool) != small.mask(index)).mean() < 0.02


@pytest.mark.parametrize(("height", "width"), [(0, 128), (128, -8), (100, 128), (128, 127)])
def test_a_bad_size_is_an_error(height, width):
    with pytest.raises(LessonError, match=f"multiples of 8, not {height} x {width}"):
        render(sample(0), height, width)


def test_every_pixel_of_a_background_is_something(drawn):
    for r in drawn:
        assert r.classes.max() < len(CLASSES)
    empty = render(Scene("beach", "3d"))
    assert {CLASSES[c] for c in np.unique(empty.classes)} >= {"sky", "water", "ground"}
    assert empty.boxes == ()
    assert empty.keypoints is None
    assert not empty.instances.any()
    assert CLASS_INDEX["person"] == len(STUFF)


def test_a_clouds_kind_is_known_from_its_index():
    sky = render(Scene("sky", "3d"))
    assert {int(c) for c in np.unique(sky.classes)} == {STUFF.index("sky"), STUFF.index("cloud")}
    cloud = render(parse("a cloud on a pink background").scene)
    assert (cloud.classes[cloud.mask(0)] == CLASS_INDEX["cloud"]).all()
    assert CLASS_INDEX["cloud"] >= len(STUFF)
