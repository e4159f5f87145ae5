"""How much of what was asked is in the pictures: yes or no for each question, and shares with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lessonlib.errors import LessonError
from lessonlib.judge.intervals import Interval, wilson
from lessonlib.judge.loading import Judge, load_judge
from lessonlib.judge.places import holds, is_at, size_word
from lessonlib.judge.verdict import Found, Verdict
from lessonlib.world.parse import Asked, AskedPerson, AskedThing, Parsed, parse
from lessonlib.world.scene import Scene
from lessonlib.world.vocabulary import HAIR, PAINTABLE

Answers = dict[str, bool]  # question -> whether what was asked is there; questions nobody asked are absent


@dataclass(frozen=True)
class Score:
    """The answers for every picture, and the verdicts they come from."""

    answers: tuple[Answers, ...]
    verdicts: tuple[Verdict, ...]

    def rates(self) -> dict[str, Interval]:
        """Question -> the share of yes among the pictures it was asked of, with its 95 % interval."""
        questions = dict.fromkeys(question for answers in self.answers for question in answers)
        rates = {}
        for question in questions:
            asked = [answers[question] for answers in self.answers if question in answers]
            rates[question] = wilson(sum(asked), len(asked))
        return rates

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rates as rows of the zoo's report."""
        return [
            {"metric": question, "split": split, **rate._asdict()} for question, rate in self.rates().items()
        ]


def score(images: Any, asked: Sequence[str | Scene | Asked | Parsed], judge: Judge | None = None) -> Score:
    """Judge pictures against what each was asked to show.

    Args:
        images: what `Judge.judge` takes, or verdicts.
        asked: for each picture its prompt, or the scene it should show; only what is said there counts.

    Returns:
        For one asked object the questions are "object", "place", "size" and "color"; for two "both objects",
        "relation" and the same for each; for people "person", "hair", "noun" (man or woman), "skin",
        "glasses", "outfit", "pose", "identity" (all that was said of hair, skin and glasses) and "place";
        always "background" and "style". An object counts if it is among the surest as many as were asked for,
        and believed in; a place counts only for an object that was found.

    Raises:
        LessonError: not one entry of `asked` for each picture, or what `Judge.judge` raises.
    """
    if isinstance(images, list | tuple) and images and all(isinstance(image, Verdict) for image in images):
        verdicts = list(images)
    else:
        verdicts = (judge or load_judge()).judge(images)
    if len(verdicts) != len(asked):
        raise LessonError(
            f"{len(verdicts)} pictures cannot be scored against {len(asked)} prompts or scenes."
        )
    wishes = [what_is_asked(wish) for wish in asked]
    answers = tuple(compare(verdict, wish) for verdict, wish in zip(verdicts, wishes, strict=True))
    return Score(answers, tuple(verdicts))


def what_is_asked(wish: str | Scene | Asked | Parsed) -> Asked:
    """A prompt's claims; a scene claims everything that its plain caption says."""
    if isinstance(wish, str):
        return parse(wish).said
    if isinstance(wish, Parsed):
        return wish.said
    if isinstance(wish, Asked):
        return wish
    person = wish.person
    return Asked(
        things=tuple(
            AskedThing(thing.name, thing.color, thing.size_word or None, thing.place) for thing in wish.things
        ),
        relation=wish.relation,
        person=person
        and AskedPerson(
            hair=person.identity.hair,
            skin=person.identity.skin,
            glasses=person.identity.glasses,
            outfit=person.outfit,
            pose=person.pose,
            place=person.place,
        ),
        background=wish.background,
        style=wish.style,
    )


def compare(verdict: Verdict, asked: Asked) -> Answers:
    """The answers for one picture."""
    answers: Answers = {}
    if asked.things:
        answers |= _things(verdict, asked)
    if asked.person is not None:
        answers |= _person(verdict, asked.person)
    if asked.background is not None:
        answers["background"] = verdict.background == asked.background
    if asked.style is not None:
        answers["style"] = verdict.style == asked.style
    return answers


def _things(verdict: Verdict, asked: Asked) -> Answers:
    surest = verdict.surest(len(asked.things))
    found = [verdict.find(thing.name) if thing.name in surest else None for thing in asked.things]
    answers: Answers = {"object" if len(found) == 1 else "both objects": all(found)}
    places = [
        _is_at(verdict, one, thing.place)
        for one, thing in zip(found, asked.things, strict=True)
        if thing.place
    ]
    sizes = [
        one is not None and size_word(one.box, verdict.width, verdict.height) == thing.size
        for one, thing in zip(found, asked.things, strict=True)
        if thing.size and len(found) == 1  # beside another, "large" has no one meaning
    ]
    colors = [
        one is not None and one.color == thing.color
        for one, thing in zip(found, asked.things, strict=True)
        if thing.color and thing.name in PAINTABLE and asked.style != "ink"  # ink has no colours
    ]
    answers |= {
        name: all(said) for name, said in (("place", places), ("size", sizes), ("color", colors)) if said
    }
    if asked.relation is not None:
        first, second = (*found, None)[:2]
        answers["relation"] = (
            first is not None and second is not None and holds(asked.relation, first.box, second.box)
        )
    return answers


def _is_at(verdict: Verdict, found: Found | None, place: str) -> bool:
    return found is not None and is_at(place, found.box, verdict.width, verdict.height)


def _person(verdict: Verdict, asked: AskedPerson) -> Answers:
    read = verdict.person
    answers: Answers = {"person": read is not None}
    if asked.noun is not None:
        answers["noun"] = read is not None and HAIR[read.hair][1].split()[-1] == asked.noun
    for attribute in ("hair", "skin", "glasses", "outfit", "pose"):
        wanted = getattr(asked, attribute)
        if wanted is not None:
            answers[attribute] = read is not None and getattr(read, attribute) == wanted
    identity = [answers[attribute] for attribute in ("hair", "skin", "glasses") if attribute in answers]
    if identity:
        answers["identity"] = all(identity)
    if asked.place is not None:
        answers["place"] = _is_at(verdict, verdict.person_found, asked.place)
    return answers
