"""The full tier's downloads: the real hub client, in a process of its own, against a hub on loopback."""

import os
import subprocess
import sys

import pytest
from hub import Hub, repository, serving

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
CANNY = "lllyasviel/sd-controlnet-canny"
WEIGHTS = "diffusion_pytorch_model.safetensors"
LARGE = bytes(range(256)) * 4096  # 1 MiB
CHUNK = 10 << 20  # the hub client keeps whole chunks of a broken-off file


@pytest.fixture
def hub():
    files = {
        "config.json": b"{}",
        WEIGHTS: LARGE,
        "diffusion_pytorch_model.bin": b"pickle",
        "README.md": b"hello",
    }
    with serving(Hub({CANNY: files})) as served:
        yield served


@pytest.fixture
def lesson(hub, tmp_path):
    """Run `lesson ...` against the hub; returns the finished process."""

    def run(*arguments, **environment):
        environ = {
            **os.environ,
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "0",
            "LESSON_TIER": "full",
            **environment,
        }
        command = [sys.executable, "-m", "lessonlib.cli", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=600)

    return run


def sentence(result):
    """What a refused command says: one line, exit code 1, no traceback."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


def test_only_the_files_of_the_course_are_fetched_and_only_once(hub, lesson):
    result = lesson("models", "fetch", "controlnet-canny")
    assert result.returncode == 0, result.stderr
    folder = result.stdout.strip()
    assert sorted(os.listdir(folder)) == ["config.json", WEIGHTS]
    with open(f"{folder}/{WEIGHTS}", "rb") as stream:
        assert stream.read() == LARGE

    assert len(hub.gets(WEIGHTS)) == 1
    # Whole in the cache: no hub is needed any more.
    hub.dead = True
    assert lesson("models", "fetch", "controlnet-canny", HF_HUB_OFFLINE="1").stdout.strip() == folder


def test_a_lost_connection_goes_on_where_it_broke_off(hub, lesson):
    weights = hub.repositories[CANNY][WEIGHTS] = LARGE * 24
    hub.cuts[WEIGHTS] = 1
    result = lesson("models", "fetch", "controlnet-canny")
    assert result.returncode == 0, result.stderr
    with open(f"{result.stdout.strip()}/{WEIGHTS}", "rb") as stream:
        assert stream.read() == weights
    assert hub.gets(WEIGHTS) == [None, f"bytes={CHUNK}-"]


def test_a_stopped_download_keeps_the_finished_files(hub, lesson):
    hub.cuts[WEIGHTS] = 1000
    said = sentence(lesson("models", "fetch", "controlnet-canny"))
    assert "broke off" in said
    assert CANNY in said

    hub.cuts.clear()
    hub.requests.clear()
    assert lesson("models", "fetch", "controlnet-canny").returncode == 0
    assert hub.gets(WEIGHTS)
    assert not hub.gets("config.json")


def test_a_vanished_repository(hub, lesson):
    said = sentence(lesson("models", "fetch", "sd15"))
    assert f"{SD15} ('sd15') is not on the hub any more" in said


def test_a_gated_repository(hub, lesson):
    hub.gated.add(CANNY)
    said = sentence(lesson("models", "fetch", "controlnet-canny"))
    assert "is gated" in said
    assert f"https://huggingface.co/{CANNY}" in said


def test_offline(hub, lesson):
    unreachable = lesson("models", "fetch", "controlnet-canny", HF_ENDPOINT="http://127.0.0.1:9")
    assert "cannot be reached" in sentence(unreachable)


def test_a_repository_without_its_weights(hub, lesson):
    del hub.repositories[CANNY][WEIGHTS]
    assert "no longer has the weight files" in sentence(lesson("models", "fetch", "controlnet-canny"))


def test_no_room_on_the_disk(hub, tmp_path, monkeypatch):
    from lessonlib.errors import LessonError
    from lessonlib.models import catalogue, downloads

    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10**9}))
    downloads._check_room(catalogue.find("sd15"), 10**9)
    with pytest.raises(LessonError, match=r"too full for stable-diffusion-v1-5/.*: 2\.7 GB"):
        downloads._check_room(catalogue.find("sd15"), 2_740_000_000)

    with pytest.raises(LessonError, match="too full"), downloads.clear_errors(catalogue.find("sd15")):
        raise OSError(28, "No space left on device")


def test_the_full_tier_draws_from_what_it_fetched(hub, lesson, sd15, tmp_path):
    hub.repositories[SD15] = repository(sd15[1], variant="fp16")
    hub.repositories[SD15]["v1-5-pruned.safetensors"] = b"a single file for other programs"
    out = tmp_path / "apple.png"
    result = lesson("generate", "a red apple", "--steps", "1", "--out", str(out), "--json")
    assert result.returncode == 0, result.stderr
    assert out.stat().st_size > 1000
    assert not hub.gets("v1-5-pruned.safetensors")
