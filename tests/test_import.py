"""`import lessonlib` is light; what it promises is there."""

import subprocess
import sys

import pytest

import lessonlib

HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "numpy",
    "PIL",
    "cv2",
    "matplotlib",
    "jupyterlab",
)


@pytest.mark.parametrize("module", ["lessonlib", "lessonlib.cli"])
def test_import_loads_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", lessonlib._EXPORTS)
def test_every_export_exists(name):
    assert getattr(lessonlib, name) is not None
    assert name in dir(lessonlib)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        lessonlib.no_such_name  # noqa: B018
