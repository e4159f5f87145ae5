"""Against the real controlnet_aux, where the extra `detectors` is installed; networks that need weights are stand-ins.

`make detectors` installs it into an environment of its own and runs these tests there. Where torch has no CUDA and
torchvision comes from PyPI, they do not match; controlnet_aux calls none of torchvision's compiled operators: declaring
those that torchvision looks for is all it takes to import it.
"""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from lessonlib.conditions import condition, detectors, face, pose
from lessonlib.errors import LessonError
from lessonlib.world import parse, render, sample

REQUIRED = "LESSON_DETECTORS"  # set where the package must be there: nothing is skipped
OTHER_TORCH = "was not built for the installed torch"


@pytest.fixture(scope="module", autouse=True)
def package():
    try:
        return detectors.controlnet_aux()
    except LessonError as error:
        trouble = str(error)
    if OTHER_TORCH in trouble:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return detectors.controlnet_aux()
    if os.environ.get(REQUIRED):
        pytest.fail(trouble)
    pytest.skip(trouble)


@pytest.fixture
def loaded(monkeypatch):
    """Put a detector in the place of the one that would be downloaded, in the full tier."""

    def put(detector):
        monkeypatch.setenv("LESSON_TIER", "full")
        monkeypatch.setattr(detectors, "_loaded", lambda _name, _repository: detector)
        return detector

    return put


class Ball(torch.nn.Module):
    """A depth network that sees a ball in every picture: MiDaS's inverse depth, larger is nearer."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, pixels):
        height, width = pixels.shape[-2:]
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        return 500 * (1 - y**2 - x**2).clamp(min=0).sqrt()[None]


def keypoints(rendered, size):
    from controlnet_aux.open_pose.body import Keypoint

    return [Keypoint(x=x / size, y=y / size) for x, y in rendered.keypoints]


@pytest.fixture(scope="module")
def persons():
    scenes = [sample(seed=seed) for seed in range(120)]
    return [render(scene, 512, 512) for scene in scenes if scene.person is not None][:16]


def test_the_stick_figure_is_controlnet_auxs_pixel_by_pixel(persons):
    from controlnet_aux.open_pose.util import draw_bodypose

    for number, rendered in enumerate(persons):
        theirs, ours = keypoints(rendered, 512), [(float(x), float(y)) for x, y in rendered.keypoints]
        if number % 3 == 0:
            theirs[4] = ours[4] = None
        canvas = np.zeros((512, 512, 3), np.uint8)
        assert np.array_equal(pose.draw(ours, 512, 512), draw_bodypose(canvas, theirs))


def test_depth_and_normals_follow_midas(loaded, package):
    loaded(package.MidasDetector(Ball()))
    picture = Image.new("RGB", (320, 192))
    depth = np.asarray(condition("depth", picture))
    assert depth[96, 160].min() == 255
    assert depth[0, 0].max() == 0
    normal = np.asarray(condition("normal", picture)).astype(int)
    left, right, top, bottom, middle = (
        normal[y, x] for y, x in ((96, 60), (96, 260), (30, 160), (160, 160), (96, 160))
    )
    assert left[0] > 200 > 50 > right[0]
    assert top[1] > 200 > 50 > bottom[1]
    assert middle[2] > 250


def test_line_detectors_run(loaded, package):
    from controlnet_aux.hed import ControlNetHED_Apache2
    from controlnet_aux.lineart import Generator

    made = {
        "scribble": package.HEDdetector(ControlNetHED_Apache2().eval()),
        "lineart": package.LineartDetector(Generator(3, 1, 3), Generator(3, 1, 3)),
    }
    for name, detector in made.items():
        loaded(detector)
        found = condition(name, Image.new("RGB", (128, 64), "white"))
        assert (found.mode, found.size) == ("RGB", (128, 64))


def test_openposes_points_give_the_face_and_nobody_is_said(loaded, package, monkeypatch):
    from controlnet_aux.open_pose import PoseResult
    from controlnet_aux.open_pose.body import Body, BodyResult

    class Nobody:
        format_body_result = staticmethod(Body.format_body_result)

        def __call__(self, _picture):
            return np.zeros((0, 4)), np.zeros((0, 20))

    detector = loaded(package.OpenposeDetector(Nobody()))
    rendered = render(parse("a woman in a red dress waving on the beach").scene, 256, 256)
    picture = Image.fromarray(rendered.image)
    for read in (face.find, lambda given: condition("pose", given)):
        with pytest.raises(LessonError, match="No person was found"):
            read(picture)
    body = BodyResult(keypoints=keypoints(rendered, 256), total_score=9.0, total_parts=18)
    monkeypatch.setattr(detector, "detect_poses", lambda *_args: [PoseResult(body, None, None, None)])
    true = [(float(x), float(y)) for x, y in rendered.keypoints]
    assert face.find(picture) == face.around(true, (256, 256))
