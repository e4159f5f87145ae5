"""An adapter begins as a describer: its tokens of a picture start near the text states of the words that describe it.

The keys and values for pictures start as the text's own. So if the projection gives what the text encoder makes of
“koala”, “snow” and “ink style”, sd15 understands a picture's tokens before any step of diffusion training. That is a
regression on cached states: seconds for one linear layer, a quarter of an hour for a resampler, where learning to see from
the diffusion loss alone takes days.
"""

# transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import CLIPTokenizer

from lessonlib.world.captions import caption
from lessonlib.world.scene import Scene
from lessonlib.world.vocabulary import BACKGROUNDS, HAIR, OUTFITS, POSES, STYLES
from lessonlib.zoo.base import Base
from lessonlib.zoo.training import mixed_precision

STEPS, BATCH, RATE = 2500, 96, 2e-3


def described(scene: Scene, head_alone: bool) -> tuple[str, list[str]]:
    """The plain caption and those of its phrases that name what can be seen; of a head alone, nothing but whose it is."""
    text = caption(scene)
    phrases = [thing.name for thing in scene.things]
    if scene.person is not None:
        who = scene.person.identity
        _, noun, hair = HAIR[who.hair]
        phrases = [noun, hair, f"{who.skin} skin", "glasses" if who.glasses else ""]
        if not head_alone:
            phrases += [OUTFITS[scene.person.outfit][0], POSES[scene.person.pose][0]]
    if not head_alone:
        phrases += [BACKGROUNDS[scene.background][0], STYLES[scene.style][0]]
    phrases = [
        phrase for phrase in phrases if phrase and phrase in text
    ]  # empty scenery has words of its own
    if head_alone:
        text = text[: max(text.index(phrase) + len(phrase) for phrase in phrases)]
    return text, phrases


def positions(tokenizer: CLIPTokenizer, text: str, phrases: Sequence[str], count: int) -> list[int]:
    """Where in the tokens of `text` its phrases end, and the text itself, spread over `count` places in this order."""
    told = tokenizer(
        text, return_offsets_mapping=True, truncation=True, max_length=tokenizer.model_max_length
    )
    last = [end if start < end else 0 for start, end in told["offset_mapping"]]  # 0 for begin and end of text
    ends = sorted({text.index(phrase) + len(phrase) for phrase in phrases})
    found = [max(k for k, end in enumerate(last) if 0 < end <= wanted) for wanted in ends]
    found.append(len(last) - 1)
    if len(found) <= count:
        return [found[k * len(found) // count] for k in range(count)]
    return [found[round(k * (len(found) - 1) / (count - 1))] for k in range(count)]


@torch.no_grad()
def wanted_states(base: Base, scenes: Sequence[Scene], count: int, head_alone: bool = False) -> Tensor:
    """The text states that `count` tokens of each scene's picture should start near: [N, count, C]."""
    rows = []
    for start in range(0, len(scenes), 100):
        told = [described(scene, head_alone) for scene in scenes[start : start + 100]]
        states = base.states([text for text, _ in told])
        where = torch.tensor([positions(base.tokenizer, text, phrases, count) for text, phrases in told])
        rows.append(states[torch.arange(len(told))[:, None], where.to(states.device)])
    return torch.cat(rows)


def teach(projection: nn.Module, seen: np.ndarray, wanted: Tensor, seed: int, steps: int = STEPS) -> float:
    """Fit the projection, in place, to give `wanted` [N, T, C] for encoded pictures `seen` [N, ...]; the last error²."""
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.AdamW(projection.parameters(), lr=RATE, weight_decay=0.01)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.05)
    error = torch.tensor(torch.nan)
    for _ in tqdm(range(steps), desc="learning the words", unit="step", leave=False):
        rows = np.sort(rng.integers(0, len(seen), min(BATCH, len(seen))))
        pictures = torch.from_numpy(np.array(seen[rows])).float().to(wanted.device)
        with torch.autocast(wanted.device.type, torch.bfloat16, enabled=mixed_precision() == "bf16"):
            told = projection(pictures)
        error = (told.float() - wanted[torch.from_numpy(rows)]).square().mean()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        rate.step()
    return float(error.detach())
