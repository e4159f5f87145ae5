"""The image encoder: CLIP's vision tower in small, taught to put a picture where its caption is.

Contrastive with the frozen text tower (Radford et al. 2021), which alone would need far more pictures than a laptop draws
in an hour; so the embedding must also answer `text`'s questions about the scene, and each patch's state of the last layer
but one (what IP-Adapter Plus reads) must say what stands there and in which colours. And one linear layer must make of the
embedding what sd15's own text encoder makes of the words for the picture (`words`): that is all that IP-Adapter's projection
may do, so what is not told linearly is lost to it. To train on from the shipped weights is to train the last layer and the
embedding alone: the states of the layer before stay what Plus and face have learned to read.

Half of the people are shown as heads alone, cut out and enlarged: that is what a face adapter will be given.

What an object is has over a hundred answers and takes longest to learn, so its questions weigh more than the others.
Pictures are drawn once and kept; their captions are worded anew in each step.
"""

# diffusers' and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.embeddings import ImageProjection
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from lessonlib.conditions import face
from lessonlib.models import store
from lessonlib.world.canvas import CLASSES
from lessonlib.world.captions import caption
from lessonlib.world.render import SIZE, Rendered, render
from lessonlib.world.scene import Scene, sample
from lessonlib.zoo import words
from lessonlib.zoo.base import Base, load_base
from lessonlib.zoo.caches import in_blocks, remembered
from lessonlib.zoo.recipes.text import QUESTIONS, Facts, facts
from lessonlib.zoo.training import Network, Plan, Step, train

NAME = "image_encoder"
PLAN = Plan(
    steps=4000, batch=64, learning_rate=1e-3, seed=81, warmup=150, weight_decay=0.05, optimizer="muon"
)
SCENES = 96_000
WEIGHTS = {
    "first": 4.0,
    "second": 4.0,
    "hair": 2.0,
    "pose": 2.0,
}  # of a question's cross entropy; 1 by default
WORDED = 20.0  # of the words told linearly, which count most; of what ships, the last training alone had this
WORDS = 4  # text states that one linear layer must tell: as many as IP-Adapter makes tokens
PATCH = 16
FACES = 0.5  # share of the people that are shown as a head alone
OF_A_FACE = ("style", "hair", "skin", "glasses")  # the questions that a head alone can answer
NOT_ASKED = -100  # what cross entropy passes over
_CELL, _COLOUR_CELL = 8, 4  # pixels a side of what a patch must name, and of what it must colour

# CLIP's own normalisation, which diffusers' feature extractor applies
_MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
_STD = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]


def build() -> CLIPVisionModelWithProjection:
    """An untrained vision tower of 1.4M parameters: 4 layers of width 160 over 8 x 8 patches of 16 pixels."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=160,
            intermediate_size=640,
            num_hidden_layers=4,
            num_attention_heads=5,
            image_size=SIZE,
            patch_size=PATCH,
            projection_dim=128,
            hidden_act="quick_gelu",
        )
    )


def as_pixels(images: np.ndarray) -> Tensor:
    """Pictures uint8 [B, 128, 128, 3] as the tower takes them: float32 [B, 3, 128, 128], CLIP's normalisation."""
    return (torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 255 - _MEAN) / _STD


def enlarged(image: np.ndarray) -> np.ndarray:
    """A square picture at the tower's size, uint8 [128, 128, 3]; bicubic, as CLIP's processor resizes."""
    if len(image) == SIZE:
        return image
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)


def head(drawn: Rendered) -> np.ndarray:
    """The head of a scene's person alone, at the tower's size: what `conditions.face` cuts out of a picture."""
    assert drawn.keypoints is not None
    height, width = drawn.classes.shape
    points = [(float(x), float(y)) for x, y in drawn.keypoints]
    x0, y0, x1, y1 = face.around(points, (width, height))
    return enlarged(drawn.image[y0:y1, x0:x1])


@dataclass(frozen=True)
class Example:
    """A picture, its caption (None for a head alone), the answers to `QUESTIONS`, and the class of every cell."""

    image: np.ndarray  # uint8 [128, 128, 3]
    text: str | None
    answers: list[int]
    cells: np.ndarray  # int64 [16, 16], NOT_ASKED everywhere for a head alone


