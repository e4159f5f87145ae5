"""Read a prompt back into a scene: the inverse of `captions`.

The longest known phrase wins at every word, so that "in front of a sunset" is a background and "in front of" a relation.
What the prompt leaves open comes from the seed; what it asks for is kept apart (`Asked`), so that a judge can compare only
that.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from lessonlib.world.scene import (
    Identity,
    Person,
    Scene,
    Thing,
    arrange_pair,
    sample_identity,
    sample_person,
    sample_thing,
)
from lessonlib.world.vocabulary import (
    BACKGROUNDS,
    COLORS,
    HAIR,
    HAT_WEARERS,
    HATS,
    NATURAL_COLORS,
    OBJECTS,
    OUTFITS,
    PLACES,
    POSES,
    SCENERY,
    SIZES,
    SKINS,
    STYLES,
    SYNONYMS,
    words,
)


@dataclass(frozen=True)
class AskedThing:
    """What a prompt says of one object; None where it says nothing."""

    name: str
    color: str | None = None
    size: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class AskedPerson:
    """What a prompt says of a person; None where it says nothing. `noun` is "man" or "woman"."""

    noun: str | None = None
    hair: str | None = None
    skin: str | None = None
    glasses: bool | None = None
    outfit: str | None = None
    pose: str | None = None
    place: str | None = None


@dataclass(frozen=True)
class Asked:
    """What a prompt asks for and nothing more; None where it says nothing.

    `things` stand in the scene's order, so that `things[0] relation things[1]`. A plain "and" asks for "next to", as it
    does in captions.
    """

    things: tuple[AskedThing, ...] = ()
    relation: str | None = None
    person: AskedPerson | None = None
    background: str | None = None
    style: str | None = None

    @property
    def objects(self) -> tuple[str, ...]:
        """The names of the objects."""
        return tuple(thing.name for thing in self.things)


@dataclass(frozen=True)
class Parsed:
    """A prompt, understood: a scene that fits it, what it asked for, and the words nothing could be made of."""

    scene: Scene
    said: Asked
    unknown: list[str]


def parse(prompt: str, seed: int = 0) -> Parsed:
    """Read a prompt.

    An unsaid background is white (a meadow where nothing stands in it) and an unsaid style 3d; everything else that is
    unsaid is drawn from `seed`. Prompt weights, as in "(red:1.5)" or "(beautiful)++", are read over. A scene holds two
    objects or one person, so whatever is asked for beyond that is returned among the unknown words.
    """
    reader = _Reader()
    for mark in _marks(prompt):
        reader.take(mark)
    said = reader.asked()
    return Parsed(_scene(said, seed), said, reader.unknown())


# --- words --------------------------------------------------------------------------------------------------------------

# further ways to name a background, beside the captions' own
_MORE_BACKGROUNDS: dict[str, tuple[str, ...]] = {
    "meadow": ("grass", "field", "lawn"),
    "beach": ("seaside", "shore"),
    "sunset": ("sunset sky", "evening sky"),
    "night city": ("city by night", "street at night", "city street at night", "city lights", "city skyline at night"),
    "snow": ("snow", "winter"),
    "desert": ("dunes",),
    "mountains": ("mountain",),
    "mountain sunset": (
        "mountain sunset", "mountains at sunset", "sunset in mountains", "sunset behind mountains",
        "sunset above mountains", "sunset over mountain", "dusk in mountains",
    ),
    "forest": ("woods", "jungle"),
    "underwater": ("ocean floor", "sea floor", "bottom of ocean", "under water"),
    "space": ("space",),
    "room": ("room", "indoors"),
    "street": ("city", "road"),
    "sky": ("sky",),
    "ancient rome": ("rome", "roman columns"),
    "stage": ("stage", "red curtain"),
}  # fmt: skip
_MORE_STYLES: dict[str, tuple[str, ...]] = {
    "3d": ("3d", "in 3d"),
    "flat": ("in flat design",),
    "soft": ("pastel", "in soft pastel"),
    "ink": ("ink", "in ink"),
    "oil painting": ("in oil", "oil on canvas"),
    "pixel art": ("pixelated", "8-bit"),
}
_MORE_SIZES: dict[str, tuple[str, ...]] = {"small": ("little",), "large": ("huge",)}
_MORE_PLACES: dict[str, tuple[str, ...]] = {
    "left": ("on left side",),
    "right": ("on right side",),
    "middle": ("in centre", "at center", "at centre"),
}
_MORE_OUTFITS: dict[str, tuple[str, ...]] = {
    "business suit": ("suit", "in suit", "wearing suit"),
    "superhero": ("wearing superhero costume", "superhero costume"),
    "jeans": ("jeans", "in jeans", "wearing jeans"),
    "dress": ("dress", "in dress", "wearing dress"),
    "raincoat": ("raincoat", "in raincoat", "wearing raincoat"),
    "space suit": ("wearing space suit", "spacesuit", "in spacesuit"),
    "wizard": ("wearing wizard robe", "wizard robe"),
}
_MORE_POSES: dict[str, tuple[str, ...]] = {
    "standing": ("stands",),
    "arms raised": ("with raised arms", "arms up"),
    "running": ("runs",),
    "sitting": ("sits", "seated"),
    "jumping": ("jumps",),
}
_MORE_HAIR: dict[str, tuple[str, ...]] = {
    "bald": ("bald",),
    "beard": ("beard", "bearded"),
    "red hair": ("red-haired", "redhead"),
    "blond hair": ("blond", "blonde", "blond hair", "blonde hair"),
    "white hair": ("white-haired",),
}
_PEOPLE: dict[str, str] = {
    "man": "man", "men": "man", "boy": "man", "guy": "man", "woman": "woman", "women": "woman", "girl": "woman",
    "lady": "woman", "person": "", "people": "", "human": "",
}  # fmt: skip
# relation -> (what the scene calls it, whether the two objects change places)
_RELATIONS: dict[str, tuple[str, bool]] = {
    "next to": ("next to", False),
    "beside": ("next to", False),
    "and": ("next to", False),
    "to left of": ("to the left of", False),
    "left of": ("to the left of", False),
    "to right of": ("to the right of", False),
    "right of": ("to the right of", False),
    "above": ("above", False),
    "over": ("above", False),
    "on top of": ("above", False),
    "below": ("above", True),
    "under": ("above", True),
    "beneath": ("above", True),
    "in front of": ("in front of", False),
    "behind": ("in front of", True),
    "wearing": ("wearing", True),
    # "a cat in a hat": only ever said of hats
    "with": ("with", True),
    "in": ("with", True),
}
_MORE_COLORS = {"violet": "purple", "scarlet": "red", "crimson": "red"}
_ARTICLES = frozenset(("a", "an", "the"))
_GLUE = frozenset(
    [
        "of",
        "with",
        "in",
        "on",
        "at",
        "to",
        "is",
        "are",
        "and",
        "as",
        "from",
        "by",
        "for",
        "its",
        "his",
        "her",
        "their",
        "that",
        "this",
        "it",
        "there",
        "picture",
        "pictures",
        "image",
        "drawing",
        "scene",
        "showing",
        "style",
        "background",
        "skin",
        "hair",
    ]
)
_OTHER = ("comic book",)  # phrases whose words would be taken for objects


@dataclass(frozen=True)
class _Mark:
    """One phrase of the prompt: what kind of thing it says, and the word of the vocabulary for it."""

    kind: str
    value: str
    words: tuple[str, ...]
    at: int


def _plural(noun: str) -> str:
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "ch", "sh", "o")) else f"{noun}s"


def _phrases() -> Iterator[tuple[str, str, str]]:
    """(phrase, kind, value), the stronger readings first."""
    for background, ways in BACKGROUNDS.items():
        more = _MORE_BACKGROUNDS.get(background, ())
        named = (*SCENERY.get(background, (f"{background} background", f"{background} studio")), *more)
        yield from ((way, "background", background) for way in (*ways, *named))
    for table, more, kind in (
        (STYLES, _MORE_STYLES, "style"),
        (PLACES, _MORE_PLACES, "place"),
        (SIZES, _MORE_SIZES, "size"),
        (OUTFITS, _MORE_OUTFITS, "outfit"),
        (POSES, _MORE_POSES, "pose"),
    ):
        for value, ways in table.items():
            yield from ((way, kind, value) for way in (*ways, *more.get(value, ())))
    for outfit, ways in OUTFITS.items():  # "in a toga" -> "toga"
        yield from ((way.split(" ", 1)[1], "outfit", outfit) for way in ways)
    for pose, ways in POSES.items():  # "with arms raised" -> "arms raised"
        yield from ((way.removeprefix("with "), "pose", pose) for way in ways)
    for hair, (_, _, phrase) in HAIR.items():
        yield from (
            (way, "hair", hair) for way in (phrase.removeprefix("with "), *_MORE_HAIR.get(hair, ())) if way
        )
    for skin in SKINS:
        yield from ((way, "skin", skin) for way in (f"{skin} skin", f"{skin}-skinned"))
    yield from ((way, "glasses", "glasses") for way in ("glasses", "eyeglasses", "wearing glasses"))
    for noun, value in _PEOPLE.items():
        yield noun, "person", value
    yield "portrait", "portrait", ""
    for noun, value in (*((name, name) for name in OBJECTS), *SYNONYMS.items()):
        yield noun, "thing", value
        yield _plural(noun), "thing", value
    yield from (
        (color, "color", value) for color, value in (*((c, c) for c in COLORS), *_MORE_COLORS.items())
    )
    for phrase in _RELATIONS:
        yield phrase, "relation", phrase
    yield from ((phrase, "other", phrase) for phrase in _OTHER)


@functools.cache
def _lexicon() -> dict[tuple[str, ...], tuple[str, str]]:
    """Phrase without articles -> (kind, value)."""
    lexicon: dict[tuple[str, ...], tuple[str, str]] = {}
    for phrase, kind, value in _phrases():
        lexicon.setdefault(_without_articles(words(phrase)), (kind, value))
    return lexicon


def _without_articles(some: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for word in some if word not in _ARTICLES)


_WEIGHT = re.compile(
    r"\)\s*[\d.+-]+|:\s*[\d.]+|[()+\[\]]"
)  # compel's "(red)1.5", "(red)++", and the web's "(red:1.5)"


def _marks(prompt: str) -> Iterator[_Mark]:
    """The prompt as known phrases and single unknown words; no phrase runs over a comma."""
    lexicon = _lexicon()
    longest = max(map(len, lexicon))
    count = 0
    for clause in re.split(r"[,.;:!?\n]", _WEIGHT.sub(" ", prompt)):
        rest = _without_articles(words(clause))
        while rest:
            length = next((n for n in range(min(longest, len(rest)), 0, -1) if rest[:n] in lexicon), 0)
            kind, value = lexicon[rest[:length]] if length else ("other", rest[0])
            yield _Mark(kind, value, rest[: max(length, 1)], count)
            rest, count = rest[max(length, 1) :], count + 1


# --- reading ------------------------------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """Takes the marks one by one and keeps the first of each kind; what does not fit is refused."""

    things: list[AskedThing] = field(default_factory=list)
    thing_marks: list[_Mark] = field(default_factory=list)
    person: dict[str, str] = field(default_factory=dict)
    person_marks: list[_Mark] = field(default_factory=list)
    pending: list[_Mark] = field(default_factory=list)  # colours and sizes that wait for their noun
    relation: _Mark | None = None
    place: _Mark | None = None  # said before any subject
    background: str | None = None
    style: str | None = None
    portrait: bool = False
    refused: list[_Mark] = field(default_factory=list)

    def take(self, mark: _Mark) -> None:
        match mark.kind:
            case "color" | "size":
                self.pending.append(mark)
            case "thing":
                self._thing(mark)
            case "relation":
                if len(self.things) == 1 and (self.relation is None or _RELATIONS[mark.value][0] != "with"):
                    self.relation = mark
            case "place":
                self._place(mark)
            case "background" | "style":
                self._refuse_pending()
                if getattr(self, mark.kind) is None:
                    setattr(self, mark.kind, mark.value)
                elif getattr(self, mark.kind) != mark.value:
                    self._second_background(mark)
            case "portrait":
                self.portrait = True
            case "person" | "hair" | "skin" | "glasses" | "outfit" | "pose":
                self._person(mark)
            case _:
                self.refused.append(mark)

    def _thing(self, mark: _Mark) -> None:
        if self.person or len(self.things) == 2:
            self.refused.append(mark)
            self._refuse_pending()
            return
        thing = AskedThing(mark.value, place=self.place.value if self.place and not self.things else None)
        for adjective in self.pending:
            if getattr(thing, adjective.kind) is None:
                thing = replace(thing, **{adjective.kind: adjective.value})
            else:
                self.refused.append(adjective)
        self.pending = []
        self.things.append(thing)
        self.thing_marks.append(mark)

    def _place(self, mark: _Mark) -> None:
        if self.things and self.things[-1].place is None:
            self.things[-1] = replace(self.things[-1], place=mark.value)
        elif self.person and "place" not in self.person and mark.value in ("left", "right", "middle"):
            self.person["place"] = mark.value
        elif not self.things and not self.person and self.place is None:
            self.place = mark
        else:
            self.refused.append(mark)

    def _person(self, mark: _Mark) -> None:
        self._refuse_pending()
        kind = "noun" if mark.kind == "person" else mark.kind
        if self.things or kind in self.person:
            self.refused.append(mark)
        else:
            self.person[kind] = mark.value
            self.person_marks.append(mark)

    def _second_background(self, mark: _Mark) -> None:
        both = {self.background, mark.value}
        if both == {"sunset", "mountains"}:
            self.background = "mountain sunset"
        elif not (both <= {"sunset", "mountains", "mountain sunset"} or both == {"street", "night city"}):
            self.refused.append(mark)

    def _refuse_pending(self) -> None:
        self.refused += self.pending
        self.pending = []

    def asked(self) -> Asked:
        """What was asked for, once every mark is taken."""
        self._refuse_pending()
        if not self.things and self.place and self.place.value not in ("left", "right", "middle"):
            self.refused.append(self.place)
            self.place = None
        if not self.person and not self.things and self.portrait:
            self.person["noun"] = ""
        if self.person.keys() & {"noun", "outfit", "hair"}:
            place = self.person.get("place", self.place.value if self.place else None)
            person = AskedPerson(
                noun=self.person.get("noun") or None,
                hair=self.person.get("hair"),
                skin=self.person.get("skin"),
                glasses=True if "glasses" in self.person else None,
                outfit=self.person.get("outfit"),
                pose=self.person.get("pose"),
                place=place,
            )
            return Asked((), None, person, self.background, self.style)
        self.refused += self.person_marks
        things, relation = self._pair() if len(self.things) == 2 else (tuple(self.things), None)
        return Asked(things, relation, None, self.background, self.style)

    def _pair(self) -> tuple[tuple[AskedThing, ...], str | None]:
        first, second = self.things
        if self.relation is None:
            return (first, second), None
        relation, swapped = _RELATIONS[self.relation.value]
        if relation == "with":
            relation = "wearing" if second.name in HATS and first.name in HAT_WEARERS else None
        elif relation == "wearing" and second.name not in HATS:
            self.refused.append(self.relation)
            relation = None
        elif self.relation.value == "and" and (first.place or second.place):
            relation = None  # "a cat on the left and a dog on the right": the places say it all
        return ((second, first) if swapped and relation else (first, second)), relation

    def unknown(self) -> list[str]:
        """The words that nothing was made of, in the prompt's order, each once."""
        marks = sorted(self.refused, key=lambda mark: mark.at)
        return list(dict.fromkeys(word for mark in marks for word in mark.words if word not in _GLUE))


