"""A random model of 64 pixels for every row of the catalogue: what `repo()` gives instead of a hub id in the full tier."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from random_adapters import add_adapters, add_sdxl
from random_variants import make_family, random_sdxl, save_random_lora

from lessonlib.models import store
from lessonlib.models.catalogue import CATALOGUE, find


def make_stand_ins(folder: Path) -> None:
    """A weights root in `folder`, with a member for every row of the catalogue."""
    from diffusers import StableDiffusionXLPipeline

    root = make_family(folder)
    add_adapters(folder)
    add_sdxl(folder)

    base = store.members(root)["sdxl-base"]
    store.add_member("sdxl-turbo", base["model_index"], base["folders"], root)
    store.add_member("vae", None, {"": "sd15-vae"}, root)
    save_random_lora(random_sdxl().unet, folder / "lora-sdxl", StableDiffusionXLPipeline)
    _tiny_autoencoder().save_pretrained(folder / "taesd")
    for name, part in (("lcm-lora-sdxl", "lora-sdxl"), ("taesd", "taesd")):
        store.fold(folder / part, name, root)
        store.add_member(name, None, {"": name}, root)
    for row in CATALOGUE.values():
        if row.kind == "controlnet" and row.tiny not in store.members(root):
            store.add_member(row.tiny, None, {"": "controlnet-canny"}, root)


def stand_in(name: str, folder: Path) -> str:
    """The plain folder of the catalogue's model `name`."""
    row = find(name)
    made = store.unfold(row.tiny, folder / "weights")
    if row.variant is None:
        return str(made)
    published = folder / "published" / name
    if not published.exists():
        shutil.copytree(made, published)
        _add_variant(published, row.variant)
        if name == "sd15":
            _rename_sampler(published / "scheduler/scheduler_config.json")
    return str(published)


def _add_variant(published: Path, variant: str) -> None:
    """The hub has every weight file twice."""
    for file in list(published.glob("*/*.safetensors")):
        shutil.copy(file, file.with_suffix(f".{variant}.safetensors"))


def _rename_sampler(settings: Path) -> None:
    """The real checkpoint names another sampler than the tiny one."""
    config = json.loads(settings.read_text()) | {"_class_name": "PNDMScheduler", "skip_prk_steps": True}
    settings.write_text(json.dumps(config))


def _tiny_autoencoder() -> Any:
    import torch
    from diffusers import AutoencoderTiny

    torch.manual_seed(7)
    widths, blocks = (8, 8, 8, 8), (1, 1, 1, 1)
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
    )
