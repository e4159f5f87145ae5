"""The catalogue, the choice of tier, and what fits where."""

import os
import subprocess
import sys

import pytest
from huggingface_hub.utils import filter_repo_objects

from lessonlib.errors import LessonError
from lessonlib.models import catalogue, machine, memory
from lessonlib.models.catalogue import CATALOGUE, find, repo

GIB = 1 << 30


def test_every_family_of_the_lesson_has_a_row():
    conditions = ("canny", "depth", "openpose", "scribble", "seg", "normal", "lineart")
    wanted = {"sd15", "sdxl-base", "sdxl-refiner", "ip-adapter", "ip-adapter-plus", "ip-adapter-face", "lcm"}
    wanted |= {
        "lcm-lora-sd15",
        "lcm-lora-sdxl",
        "sdxl-turbo",
        "sd15-inpainting",
        "taesd",
        "sdxl-vae-fp16-fix",
    }
    assert set(CATALOGUE) == wanted | {f"controlnet-{c}" for c in conditions}
    for row in CATALOGUE.values():
        assert set(row.needs) <= set(CATALOGUE)
        assert row.revision is None
        assert "runwayml" not in row.hub  # deleted from the hub


# Meta device: shapes without memory.
def test_parameter_counts_are_those_of_the_real_configurations():
    import torch
    from diffusers import AutoencoderTiny, ControlNetModel, UNet2DConditionModel

    def count(model):
        return sum(p.numel() for p in model.parameters())

    def unet(name):
        return next(c.parameters for c in find(name).components if c.folder == "unet")

    with torch.device("meta"):
        assert count(UNet2DConditionModel(cross_attention_dim=768)) == unet("sd15")
        assert count(UNet2DConditionModel(cross_attention_dim=768, in_channels=9)) == unet("sd15-inpainting")
        assert count(UNet2DConditionModel(cross_attention_dim=768, time_cond_proj_dim=256)) == unet("lcm")
        assert count(ControlNetModel(cross_attention_dim=768)) == find("controlnet-canny").parameters
        assert count(AutoencoderTiny()) == find("taesd").parameters


def test_download_sizes_are_those_of_the_published_files():
    # As published: SDXL in fp16 6.94 GB, its refiner 6.08, a ControlNet 1.45, the LoRAs 135 and 394 MB.
    sizes = {name: find(name).download_bytes / 1e9 for name in CATALOGUE}
    assert sizes["sdxl-base"] == pytest.approx(6.94, abs=0.01)
    assert sizes["sdxl-refiner"] == pytest.approx(6.08, abs=0.01)
    assert sizes["controlnet-depth"] == pytest.approx(1.45, abs=0.01)
    assert sizes["lcm-lora-sd15"] == pytest.approx(0.135, abs=0.001)
    assert sizes["lcm-lora-sdxl"] == pytest.approx(0.394, abs=0.001)


HUB_FILES = {
    "sd15": (
        [
            "model_index.json",
            "unet/config.json",
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "tokenizer/merges.txt",
        ],
        [
            "v1-5-pruned.safetensors",
            "unet/diffusion_pytorch_model.safetensors",
            "unet/diffusion_pytorch_model.fp16.bin",
            "unet/diffusion_pytorch_model.non_ema.safetensors",
            "README.md",
        ],
    ),
    "lcm": (
        ["unet/diffusion_pytorch_model.safetensors", "safety_checker/model.safetensors"],
        ["LCM_Dreamshaper_v7_4k.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors"],
    ),
    "ip-adapter-plus": (
        ["models/ip-adapter-plus_sd15.safetensors", "models/image_encoder/model.safetensors"],
        ["models/ip-adapter_sd15.safetensors", "sdxl_models/image_encoder/model.safetensors"],
    ),
    "lcm-lora-sdxl": (["pytorch_lora_weights.safetensors"], ["image.png"]),
}


@pytest.mark.parametrize("name", HUB_FILES)
def test_patterns_take_the_weights_of_the_variant_and_nothing_else(name):
    row, (wanted, unwanted) = find(name), HUB_FILES[name]
    chosen = filter_repo_objects(
        [*wanted, *unwanted], allow_patterns=row.allow_patterns, ignore_patterns=row.ignore_patterns
    )
    assert list(chosen) == wanted


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sdxl", "sdxl-base"),
        ("controlnet-cany", "controlnet-canny"),
        ("SD15", "sd15"),
        ("zzz", "It is one of sd15"),
    ],
)
def test_an_unknown_name_gets_its_nearest(name, hint):
    with pytest.raises(LessonError) as error:
        repo(name)
    assert f"no model called '{name}'" in str(error.value)
    assert hint in str(error.value)


