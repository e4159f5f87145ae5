"""Prompt weights: the grammar of the A1111 web interface, read word by word."""

from __future__ import annotations

import re
from typing import Any

from lessonlib.grading.draw import integer, pick, uniform
from lessonlib.grading.task import Misconception, Task

TEXT = r"""
Two grammars for weighted prompts look alike and are not. The course weighs with compel (`(red)1.5`, `ball++`);
most prompts on the web are written for the A1111 interface:

| written | weight |
|---|---|
| `(words)` | times 1.1 |
| `(words:1.4)` | times 1.4 (the 1.1 of these parentheses is not counted) |
| `[words]` | divided by 1.1 |

Brackets nest, and weights multiply: a word's weight is the product over everything that encloses it,

$$w = 1.1^{\,\#(\,)} \cdot 1.1^{-\#[\,]} \cdot \prod_i \text{number}_i .$$

Read such a prompt: return a list of `(word, weight)` pairs in order. Words are separated by spaces; every bracket
is closed; `:` appears only in `(words:number)`. Brackets stand directly at their words, as in `((red) ball:1.3)`.

| argument | |
|---|---|
| `prompt` | a str |
| returned | a list of pairs `(str, float)` |
""".strip()

WORDS = ["a", "red", "fox", "on", "the", "snow", "at", "dawn", "soft", "light", "old", "film", "two", "birds"]


