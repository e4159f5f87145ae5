"""What each lesson needs in the full tier, before anything is downloaded.

    peak    = weights + max(denoising maps, decoding maps) + 1 GiB
    weights = Σ parameters × bytes                      2 in float16 on a GPU, 4 in float32 on a CPU
    denoising maps = 32 × 320 × h/8 × w/8 × 2 × bytes   the UNet's skips and working set, × 2 for guidance
    decoding maps  = 4 × 256 × h × w × bytes            the VAE decoder's widest level at full picture size

The two counts of live maps were measured with the full-size networks in float32: 28 of the UNet's at 48 × 48
latents, oneDNN's copies of the weights included, and 3.96 of the decoder's at 192 × 192 pixels. A VAE with
`force_upcast` (SDXL) counts 4 bytes everywhere. With `enable_model_cpu_offload()` the GPU holds either the
UNet and what works inside it (ControlNets, adapters) or the VAE, and RAM holds all weights. With
`enable_sequential_cpu_offload()` it holds one layer, which is counted in the 1 GiB. With tiling the VAE
decodes 512 x 512 pixels at a time. The 1 GiB stands for Python, torch and the GPU's own context. The figures
are estimates; no GPU was measured for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lessonlib.models.catalogue import CATALOGUE, Component, Model

OVERHEAD = 1 << 30
UNET_MAPS, UNET_WIDTH = 32, 320
VAE_MAPS, VAE_WIDTH = 4, 256
TILE = 512  # pixels a side

# lesson -> rows of the catalogue that are loaded at the same time
LESSONS: dict[str, tuple[str, ...]] = {
    "0 start here": ("sd15",),
    "1 SDXL base + refiner": ("sdxl-base", "sdxl-refiner"),
    "2 ControlNet, two conditions": ("sd15", "controlnet-canny", "controlnet-depth"),
    "3 IP-Adapter": ("sd15", "ip-adapter-plus"),
    "4 LCM-LoRA on SDXL": ("sdxl-base", "lcm-lora-sdxl"),
    "4 LCM, embedded guidance": ("lcm",),
    "4 SDXL-Turbo": ("sdxl-turbo",),
    "5 inpainting, outpainting": ("sd15-inpainting",),
    "5 image to image, prompts": ("sd15",),
    "5 prompts for SDXL, 6 memory": ("sdxl-base",),
    "all together": ("sd15", "controlnet-openpose", "ip-adapter-face", "lcm-lora-sd15"),
}

SHARED = {"sdxl-refiner": ("text_encoder_2", "vae")}  # passed in from the base (errata 1.13)


@dataclass(frozen=True)
class Need:
    """Bytes that one lesson needs."""

    lesson: str
    models: tuple[str, ...]
    download: int
    vram: int  # everything on the GPU, float16
    vram_tiled: int  # the same, the VAE working in tiles
    vram_offload: int  # enable_model_cpu_offload()
    vram_offload_tiled: int
    vram_sequential: int  # enable_sequential_cpu_offload(), the VAE working in tiles
    ram_offload: int  # the weights that then lie in RAM
    ram_cpu: int  # everything on the CPU, float32


def needs() -> list[Need]:
    """One row a lesson."""
    return [need(lesson, models) for lesson, models in LESSONS.items()]


def need(lesson: str, models: tuple[str, ...]) -> Need:
    """What the rows called `models` need when they are loaded at the same time."""
    rows = [CATALOGUE[name] for name in models]
    half, full = weight_bytes(rows, 2), weight_bytes(rows, 4)
    parts = [(row, part) for row in rows for part in _loaded(row)]
    unet = max(_bytes(r, p, 2) for r, p in parts if p.folder == "unet")
    inside = sum(_bytes(r, p, 2) for r, p in parts if r.kind != "pipeline" and "encoder" not in p.folder)
    vae = max(_bytes(r, p, 2) for r, p in parts if p.folder == "vae")
    denoising, decoding, tile = (
        denoising_bytes(rows, 2),
        decoding_bytes(rows, 2),
        decoding_bytes(rows, 2, TILE),
    )
    return Need(
        lesson=lesson,
        models=models,
        download=sum(part.parameters * part.stored_bytes for _, part in parts),
        vram=half + max(denoising, decoding) + OVERHEAD,
        vram_tiled=half + max(denoising, tile) + OVERHEAD,
        vram_offload=max(unet + inside + denoising, vae + decoding) + OVERHEAD,
        vram_offload_tiled=max(unet + inside + denoising, vae + tile) + OVERHEAD,
        vram_sequential=max(denoising, tile) + OVERHEAD,
        ram_offload=half + OVERHEAD,
        ram_cpu=full + max(denoising_bytes(rows, 4), decoding_bytes(rows, 4)) + OVERHEAD,
    )


def fits(needed: Need, ram: int, vram: int) -> Literal["yes", "with offload", "cpu, slow", "no"]:
    """Whether a lesson's full-size models run in `ram` and `vram` bytes."""
    if vram >= needed.vram:
        return "yes"
    if vram >= needed.vram_offload and ram >= needed.ram_offload:
        return "with offload"
    return "cpu, slow" if not vram and ram >= needed.ram_cpu else "no"


def weight_bytes(rows: list[Model], bytes_each: int) -> int:
    """Every network that is loaded, shared ones once."""
    return sum(_bytes(row, part, bytes_each) for row in rows for part in _loaded(row))


def denoising_bytes(rows: list[Model], bytes_each: int) -> int:
    """The UNet's maps, two pictures at once for classifier-free guidance."""
    latent = max(row.side for row in rows) // 8
    return UNET_MAPS * UNET_WIDTH * latent**2 * 2 * bytes_each


def decoding_bytes(rows: list[Model], bytes_each: int, tile: int | None = None) -> int:
    """The VAE decoder's maps, of the whole picture or of a tile of so many pixels a side."""
    side = max(row.side for row in rows)
    side = side if tile is None else min(side, tile)
    return VAE_MAPS * VAE_WIDTH * side**2 * (4 if any(r.float32_vae for r in rows) else bytes_each)


def _loaded(row: Model) -> list[Component]:
    return [part for part in row.components if part.folder not in SHARED.get(row.name, ())]


def _bytes(row: Model, part: Component, bytes_each: int) -> int:
    return part.parameters * (4 if row.float32_vae and part.folder == "vae" else bytes_each)
