"""What can be said of a scene. Several phrasings of the same facts; some facts may stay unsaid, none is ever wrong."""

from __future__ import annotations

import numpy as np

from lessonlib.world.scene import Person, Scene, Thing
from lessonlib.world.vocabulary import (
    BACKGROUNDS,
    HAIR,
    NATURAL_COLORS,
    OUTFITS,
    PLACES,
    POSES,
    SCENERY,
    SIZES,
    STYLES,
    with_article,
)


class _Chance:
    """Random choices of words. `plain` makes none: the first phrasing, with everything said."""

    def __init__(self, rng: np.random.Generator | None) -> None:
        self.rng = rng

    def one_of(self, ways: tuple[str, ...]) -> str:
        return ways[0] if self.rng is None else ways[int(self.rng.integers(len(ways)))]

    def says(self, probability: float) -> bool:
        return self.rng is None or bool(self.rng.random() < probability)

    def adds(self, probability: float) -> bool:
        return self.rng is not None and bool(self.rng.random() < probability)


def _thing(thing: Thing, style: str, chance: _Chance) -> str:
    words = []
    if thing.size_word and chance.says(0.8):
        words.append(chance.one_of(SIZES[thing.size_word]))
    if thing.color:  # a repainted object is always named with its colour: nothing else would explain it
        words.append(thing.color)
    elif thing.name in NATURAL_COLORS and style != "ink" and chance.adds(0.35):
        words.append(NATURAL_COLORS[thing.name])
    name = thing.name
    if name == "top hat" and chance.adds(0.4):
        name = "hat"
    return with_article(" ".join([*words, name]))


def _person(person: Person, chance: _Chance) -> str:
    _, noun, phrase = HAIR[person.identity.hair]
    if chance.adds(0.25):
        words = ["a person" if chance.adds(0.5) else with_article(noun.rsplit(" ", 1)[-1])]
    else:
        words = [with_article(noun)]
        details = [phrase] if phrase else []
        if chance.says(0.6):
            details.append(f"with {person.identity.skin} skin")
        if person.identity.glasses and chance.says(0.85):
            details.append("with glasses")
        words += (
            [details[0], *(detail.replace("with ", "and ", 1) for detail in details[1:])] if details else []
        )
    if chance.says(0.9):
        words.append(chance.one_of(OUTFITS[person.outfit]))
    if chance.says(0.7):
        words.append(chance.one_of(POSES[person.pose]))
    return " ".join(words)


def _subject(scene: Scene, chance: _Chance) -> str:
    if scene.person is not None:
        return _person(scene.person, chance)
    things = [_thing(thing, scene.style, chance) for thing in scene.things]
    if len(things) == 1:
        return things[0]
    relation = scene.relation or "next to"
    if relation == "wearing":
        return f"{things[1]} wearing {things[0]}"
    if relation == "next to" and chance.adds(0.6):
        return f"{things[0]} and {things[1]}"
    return f"{things[0]} {relation} {things[1]}"


def _compose(scene: Scene, chance: _Chance) -> str:
    style = chance.one_of(STYLES[scene.style]) if chance.says(0.88) else ""
    if scene.kind == "scenery":
        body = chance.one_of(SCENERY.get(scene.background, (f"a {scene.background} background",)))
    else:
        subject = _subject(scene, chance)
        background = chance.one_of(BACKGROUNDS[scene.background]) if chance.says(0.93) else ""
        placed = scene.person or scene.things[0]
        place = chance.one_of(PLACES[placed.place]) if placed.place and chance.says(0.9) else ""
        parts = [subject, place, background] if chance.says(0.6) else [subject, background, place]
        body = " ".join(part for part in parts if part)
        if chance.adds(0.12):
            body = f"{chance.one_of(('a picture of', 'an image of', 'a scene with'))} {body}"
    if not style:
        return body
    if chance.adds(0.12):
        return f"{style}, {body}"
    return f"{body}, {style}"


def caption(scene: Scene, rng: np.random.Generator | None = None) -> str:
    """One caption. With a generator the wording and what is left out vary; without one it is the full, plain caption."""
    return _compose(scene, _Chance(rng))


def captions(scene: Scene, count: int = 8, seed: int = 0) -> list[str]:
    """The plain caption first, then up to `count - 1` other phrasings, all different."""
    rng = np.random.default_rng([seed, scene.seed])
    found = dict.fromkeys([caption(scene)])
    for _ in range(8 * count):
        if len(found) >= count:
            break
        found[caption(scene, rng)] = None
    return list(found)
