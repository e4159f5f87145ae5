"""What is in a picture, as a value: objects, a person, a background, a style. Drawing it is `render`'s work."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Literal

import numpy as np

from lessonlib.world.vocabulary import (
    BACKGROUNDS,
    COLORS,
    HAIR,
    HAT_WEARERS,
    HATS,
    OBJECTS,
    OUTFITS,
    PAINTABLE,
    PLACES,
    POSES,
    SCENERY,
    SIZES,
    SKINS,
    STYLES,
)

Kind = Literal["single", "pair", "person", "scenery"]
MIX: dict[Kind, float] = {"single": 0.55, "pair": 0.2, "person": 0.2, "scenery": 0.05}

# place word -> range of the centre, as fractions of the picture's width and height
_CENTRES: dict[str, tuple[tuple[float, float], tuple[float, float]]] = {
    "left": ((0.24, 0.32), (0.42, 0.66)),
    "right": ((0.68, 0.76), (0.42, 0.66)),
    "middle": ((0.47, 0.53), (0.47, 0.56)),
    "top": ((0.38, 0.62), (0.24, 0.32)),
    "bottom": ((0.38, 0.62), (0.68, 0.76)),
}
# size word -> range of the sprite's side as a fraction of the picture's shorter side; "" is the unmarked size
_SIDES: dict[str, tuple[float, float]] = {"small": (0.34, 0.40), "": (0.46, 0.56), "large": (0.64, 0.76)}


@dataclass(frozen=True)
class Thing:
    """One object. `x, y` is its centre and `size` its side, as fractions of width, height and the shorter side."""

    name: str
    x: float
    y: float
    size: float
    color: str | None = None
    place: str | None = None
    size_word: str = ""
    angle: float = 0.0
    flip: bool = False


@dataclass(frozen=True)
class Identity:
    """Who a person is: what an identity-preserving adapter has to keep."""

    hair: str
    skin: str
    glasses: bool


@dataclass(frozen=True)
class Person:
    """A rigged figure. `x, y` is the centre of its box of side `size`; `joints` turns the pose's angles (degrees)."""

    identity: Identity
    outfit: str
    pose: str
    x: float
    y: float
    size: float
    place: str | None = None
    mirrored: bool = False
    joints: tuple[float, ...] = (0.0,) * 8


@dataclass(frozen=True)
class Scene:
    """Everything needed to draw a picture again, and to say what is in it.

    `seed` fixes the background's accidents (clouds, windows, waves). For a pair, `things[0] relation things[1]` holds.
    """

    background: str
    style: str
    things: tuple[Thing, ...] = ()
    relation: str | None = None
    person: Person | None = None
    seed: int = 0

    @property
    def kind(self) -> Kind:
        if self.person is not None:
            return "person"
        return ("scenery", "single", "pair")[len(self.things)]


@functools.cache
def held_out() -> frozenset[tuple[str, str, str]]:
    """The (object, background, style) combinations that no training run may see; listed in `held_out.json`."""
    listed = json.loads(resources.files("lessonlib.world").joinpath("data/held_out.json").read_text())
    return frozenset((name, background, style) for name, background, style in listed["combinations"])


def is_held_out(scene: Scene) -> bool:
    """Whether any object of the scene stands in a held-out combination."""
    return any((thing.name, scene.background, scene.style) in held_out() for thing in scene.things)


def _between(rng: np.random.Generator, low_high: tuple[float, float]) -> float:
    return float(rng.uniform(*low_high))


def sample_thing(rng: np.random.Generator, name: str, style: str, place: str | None, size_word: str) -> Thing:
    """An object in a place (`None`: anywhere) and a size; paintable objects take a colour half of the time."""
    x_range, y_range = _CENTRES[place] if place else ((0.28, 0.72), (0.34, 0.68))
    colored = name in PAINTABLE and style != "ink" and rng.random() < 0.6
    return Thing(
        name=name,
        x=_between(rng, x_range),
        y=_between(rng, y_range),
        size=_between(rng, _SIDES[size_word]),
        color=str(rng.choice(list(COLORS))) if colored else None,
        place=place,
        size_word=size_word,
        angle=float(rng.normal(0, 4)),
        flip=bool(rng.random() < 0.5),
    )


