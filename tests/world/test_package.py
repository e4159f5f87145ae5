"""The package loads nothing until it is used, and its commands make their pictures or say why not."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import lessonlib.world
from lessonlib.cli import app

runner = CliRunner()


def test_importing_the_world_loads_nothing_heavy():
    code = "import sys, lessonlib.world; print([n for n in ('numpy', 'cv2', 'PIL', 'torch') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_file_never_hides_its_function():
    code = (
        "import lessonlib.world.render, lessonlib.world.parse\n"
        "from lessonlib.world.render import Rendered\n"
        "from lessonlib.world import parse, render\n"
        "assert isinstance(render(parse('a cat').scene), Rendered)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", lessonlib.world._EXPORTS)
def test_every_export_exists(name):
    assert callable(getattr(lessonlib.world, name))
    assert name in dir(lessonlib.world)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such_name"):
        lessonlib.world.no_such_name  # noqa: B018


def test_a_sheet_and_the_truth_are_written(tmp_path):
    sheet, truth = tmp_path / "sheet.png", tmp_path / "truth.png"
    done = runner.invoke(
        app, ["world", "sheet", str(sheet), "--n", "7", "--style", "ink", "--kind", "person"]
    )
    assert done.exit_code == 0, done.output
    done = runner.invoke(app, ["world", "truth", str(truth), "--prompt", "a cat wearing a hat"])
    assert done.exit_code == 0, done.output
    with Image.open(sheet) as picture:
        assert picture.width == 6 + 6 * (128 + 6)
    with Image.open(truth) as picture:
        assert picture.width == 6 + 4 * (256 + 6)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sheet", "a.png", "--style", "cubist"], "--style 'cubist' is not in the vocabulary: choose one of 3d, flat"),
        (["sheet", "a.png", "--background", "moon"], "--background 'moon' is not in the vocabulary"),
        (["sheet", "a.png", "--kind", "scenery", "--background", "white"], "an empty 'white' background"),
        (["sheet", "a.png", "--split", "held-out", "--kind", "pair"], "Held-out scenes are single objects"),
        (["sheet", "a.gif", "--n", "1"], "ends in .png, not 'a.gif'"),
        (["sheet", "/proc/no/a.png", "--n", "1"], "Cannot write"),
        (["truth", "a.png", "--prompt", "a cat", "--kind", "pair"], "give one of the two"),
    ],
)  # fmt: skip
def test_mistakes_are_one_sentence(arguments, says, tmp_path, monkeypatch):
    _says(arguments, says, tmp_path, monkeypatch)


def test_art_that_is_not_there_is_named(tmp_path, monkeypatch):
    has_resvg = importlib.util.find_spec("resvg_py") is not None
    says = "icons.json is missing" if has_resvg else "pip install 'lessonlib[art]'"
    _says(["build", "--art", "no-such-folder"], says, tmp_path, monkeypatch)


def _says(arguments, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = runner.invoke(app, ["world", *arguments])
    assert done.exit_code == 1
    assert says in done.output.replace("\n", " ")
    assert list(tmp_path.iterdir()) == []


def test_the_documentation_lists_the_vocabulary():
    done = runner.invoke(app, ["world", "words"])
    assert done.exit_code == 0
    page = (Path(__file__).parents[2] / "docs" / "world.md").read_text()
    assert page.split("<!-- words -->\n")[1].split("\n<!-- /words -->")[0] == done.output.strip()
    for name in ("sheet", "lesson", "truth"):
        assert (Path(__file__).parents[2] / "docs" / "images" / f"world-{name}.png").stat().st_size < 400_000