# --- a scene that fits --------------------------------------------------------------------------------------------------


def _scene(said: Asked, seed: int) -> Scene:
    """A scene in which everything said is true; `seed` decides the rest."""
    rng = np.random.default_rng(seed)
    empty = not said.things and said.person is None
    background = said.background or ("meadow" if empty else "white")
    style = said.style or "3d"
    accidents = int(rng.integers(2**31))
    if said.person is not None:
        return Scene(background, style, person=_fitting_person(said.person, rng), seed=accidents)
    things = tuple(_fitting_thing(thing, style, rng) for thing in said.things)
    if len(things) < 2:
        return Scene(background, style, things, seed=accidents)
    relation = said.relation or _relation_of_places(said.things)
    return Scene(background, style, _arranged(rng, things, said), relation, seed=accidents)


def _fitting_thing(asked: AskedThing, style: str, rng: np.random.Generator) -> Thing:
    thing = sample_thing(rng, asked.name, style, asked.place, asked.size or "")
    # ink has no colours, and a sprite that is yellow by nature needs no paint
    painted = asked.color if style != "ink" and asked.color != NATURAL_COLORS.get(asked.name) else None
    return replace(thing, color=painted)


def _relation_of_places(things: tuple[AskedThing, ...]) -> str:
    match tuple(thing.place for thing in things):
        case ("left", _) | (_, "right"):
            return "to the left of"
        case ("right", _) | (_, "left"):
            return "to the right of"
        case ("top", _) | (_, "bottom"):
            return "above"
    return "next to"