def test_the_two_tiers_of_repo(weights):
    assert os.path.isfile(f"{repo('sd15', 'tiny')}/model_index.json")
    assert repo("sd15", "full") == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    with pytest.raises(LessonError, match=r"tiny weights of 'lcm' are not shipped yet \(there are: sd15\)"):
        repo("lcm", "tiny")
    with pytest.raises(LessonError, match="no tier called 'huge'"):
        repo("sd15", "huge")  # pyright: ignore[reportArgumentType]


def test_the_three_ip_adapters_share_a_repository():
    names = ("ip-adapter", "ip-adapter-plus", "ip-adapter-face")
    assert {find(n).hub for n in names} == {"h94/IP-Adapter"}
    assert {find(n).tiny for n in names} == {"ip-adapter"}
    assert len({find(n).weight_name for n in names}) == 3


# --- The tier


@pytest.fixture
def gpu(monkeypatch):
    """Pretend: a GPU and RAM of so many GiB."""

    def pretend(vram, ram=64.0):
        machine._chosen_for_this_machine.cache_clear()
        monkeypatch.setattr(machine, "device", lambda: "cuda" if vram else "cpu")
        monkeypatch.setattr(machine, "vram_bytes", lambda: int(vram * GIB))
        monkeypatch.setattr(machine, "ram_bytes", lambda: int(ram * GIB))

    yield pretend
    machine._chosen_for_this_machine.cache_clear()


@pytest.mark.parametrize(
    ("vram", "ram", "tier", "word"),
    [
        (0, 64, "tiny", "no CUDA GPU"),
        (15, 12.7, "full", "room"),
        (4, 64, "tiny", "SDXL"),
        (15, 4, "tiny", "SDXL"),
    ],
)
def test_full_needs_a_gpu_with_room(gpu, monkeypatch, vram, ram, tier, word):
    monkeypatch.delenv("LESSON_TIER", raising=False)
    gpu(vram, ram)
    assert machine.tier() == tier
    assert word in machine.why()


def test_the_environment_forces_the_tier(gpu, monkeypatch):
    gpu(0)
    monkeypatch.setenv("LESSON_TIER", "full")
    assert (machine.tier(), machine.why()) == ("full", "LESSON_TIER forces it")
    monkeypatch.setenv("LESSON_TIER", "ful")
    with pytest.raises(LessonError, match="'ful'"):
        machine.tier()


# --- Memory


def test_memory_of_the_first_lesson_by_hand():
    need = memory.need("0", ("sd15",))
    weights = 859_520_964 + 123_060_480 + 83_653_863 + 303_966_208
    decoder = 4 * 256 * 512 * 512
    assert need.vram == 2 * weights + 2 * decoder + GIB
    assert need.ram_cpu == 4 * weights + 4 * decoder + GIB
    assert need.vram_offload == 2 * 859_520_964 + 32 * 320 * 64 * 64 * 2 * 2 + GIB


def test_the_refiner_shares_the_bases_parts():
    both, base = memory.need("", ("sdxl-base", "sdxl-refiner")), memory.need("", ("sdxl-base",))
    assert both.vram - base.vram == 2 * 2_259_526_660
    assert both.vram_offload == base.vram_offload  # one UNet at a time


def test_controlnets_stay_beside_the_unet():
    two, one = (
        memory.need("", ("sd15", *nets)).vram_offload
        for nets in (("controlnet-canny",) * 2, ("controlnet-canny",))
    )
    assert two - one == 2 * 361_279_120


def test_what_fits():
    need = memory.need("", ("sdxl-base",))
    assert memory.fits(need, 64 * GIB, 24 * GIB) == "yes"
    assert memory.fits(need, 64 * GIB, 8 * GIB) == "with offload"
    assert memory.fits(need, 4 * GIB, 8 * GIB) == "no"
    assert memory.fits(need, 64 * GIB, 0) == "cpu, slow"
    assert memory.fits(need, 8 * GIB, 0) == "no"


def test_the_catalogue_loads_no_torch():
    code = "import sys, lessonlib.models.catalogue, lessonlib.models.store, lessonlib.models.memory;"
    code += "assert not {'torch', 'numpy', 'huggingface_hub'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_package_exports_what_notebooks_use():
    import lessonlib
    from lessonlib import models

    assert lessonlib.repo is catalogue.repo is models.repo
    assert lessonlib.tier is machine.tier
    assert {"repo", "tier", "device", "dtype", "fetch"} <= set(dir(models))
