"""How each member was trained: one file a kind of member, with `PLAN`, `run(runs, minutes, plan)` and `ship(runs)`.

`GOING_ON`, where a file has it, is the plan of a run that begins with what ships and does not simply learn more of the same.

A file that trains several members takes what tells them apart as keyword arguments (`settings`) in `run` and `ship`. A run
is kept in `runs/<name>`; `run` writes `runs/<name>/model`, and `ship` stores what lies there.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from lessonlib.zoo.training import Plan


@dataclass(frozen=True)
class Recipe:
    """One member's recipe: the file in this folder that trains it, and what it is in one sentence.

    `data` says what it learned from where that is more than the world's scenes and captions.
    """

    name: str
    module: str
    what: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    data: str = ""

    @property
    def plan(self) -> Plan:
        """How it is trained unless asked otherwise."""
        return self._file.PLAN

    def plan_from(self, start: Literal["scratch", "shipped"]) -> Plan:
        """How it is trained from there unless asked otherwise."""
        going_on = getattr(self._file, "GOING_ON", self.plan)
        return replace(going_on if start == "shipped" else self.plan, start=start)

    def run(self, runs: Path, minutes: float | None = None, plan: Plan | None = None) -> Path:
        """Train, or go on; the folder that `ship` stores."""
        return self._file.run(runs, minutes, plan or self.plan, **self.settings)

    def ship(self, runs: Path) -> None:
        """Store the finished run in the package, with its card."""
        from lessonlib.zoo import cards

        card = cards.card_of(self, runs)  # before anything is stored: it may refuse
        self._file.ship(runs, **self.settings)
        cards.write(card)

    @property
    def _file(self) -> Any:
        return importlib.import_module(f"lessonlib.zoo.recipes.{self.module}")


_MICRO = (
    "Scenes of the emoji world in three shapes, half of them enlarged from originals of a quarter to all of the size, "
    "half cropped off centre; never a held-out combination of object, background and style."
)

# in the order in which they build on each other; the judge stands alone
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe("vae", "vae", "Pictures to latents and back: AutoencoderKL, 8x smaller per side, 4 channels."),
        Recipe("text", "text", "Captions to states: a CLIP tokenizer and a text tower that keeps a caption's facts."),
        Recipe("sd15", "sd15", "Text to picture: Stable Diffusion 1.5's UNet in small, trained with its text tower."),
        *(
            Recipe(f"controlnet-{name}", "controlnet", f"Steers sd15 by {what}.", {"condition": condition})
            for name, condition, what in (
                ("canny", "canny", "Canny's edges"),
                ("lineart", "lineart", "line art"),
                ("scribble", "scribble", "a few thick strokes"),
                ("depth", "depth", "a depth map"),
                ("normal", "normal", "surface normals"),
                ("seg", "segmentation", "a map of classes"),
                ("openpose", "pose", "a body's pose"),
            )
        ),
        Recipe("sd15-inpainting", "inpainting", "Paints what a mask hides: sd15 with nine input channels."),
        Recipe("image_encoder", "image_encoder", "Pictures to embeddings: CLIP's vision tower, beside the text tower."),
        *(
            Recipe(name, "ip_adapter", f"Draws by a reference picture: {what}.", {"kind": name})
            for name, what in (
                ("ip-adapter", "4 tokens of its embedding"),
                ("ip-adapter-plus", "16 tokens of its patches"),
                ("ip-adapter-face", "16 tokens of a head's patches, to keep who it is"),
            )
        ),
        Recipe("taesd", "taesd", "A fast autoencoder for the VAE's latents: AutoencoderTiny."),
        Recipe("lcm", "lcm", "sd15 distilled to few steps, its guidance an input: a latent consistency model."),
        Recipe("lcm-lora-sd15", "lcm_lora", "Four steps for sd15: consistency as a low-rank change.", {"family": "sd15"}),
        Recipe("sdxl-base", "sdxl", "Text to picture: SDXL in small, two text towers and micro-conditioning.", data=_MICRO),
        Recipe("sdxl-refiner", "refiner", "Ends what sdxl-base began: an expert for little noise.", data=_MICRO),
        Recipe("lcm-lora-sdxl", "lcm_lora", "Four steps for sdxl-base.", {"family": "sdxl"}, data=_MICRO),
        Recipe("sdxl-turbo", "turbo", "A picture in one step: sdxl-base distilled."),
        Recipe("judge", "judge", "Measures pictures: objects, background, style, place, a person's attributes."),
    )
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        LessonError: no recipe of that name.
    """
    if name not in RECIPES:
        raise LessonError(f"There is no recipe '{name}': choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]
