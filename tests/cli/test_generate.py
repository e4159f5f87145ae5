"""`lesson generate` with a random sd15, and `lesson models`."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from random_models import make_store, random_sd15
from typer.testing import CliRunner

from lessonlib import cli
from lessonlib.pipelines import generate as pipelines


@pytest.fixture(scope="module")
def store_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    random_sd15().save_pretrained(folder / "sd15")
    make_store(folder / "sd15", folder / "weights")
    return folder


@pytest.fixture
def lesson(store_folder, tmp_path, monkeypatch):
    """Run `lesson ...` in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("LESSON_WEIGHTS", str(store_folder / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(store_folder / "cache"))
    monkeypatch.setenv("LESSON_TIER", "tiny")
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def pixels(file):
    return np.asarray(Image.open(file))


def test_pictures_of_a_series_are_those_made_alone(lesson):
    result = lesson(
        "generate", "a red apple", "--steps", "2", "--seed", "7", "--n", "3", "--out", "a.png", "--json"
    )
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert made.pop("seconds") > 0
    assert made == {
        "files": ["a-7.png", "a-8.png", "a-9.png"],
        "seeds": [7, 8, 9],
        "model": "sd15",
        "steps": 2,
        "guidance": 5.0,
        "unknown_words": [],
    }
    assert sorted(os.listdir()) == made["files"]
    assert not np.array_equal(pixels("a-7.png"), pixels("a-8.png"))

    assert lesson("generate", "a red apple", "--steps", "2", "--seed", "8", "--out", "b.png").exit_code == 0
    assert np.array_equal(pixels("b.png"), pixels("a-8.png"))

    args = ("--steps", "2", "--seed", "7", "--n", "3", "--grid", "--out", "g.png")
    assert lesson("generate", "a red apple", *args).exit_code == 0
    sheet = pixels("g.png")
    assert sheet.shape == (64 + 2 + 64, 64 + 2 + 64, 3)
    assert np.array_equal(sheet[:64, 66:], pixels("a-8.png"))
    assert np.array_equal(sheet[66:, :64], pixels("a-9.png"))
    assert (sheet[66:, 66:] == 255).all()


def test_steps_guidance_and_size_reach_the_pipeline(lesson):
    lesson("generate", "a cat", "--steps", "1", "--out", "base.png")
    lesson("generate", "a cat", "--steps", "1", "--guidance", "0", "--out", "free.png")
    lesson("generate", "a cat", "--steps", "1", "--size", "96x64", "--out", "wide.png")
    assert not np.array_equal(pixels("base.png"), pixels("free.png"))
    assert Image.open("wide.png").size == (96, 64)


def test_unknown_words_are_named_and_the_picture_is_made(lesson):
    result = lesson("generate", "a glorpish apple", "--steps", "1", "--out", "x.png", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["unknown_words"] == ["glorpish"]
    assert "do not know these words: glorpish." in result.stderr
    assert os.listdir() == ["x.png"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--steps", "0"], "--steps must lie between 1 and 999 for sd15; it is 0."),
        (["--steps", "1000"], "--steps must lie between 1 and 999"),
        (["--model", "lcm", "--steps", "51"], "--steps must lie between 1 and 50 for lcm"),
        (["--guidance", "-1"], "--guidance must lie between 0 and 30; it is -1."),
        (["--guidance", "nan"], "--guidance must lie between"),
        (["--size", "100"], "multiples of 8"),
        (["--size", "8"], "between 64 and 2048"),
        (["--size", "big"], "--size must be SIDE or WIDTHxHEIGHT"),
        (["--n", "0"], "--n must lie between"),
        (["--seed", "-1"], "--seed must be"),
        (["--model", "sd16"], "Did you mean sd15?"),
        (["--model", "taesd"], "does not make pictures from text"),
        (["--model", "lcm"], "not shipped yet"),
        (["--out", "nowhere/x.png"], "there is no folder nowhere"),
        (["--out", "x.gif"], "--out must end in one of"),
        (["--out", "/proc/x.png"], "Cannot write into /proc"),
    ],
)
def test_bad_input_gets_one_sentence_before_any_model_is_loaded(lesson, monkeypatch, arguments, words):
    monkeypatch.setattr("diffusers.DiffusionPipeline.from_pretrained", lambda *_, **__: pytest.fail("loaded"))
    result = lesson("generate", "a cat", *arguments)
    assert result.exit_code == 1
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert os.listdir() == []


def test_a_folder_in_the_way(lesson):
    os.mkdir("x.png")
    result = lesson("generate", "a cat", "--out", "x.png")
    assert result.exit_code == 1
    assert "it is a folder" in result.stderr


def test_a_damaged_weight_file_is_named(lesson, store_folder, tmp_path, monkeypatch):
    import shutil

    shutil.copytree(store_folder / "weights", tmp_path / "weights")
    file = tmp_path / "weights/parts/sd15-unet/weights.safetensors.gz"
    file.write_bytes(file.read_bytes()[:-5])
    monkeypatch.setenv("LESSON_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))
    result = lesson("generate", "a cat")
    assert result.exit_code == 1
    assert f"{file} is truncated or altered" in result.stderr
    assert os.listdir() == []


def test_writing_all_pictures_or_none(lesson, monkeypatch):
    saved = []

    def save(picture, path):
        saved.append(path)
        if len(saved) == 2:
            raise OSError(28, "No space left on device")
        path.write_bytes(b"picture")

    monkeypatch.setattr(Image.Image, "save", save)
    result = lesson("generate", "a cat", "--steps", "1", "--n", "3")
    assert result.exit_code == 1
    assert "No space left on device" in result.stderr
    assert os.listdir() == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_leaves_nothing(lesson, store_folder, tmp_path):
    command = [sys.executable, "-m", "lessonlib.cli", "generate", "a cat", "--steps", "999", "--n", "50"]
    # A cache of its own: once the member is in it, sampling is about to begin.
    env = {**os.environ, "LESSON_CACHE": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that runs the tests in the background has them, and their children, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not list((tmp_path / "cache").glob("zoo/sd15-*")):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    # An import in the middle of which the first Ctrl-C falls may swallow it: as a person would, press again.
    for _ in range(6):
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        try:
            out, errors = process.communicate(timeout=20)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
        out, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert out == ""
    assert os.listdir() == []


def test_few_step_models_have_their_own_settings():
    assert pipelines.settings("lcm")[1:3] == (4, 8.0)
    assert pipelines.settings("sdxl-turbo")[1:3] == (1, 0.0)
    assert pipelines.settings("lcm", steps=2, guidance=1.0)[1:3] == (2, 1.0)


def test_the_models_as_json_and_as_a_table(lesson):
    rows = {row["name"]: row for row in json.loads(lesson("models", "--json").stdout)}
    assert rows["sd15"]["tiny_shipped"]
    assert not rows["lcm"]["tiny_shipped"]
    assert rows["sd15"]["hub"] == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert rows["controlnet-canny"]["parameters"] == 361_279_120
    table = lesson("models").stdout
    assert all(name in table for name in rows)