def arrange_pair(rng: np.random.Generator, first: Thing, second: Thing, relation: str) -> tuple[Thing, Thing]:
    """Move two objects so that `first relation second` is visible in the picture."""
    from dataclasses import replace

    side = _between(rng, (0.42, 0.48))
    jitter = lambda spread=0.03: float(rng.uniform(-spread, spread))  # noqa: E731
    base = 0.58 + jitter(0.08)
    if relation == "wearing":
        x, y = 0.5 + jitter(0.12), 0.60 + jitter(0.04)
        side = _between(rng, (0.52, 0.62))
        wearer = replace(second, x=x, y=y, size=side, place=None, size_word="", angle=0.0)
        # the hat's centre sits where the head ends: half a hat above the top of the face
        hat = replace(first, x=x, y=y - 0.53 * side, size=0.58 * side, place=None, size_word="", angle=0.0)
        return hat, wearer
    if relation == "above":
        top = replace(first, x=0.5 + jitter(0.12), y=0.27 + jitter(), size=side, place=None, size_word="")
        below = replace(second, x=0.5 + jitter(0.12), y=0.73 + jitter(), size=side, place=None, size_word="")
        return top, below
    if relation == "in front of":
        shift = 0.14 if rng.random() < 0.5 else -0.14
        front = replace(first, x=0.5 + shift, y=0.66 + jitter(), size=side, place=None, size_word="")
        back = replace(second, x=0.5 - shift, y=0.46 + jitter(), size=side * 1.25, place=None, size_word="")
        return front, back
    first_is_left = relation == "to the left of" or (relation == "next to" and rng.random() < 0.5)
    left_x, right_x = 0.27 + jitter(), 0.73 + jitter()
    return (
        replace(
            first,
            x=left_x if first_is_left else right_x,
            y=base + jitter(),
            size=side,
            place=None,
            size_word="",
        ),
        replace(
            second,
            x=right_x if first_is_left else left_x,
            y=base + jitter(),
            size=side,
            place=None,
            size_word="",
        ),
    )


def sample_identity(rng: np.random.Generator) -> Identity:
    """One of the 48 identities, all alike in probability."""
    return Identity(
        hair=str(rng.choice(list(HAIR))), skin=str(rng.choice(SKINS)), glasses=bool(rng.random() < 0.5)
    )


def sample_person(
    rng: np.random.Generator, identity: Identity | None = None, place: str | None = None
) -> Person:
    """A person with a random outfit and pose, nearly as tall as the picture."""
    x_range = _CENTRES[place][0] if place else (0.38, 0.62)
    return Person(
        identity=identity or sample_identity(rng),
        outfit=str(rng.choice(list(OUTFITS))),
        pose=str(rng.choice(list(POSES))),
        x=_between(rng, x_range),
        y=_between(rng, (0.50, 0.54)),
        size=_between(rng, (0.86, 0.98)),
        place=place,
        mirrored=bool(rng.random() < 0.5),
        joints=tuple(float(angle) for angle in rng.normal(0, 6, 8)),
    )


def _sample_once(rng: np.random.Generator, kind: Kind) -> Scene:
    background = str(rng.choice(list(SCENERY if kind == "scenery" else BACKGROUNDS)))
    style = str(rng.choice(list(STYLES)))
    seed = int(rng.integers(2**31))
    if kind == "scenery":
        return Scene(background, style, seed=seed)
    if kind == "person":
        place = str(rng.choice(["left", "right", "middle"])) if rng.random() < 0.3 else None
        return Scene(background, style, person=sample_person(rng, place=place), seed=seed)
    if kind == "single":
        place = str(rng.choice(list(PLACES))) if rng.random() < 0.5 else None
        size_word = str(rng.choice(list(SIZES))) if rng.random() < 0.35 else ""
        name = str(rng.choice(list(OBJECTS)))
        return Scene(background, style, (sample_thing(rng, name, style, place, size_word),), seed=seed)
    relation = str(
        rng.choice(["next to", "to the left of", "to the right of", "above", "in front of", "wearing"])
    )
    if relation == "wearing":
        names = [str(rng.choice(HATS)), str(rng.choice(HAT_WEARERS))]
    else:
        names = [str(name) for name in rng.choice(list(OBJECTS), 2, replace=False)]
    first, second = (sample_thing(rng, name, style, None, "") for name in names)
    return Scene(background, style, arrange_pair(rng, first, second, relation), relation, seed=seed)


def sample(seed: int | np.random.Generator, kind: Kind | None = None, *, split: str = "seen") -> Scene:
    """A random scene.

    Args:
        seed: an integer, or a generator that is advanced.
        kind: "single", "pair", "person" or "scenery"; by default drawn from `MIX`.
        split: "seen" never returns a held-out combination; "held-out" returns only single objects in one; "all" either.
    """
    rng = np.random.default_rng(seed)
    if split == "held-out":
        names = sorted(held_out())
        name, background, style = names[int(rng.integers(len(names)))]
        place = str(rng.choice(list(PLACES))) if rng.random() < 0.5 else None
        size_word = str(rng.choice(list(SIZES))) if rng.random() < 0.35 else ""
        thing = sample_thing(rng, name, style, place, size_word)
        return Scene(background, style, (thing,), seed=int(rng.integers(2**31)))
    chosen: Kind = kind or rng.choice(np.array(list(MIX)), p=list(MIX.values())).item()
    scene = _sample_once(rng, chosen)
    while split == "seen" and is_held_out(scene):
        scene = _sample_once(rng, chosen)
    return scene
