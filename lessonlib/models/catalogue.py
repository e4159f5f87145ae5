"""The catalogue: every model of the lesson, its hub id as it is today, its licence and its size.

Parameter counts are those of the published configurations, counted on the meta device; those of the two
LCM-LoRAs are half the bytes of their published float16 files. Download sizes follow: parameters × bytes of
the stored type, without headers and tokenizers. No revision is pinned, because no commit hash could be
verified; whether a hub id is still there, and gated, is found out by `fetch`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Literal

from lessonlib.errors import LessonError

Kind = Literal["pipeline", "controlnet", "ip-adapter", "lora", "vae"]


@dataclass(frozen=True)
class Component:
    """One network of a model: its folder in the hub repository, its parameters, bytes of a stored weight."""

    folder: str
    parameters: int
    stored_bytes: Literal[2, 4] = 2


@dataclass(frozen=True)
class Model:
    """One row of the catalogue.

    `variant` is what `from_pretrained(variant=...)` takes; `weight_name` and `subfolder` are what
    `load_ip_adapter` and `load_lora_weights` take; `needs` names the rows it is used together with; `tiny`
    is the member of the tiny zoo that stands for it; `gate` says what must be accepted first.
    """

    name: str
    kind: Kind
    hub: str
    components: tuple[Component, ...]
    licence: str
    tiny: str
    needs: tuple[str, ...] = ()
    variant: str | None = None
    subfolder: str | None = None
    weight_name: str | None = None
    gate: str = "none known"
    revision: str | None = None
    side: int = 512  # pixels of the pictures it was trained on
    text_to_image: bool = False
    float32_vae: bool = False  # `force_upcast`: the VAE decodes in float32 whatever the rest runs in

    @property
    def parameters(self) -> int:
        return sum(c.parameters for c in self.components)

    @property
    def download_bytes(self) -> int:
        """What is fetched: Σ parameters × bytes of the stored type."""
        return sum(c.parameters * c.stored_bytes for c in self.components)

    @property
    def allow_patterns(self) -> list[str]:
        """The hub files this course uses, as huggingface_hub's patterns."""
        if self.kind in ("ip-adapter", "lora"):
            inside = f"{self.subfolder}/" if self.subfolder else ""
            encoder = [f"{inside}image_encoder/{n}" for n in ("config.json", "model.safetensors")]
            return [f"{inside}{self.weight_name}", *(encoder if self.kind == "ip-adapter" else [])]
        if self.kind == "pipeline":
            end = f".{self.variant}.safetensors" if self.variant else ".safetensors"
            weights = [f"{c.folder}/*{end}" for c in self.components]
            return ["model_index.json", "*/*.json", "*/*.txt", *weights]
        return ["config.json", "diffusion_pytorch_model.safetensors"]

    @property
    def ignore_patterns(self) -> list[str]:
        return ["*/*.non_ema.safetensors", *([] if self.variant else ["*.fp16.safetensors"])]


# Errata 1.2, 1.4, E1.2: counted on the meta device.
_SD15_UNET = 859_520_964
_SDXL_UNET = 2_567_463_684
_REFINER_UNET = 2_259_526_660
_TEXT_L = 123_060_480
_TEXT_G = 694_659_840
_VAE = 83_653_863
_CONTROLNET = 361_279_120  # errata 2.1
_VIT_H = 632_076_800  # errata 3.2, the IP-Adapter's image encoder
_SAFETY = 303_966_208  # CLIP ViT-L/14's vision tower with projection, in SD1.5's safety checker


def _sd15(unet: int = _SD15_UNET, stored: Literal[2, 4] = 2) -> tuple[Component, ...]:
    return (
        Component("unet", unet, stored),
        Component("text_encoder", _TEXT_L, stored),
        Component("vae", _VAE, stored),
        Component("safety_checker", _SAFETY, stored),
    )


_SDXL = (
    Component("unet", _SDXL_UNET),
    Component("text_encoder", _TEXT_L),
    Component("text_encoder_2", _TEXT_G),
    Component("vae", _VAE),
)


def _controlnet(condition: str, hub: str) -> Model:
    return Model(
        name=f"controlnet-{condition}",
        kind="controlnet",
        hub=hub,
        components=(Component("", _CONTROLNET, 4),),
        licence="openrail",
        tiny=f"controlnet-{condition}",
        needs=("sd15",),
    )


def _ip_adapter(name: str, weight_name: str, parameters: int) -> Model:
    return Model(
        name=name,
        kind="ip-adapter",
        hub="h94/IP-Adapter",
        components=(Component("models", parameters), Component("models/image_encoder", _VIT_H, 4)),
        licence="apache-2.0",
        tiny="ip-adapter",
        needs=("sd15",),
        subfolder="models",
        weight_name=weight_name,
    )


def _lcm_lora(name: str, hub: str, base: str, parameters: int, side: int) -> Model:
    return Model(
        name=name,
        kind="lora",
        hub=hub,
        components=(Component("", parameters),),
        licence="openrail++",
        tiny=name,
        needs=(base,),
        weight_name="pytorch_lora_weights.safetensors",
        side=side,
    )