def example(scene: Scene, rng: np.random.Generator) -> Example:
    """What one scene teaches."""
    drawn = render(scene)
    answers = facts(scene)
    if drawn.keypoints is not None and rng.random() < FACES:
        shown = [a if q in OF_A_FACE else NOT_ASKED for q, a in zip(QUESTIONS, answers, strict=True)]
        blank = np.full((SIZE // _CELL,) * 2, NOT_ASKED)
        return Example(head(drawn), None, shown, blank)
    middles = slice(_CELL // 2, None, _CELL)
    return Example(
        drawn.image, caption(scene, rng), answers, drawn.classes[middles, middles].astype(np.int64)
    )


ROW = np.dtype(
    [
        ("image", np.uint8, (SIZE, SIZE, 3)),
        ("answers", np.int16, len(QUESTIONS)),
        ("cells", np.int16, (SIZE // _CELL,) * 2),
        ("whole", np.bool_),
    ]
)


def training_scene(index: int) -> tuple[Scene, np.random.Generator]:
    """Training scene number `index`, and what chance is left to it."""
    rng = np.random.default_rng([PLAN.seed, index])
    return sample(rng), rng


def examples(folder: Path, count: int) -> np.ndarray:
    """What the scenes 0..count-1 teach, drawn once and kept under `folder`: `ROW` [count]."""

    def rows() -> Iterable[np.ndarray]:
        for index in range(count):
            one = example(*training_scene(index))
            yield np.array((one.image, one.answers, one.cells, one.text is not None), ROW)

    return remembered(folder / f"{NAME}-{count}.npy", count, lambda: in_blocks(rows()), "pictures to read")


class Patches(nn.Module):
    """What a patch's state must tell: the classes of its 2 x 2 cells and its 4 x 4 mean colours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classes = nn.Linear(width, (PATCH // _CELL) ** 2 * len(CLASSES))
        self.colours = nn.Linear(width, (PATCH // _COLOUR_CELL) ** 2 * 3)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """states [B, 64, D] -> class logits [B, 138, 16, 16] and colours [B, 3, 32, 32]."""
        return self._spread(self.classes(states), _CELL), self._spread(self.colours(states), _COLOUR_CELL)

    @staticmethod
    def _spread(values: Tensor, cell: int) -> Tensor:
        side = SIZE // PATCH
        grid = values.transpose(1, 2).unflatten(2, (side, side))
        return F.pixel_shuffle(grid, PATCH // cell)


def network(tower: CLIPVisionModelWithProjection, text_width: int = 128) -> Network:
    """The tower and everything that only teaches it, beside text encoders of that width."""
    width, shared = tower.config.hidden_size, tower.config.projection_dim
    teaching = nn.Module()
    teaching.text = nn.Linear(text_width, shared, bias=False)
    teaching.facts = Facts(shared)
    teaching.patches = Patches(width)
    teaching.words = ImageProjection(shared, text_width, WORDS)
    teaching.early_words = nn.Sequential(nn.LayerNorm(width), ImageProjection(width, text_width, WORDS))
    teaching.temperature = nn.Parameter(torch.tensor(np.log(1 / 0.07), dtype=torch.float32))
    return Network(tower=tower, teaching=teaching)


def contrastive(images: Tensor, texts: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    """CLIP's symmetric loss of embeddings [B, D], and how often a picture finds its caption."""
    logits = scale.clamp(max=np.log(100)).exp() * F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T
    own = torch.arange(len(images), device=images.device)
    loss = (F.cross_entropy(logits.float(), own) + F.cross_entropy(logits.T.float(), own)) / 2
    return loss, (logits.argmax(1) == own).float().mean()


def words_of(base: Base, scenes: Sequence[Scene], whole: np.ndarray) -> Tensor:
    """sd15's text states for the words for each scene, those of a head alone where not `whole`: [B, WORDS, C]."""
    states: Tensor = torch.empty(len(scenes), WORDS, base.text.config.hidden_size, device=base.device)
    for rows, head_alone in ((np.flatnonzero(whole), False), (np.flatnonzero(~whole), True)):
        if len(rows):
            states[rows] = words.wanted_states(base, [scenes[int(k)] for k in rows], WORDS, head_alone)
    return states


def loss_with(
    plan: Plan, text: CLIPTextModel, base: Base, rows: np.ndarray
) -> Callable[[Network, Step], dict[str, Tensor]]:
    """The loss of a step: captions, questions, patches and sd15's words. `rows` is what `examples` gives."""
    weight = torch.tensor([WEIGHTS.get(question, 1.0) for question in QUESTIONS])

    def loss(network: Network, step: Step) -> dict[str, Tensor]:
        drawn = np.sort(step.numpy.integers(0, len(rows), plan.batch))
        batch = rows[drawn]
        teaching = network.parts["teaching"]
        pixels = as_pixels(batch["image"]).to(step.device)
        seen = network.parts["tower"](pixel_values=pixels, output_hidden_states=True)
        embedded = seen.image_embeds

        scenes = [training_scene(int(index))[0] for index in drawn]
        said = np.flatnonzero(batch["whole"])
        texts = [caption(scenes[k], step.numpy) for k in said]
        with torch.no_grad():
            ids = base.tokenizer(texts, padding=True, return_tensors="pt").input_ids
            pooled = text(input_ids=ids.to(step.device)).pooler_output
        pairing, found = contrastive(embedded[said], teaching.text(pooled), teaching.temperature)

        answers = torch.from_numpy(batch["answers"].astype(np.int64)).to(step.device)
        logits = teaching.facts(embedded)
        asked = [
            F.cross_entropy(logit.float(), answers[:, k], ignore_index=NOT_ASKED)
            for k, logit in enumerate(logits)
        ]
        first = answers[:, 0] != NOT_ASKED
        named = (logits[0].argmax(1) == answers[:, 0])[first].float().mean()

        classes, colours = teaching.patches(seen.hidden_states[-2][:, 1:])
        cells = torch.from_numpy(batch["cells"].astype(np.int64)).to(step.device)
        standing = F.cross_entropy(classes.float(), cells, ignore_index=NOT_ASKED)
        painted = F.mse_loss(colours.float(), F.avg_pool2d(pixels, _COLOUR_CELL))
        told = (weight.to(step.device) * torch.stack(asked)).mean()

        wanted = words_of(base, scenes, batch["whole"])
        worded = F.mse_loss(teaching.words(embedded).float(), wanted)
        early = F.mse_loss(teaching.early_words(seen.hidden_states[-2][:, 0]).float(), wanted)
        total = 0.5 * pairing + told + 0.5 * standing + 0.5 * painted + WORDED * worded + early
        return {
            "loss": total,
            "caption": found,
            "object": named,
            "cells": standing,
            "colours": painted,
            "words": worded,
            "early_words": early,
        }

    return loss


def run(runs: Path, minutes: float | None = None, plan: Plan = PLAN) -> Path:
    """Train beside the shipped text tower and sd15, and write `runs/image_encoder/model`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = store.unfold("text")
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").requires_grad_(False).eval().to(device)
    torch.manual_seed(plan.seed)
    tower = started(plan.start)
    trained = train(
        NAME,
        network(tower, text.config.hidden_size),
        loss_with(plan, text, load_base(device), examples(runs / "examples", SCENES)),
        plan,
        runs=runs,
        minutes=minutes,
    )
    trained.parts["tower"].to("cpu").save_pretrained(runs / NAME / "model")
    return runs / NAME / "model"


def started(start: Literal["scratch", "shipped"]) -> CLIPVisionModelWithProjection:
    """An untrained tower, or the shipped one, of which only what follows the last layer but one is to be trained."""
    if start == "scratch":
        return build()
    tower = CLIPVisionModelWithProjection.from_pretrained(store.unfold(NAME)).requires_grad_(False)
    for part in (
        tower.vision_model.encoder.layers[-1],
        tower.vision_model.post_layernorm,
        tower.visual_projection,
    ):
        part.requires_grad_(True)
    return tower


def ship(runs: Path) -> None:
    """Store the tower in the package."""
    store.fold(runs / NAME / "model", "image-encoder")
    store.add_member(NAME, None, {"": "image-encoder"})