def _arranged(rng: np.random.Generator, things: tuple[Thing, ...], said: Asked) -> tuple[Thing, Thing]:
    """Two objects in their relation, made smaller or larger where the prompt says so."""
    side_by_side = said.relation in (None, "next to")
    relation = _relation_of_places(said.things) if side_by_side else str(said.relation)
    first, second = arrange_pair(rng, things[0], things[1], relation)
    if said.relation is None:  # the places alone were said
        first, second = (
            replace(thing, x=placed.x, y=placed.y, place=placed.place) if placed.place else thing
            for thing, placed in zip((first, second), things, strict=True)
        )
    # a hat grows from its foot and its wearer from the top of the head, so that they keep touching
    fixed = (0.5, -0.5) if relation == "wearing" else (0.0, 0.0)
    first, second = (
        _resized(thing, want.size, end)
        for thing, want, end in zip((first, second), said.things, fixed, strict=True)
    )
    return first, second


def _resized(thing: Thing, size: str | None, end: float) -> Thing:
    """The thing in another size; its centre is moved so that the point `end` sides below it stays where it is."""
    if size is None:
        return thing
    side = thing.size * {"small": 0.75, "large": 1.2}[size]
    return replace(thing, y=thing.y + end * (thing.size - side), size=side, size_word=size)


def _fitting_person(asked: AskedPerson, rng: np.random.Generator) -> Person:
    identity = sample_identity(rng)
    fitting = [hair for hair, (_, noun, _) in HAIR.items() if asked.noun in (None, noun.split()[-1])]
    person = sample_person(
        rng,
        Identity(
            hair=asked.hair or str(rng.choice(fitting)),
            skin=asked.skin or identity.skin,
            glasses=identity.glasses if asked.glasses is None else asked.glasses,
        ),
        asked.place,
    )
    return replace(person, outfit=asked.outfit or person.outfit, pose=asked.pose or person.pose)