_ROWS = (
    Model(
        name="sd15",
        kind="pipeline",
        hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
        components=_sd15(),
        licence="creativeml-openrail-m",
        tiny="sd15",
        variant="fp16",
        text_to_image=True,
    ),
    Model(
        name="sdxl-base",
        kind="pipeline",
        hub="stabilityai/stable-diffusion-xl-base-1.0",
        components=_SDXL,
        licence="openrail++",
        tiny="sdxl-base",
        variant="fp16",
        side=1024,
        text_to_image=True,
        float32_vae=True,
    ),
    Model(
        name="sdxl-refiner",
        kind="pipeline",
        hub="stabilityai/stable-diffusion-xl-refiner-1.0",
        components=(
            Component("unet", _REFINER_UNET),
            Component("text_encoder_2", _TEXT_G),
            Component("vae", _VAE),
        ),
        licence="openrail++",
        tiny="sdxl-refiner",
        needs=("sdxl-base",),
        variant="fp16",
        side=1024,
        float32_vae=True,
    ),
    _controlnet("canny", "lllyasviel/sd-controlnet-canny"),
    _controlnet("depth", "lllyasviel/sd-controlnet-depth"),
    _controlnet("openpose", "lllyasviel/sd-controlnet-openpose"),
    _controlnet("scribble", "lllyasviel/sd-controlnet-scribble"),
    _controlnet("seg", "lllyasviel/sd-controlnet-seg"),
    _controlnet("normal", "lllyasviel/sd-controlnet-normal"),
    _controlnet("lineart", "lllyasviel/control_v11p_sd15_lineart"),  # ControlNet 1.1 only
    # Errata 3.1.
    _ip_adapter("ip-adapter", "ip-adapter_sd15.safetensors", 22_319_616),
    _ip_adapter("ip-adapter-plus", "ip-adapter-plus_sd15.safetensors", 49_087_488),
    _ip_adapter("ip-adapter-face", "ip-adapter-full-face_sd15.safetensors", 21_794_304),
    Model(
        name="lcm",
        kind="pipeline",
        hub="SimianLuo/LCM_Dreamshaper_v7",
        components=_sd15(unet=859_602_884, stored=4),  # + time_cond_proj, 320 × 256: the embedded w
        licence="mit",
        tiny="lcm",
        text_to_image=True,
    ),
    # The published files have 135 and 394 MB.
    _lcm_lora("lcm-lora-sd15", "latent-consistency/lcm-lora-sdv1-5", "sd15", 67_500_000, 512),
    _lcm_lora("lcm-lora-sdxl", "latent-consistency/lcm-lora-sdxl", "sdxl-base", 197_000_000, 1024),
    Model(
        name="sdxl-turbo",
        kind="pipeline",
        hub="stabilityai/sdxl-turbo",
        components=_SDXL,
        licence="sai-nc-community (commercial use needs a licence)",
        tiny="sdxl-turbo",
        variant="fp16",
        text_to_image=True,
        float32_vae=True,
    ),
    Model(
        name="sd15-inpainting",
        kind="pipeline",
        hub="stable-diffusion-v1-5/stable-diffusion-inpainting",
        components=_sd15(unet=859_535_364),  # nine input channels
        licence="creativeml-openrail-m",
        tiny="sd15-inpainting",
        variant="fp16",
    ),
    Model(
        name="taesd",
        kind="vae",
        hub="madebyollin/taesd",
        components=(Component("", 2_445_063, 4),),
        licence="mit",
        tiny="taesd",
        needs=("sd15",),
    ),
    Model(
        name="sdxl-vae-fp16-fix",
        kind="vae",
        hub="madebyollin/sdxl-vae-fp16-fix",
        components=(Component("", _VAE, 4),),
        licence="mit",
        tiny="vae",  # float32 on a CPU needs no fix: the tiny family's own VAE
        needs=("sdxl-base",),
        side=1024,
    ),
)

CATALOGUE: dict[str, Model] = {row.name: row for row in _ROWS}


def find(name: str) -> Model:
    """The row called `name`.

    Raises:
        LessonError: there is none; the sentence lists the closest names.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    close = difflib.get_close_matches(name.lower(), CATALOGUE, n=3, cutoff=0.5)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"It is one of {', '.join(CATALOGUE)}."
    raise LessonError(f"There is no model called '{name}'. {hint}")


def repo(name: str, tier: Literal["tiny", "full"] | None = None) -> str:
    """What `from_pretrained` takes: a local folder in diffusers layout (tiny) or the hub id (full).

    Args:
        name: a name of the catalogue.
        tier: "tiny" or "full"; by default what `lessonlib.tier()` chose for this machine.

    Raises:
        LessonError: unknown name or tier, tiny weights that are not shipped, damaged files, unwritable cache.
    """
    from lessonlib.models import machine, store

    row = find(name)
    tier = machine.checked(tier) if tier is not None else machine.tier()
    if tier == "full":
        return row.hub
    if row.tiny not in store.members():
        shipped = ", ".join(store.members()) or "none yet"
        raise LessonError(
            f"The tiny weights of '{name}' are not shipped yet (there are: {shipped}): "
            f"train them with `lesson zoo train {row.tiny}`, or set LESSON_TIER=full."
        )
    return str(store.unfold(row.tiny))