def inputs(seed: int) -> dict[str, Any]:
    """Every construct once, in any order: alone, nested, a number, brackets, a number around a number.

    Half of the prompts begin with a number's bracket: there, what is before a bracket is nothing.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    words = iter([WORDS[i] for i in torch.randperm(len(WORDS), generator=generator).tolist()])
    number = [f"{uniform(generator, 1.3, 1.9, 1)}", f"{uniform(generator, 0.4, 0.8, 1)}"]

    def some() -> str:
        return " ".join(next(words) for _ in range(integer(generator, 1, 2)))

    pieces = [
        next(words),
        f"({some()})",
        f"(({next(words)}) {next(words)}:{number[0]})",
        f"[{next(words)}]",
        f"(({next(words)}))",
        f"({next(words)}:{number[1]})",
        pick(generator, ["[[{}] {}]", "([{}] {})"]).format(next(words), next(words)),
    ]
    order = torch.randperm(len(pieces), generator=generator).tolist()
    if integer(generator, 0, 1):
        order.sort(key=lambda index: index != 5)
    return {"prompt": " ".join(pieces[index] for index in order)}


def reference(prompt: str) -> list[tuple[str, float]]:
    from lessonlib.scratch.prompts import parse_a1111

    return [(word, part.weight) for part in parse_a1111(prompt) for word in part.text.split()]


def magnitude(prompt: str) -> list[tuple[str, float]]:
    return reference(prompt)


def _read(prompt: str, up: float = 1.1, down: float = 1 / 1.1, **otherwise: bool) -> list[tuple[str, float]]:
    """The grammar, with a mistake in it.

    both: parentheses with a number weigh 1.1 besides; added: weights add; innermost: only the last bracket counts;
    ignored: numbers are not read.
    """
    return [(word, weight) for word, weight in _group(iter(_tokens(prompt)), up, down, otherwise)[0]]


def _tokens(prompt: str) -> list[str]:
    return re.findall(r"[()\[\]]|:[\d.]+|[^()\[\]:\s]+", prompt)


def _group(tokens: Any, up: float, down: float, otherwise: dict[str, bool]) -> tuple[list, float]:
    """(words with weights, the group's own factor), up to the closing bracket."""
    inside: list[tuple[str, float]] = []
    number = 0.0
    for token in tokens:
        if token in "([":
            words, factor = _group(tokens, up, down, otherwise)
            inside += [(word, _joined(weight, factor, otherwise)) for word, weight in words]
        elif token == "]":
            return inside, down
        elif token == ")":
            if number and not otherwise.get("ignored"):
                return inside, number * (up if otherwise.get("both") else 1)
            return inside, up
        elif token[0] == ":":
            number = float(token[1:])
        else:
            inside.append((token, 1.0))
    return inside, 1.0


def _joined(weight: float, factor: float, otherwise: dict[str, bool]) -> float:
    if otherwise.get("added"):
        return weight + factor - 1
    if otherwise.get("innermost") and weight != 1:
        return weight
    return weight * factor


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _all_one(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, 1.0, 1.0, ignored=True)


def _parentheses_group_only(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, up=1.0)


def _both_factors(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, both=True)


def _nine_tenths(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, down=0.9)


def _added(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, added=True)


def _innermost(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, innermost=True)


def _numbers_ignored(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt, ignored=True)


# --- Right answers in other styles --------------------------------------------------------------------------


def _stack(prompt: str) -> list[tuple[str, float]]:
    found: list[list] = []
    open_at: list[int] = []
    for token in re.findall(r":[\d.]+\)|[()\[\]]|[^()\[\]:\s]+", prompt):
        if token in "([":
            open_at.append(len(found))
            continue
        if token[-1] not in ")]":
            found.append([token, 1.0])
            continue
        factor = {")": 1.1, "]": 1 / 1.1}.get(token) or float(token[1:-1])
        for pair in found[open_at.pop() :]:
            pair[1] *= factor
    return [(word, weight) for word, weight in found]


def _recursive(prompt: str) -> list[tuple[str, float]]:
    return _read(prompt)


def _characters(prompt: str) -> list[tuple[str, float]]:
    """Look ahead for the bracket that closes each one, then walk with the product in hand."""
    closes, waiting = {}, []
    for place, sign in enumerate(prompt):
        if sign in "([":
            waiting.append(place)
        elif sign in ")]":
            closes[waiting.pop()] = place
    pairs, factors, word, place = [], [1.0], "", 0
    for place, sign in enumerate(prompt + " "):
        if sign in "()[]: " and word:
            if prompt[place - len(word) - 1] != ":" or not word[0].isdigit():
                pairs.append((word, factors[-1]))
            word = ""
        if sign in "([":
            number = re.search(r":([\d.]+)$", prompt[place + 1 : closes[place]])
            own = 1 / 1.1 if sign == "[" else float(number[1]) if number else 1.1
            factors.append(factors[-1] * own)
        elif sign in ")]":
            factors.pop()
        elif sign not in " :":
            word += sign
    return pairs


TASK = Task(
    id="weight_grammar",
    title="Reading a weighted prompt",
    notebook="05_editing_and_prompts",
    order=5,
    text=TEXT,
    points=14,
    minutes=25,
    difficulty="hard",
    inputs=inputs,
    cases=8,  # what a prompt begins and ends with
    reference=reference,
    magnitude=magnitude,
    operations=8,  # three factors at most, 1.1 and its reciprocal rounded themselves
    hints=(
        "Go through the prompt piece by piece: words, opening brackets, closing brackets, numbers. "
        "`re.findall` cuts it up.",
        "When a bracket opens, remember how many words there are so far; when it closes, every word since then is "
        "multiplied by the bracket's factor.",
        r"`re.findall(r':[\d.]+\)|[()\[\]]|[^()\[\]:\s]+', prompt)` gives the pieces, with `:1.4)` as one of them. "
        "Keep the remembered counts in a list and `pop` the last.",
    ),
    misconceptions=(
        Misconception(
            "all weights 1",
            "Every weight is 1. That is what compel makes of such a prompt, without a word of warning: it does not "
            "know this grammar.",
            _all_one,
        ),
        Misconception(
            "parentheses only group",
            "Parentheses without a number weigh nothing in your answer. That is compel's grammar; in this one they "
            "weigh 1.1.",
            _parentheses_group_only,
        ),
        Misconception(
            "number and 1.1",
            "Parentheses with a number weigh that number **instead** of 1.1, not besides.",
            _both_factors,
        ),
        Misconception(
            "nine tenths",
            "A square bracket divides by 1.1, which is 0.909. The 0.9 is compel's minus sign.",
            _nine_tenths,
        ),
        Misconception(
            "weights added",
            "You add up what nested brackets give. They multiply: `((x))` weighs 1.21.",
            _added,
        ),
        Misconception(
            "innermost bracket only",
            "Where brackets nest, yours counts the innermost alone. All that enclose a word count.",
            _innermost,
        ),
        Misconception(
            "numbers not read",
            "You take every pair of parentheses for 1.1. Read the number before the closing one.",
            _numbers_ignored,
        ),
    ),
    alternatives=(_stack, _recursive, _characters),
)
