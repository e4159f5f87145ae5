"""Prompt weighting: two grammars that look alike and are not, and what each does with the weights.

|                  | compel                                | A1111 (the web UI; also sd_embed)        |
|------------------|---------------------------------------|------------------------------------------|
| stronger         | `word+` `(two words)++`, 1.1 a plus   | `(two words)`, 1.1 a pair of parentheses |
| weaker           | `word-` `(two words)--`, 0.9 a minus  | `[two words]`, 1/1.1 a pair of brackets  |
| by number        | `(two words)1.5`                      | `(two words:1.5)`                        |
| parentheses only | group, weigh nothing                  | weigh 1.1                                |
| applied          | pulled away from the empty prompt     | multiplied, then the mean is restored    |

One in the other's grammar is no error: the signs become words, and the weights stay 1.

Sources: compel 2.5's documentation ("Syntax Features"); AUTOMATIC1111's stable-diffusion-webui,
"Attention/emphasis".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lessonlib.errors import LessonError

# (input_ids, attention_mask or None) -> the states that the UNet attends to
Encode = Callable[[Tensor, Tensor | None], Tensor]


@dataclass(frozen=True)
class Fragment:
    """A piece of a prompt, and how much it shall count (1 = as it is)."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class PromptTokenizer:
    """What is needed of a tokenizer: `tokenize` gives the ids of a text without the begin and end marks."""

    tokenize: Callable[[str], list[int]]
    bos_token_id: int
    eos_token_id: int
    pad_token_id: int
    model_max_length: int = 77


@dataclass(frozen=True)
class WeightedTokens:
    """A prompt ready for the encoder: `[bos, tokens, eos, padding]`, a weight a token, and its fragments."""

    input_ids: Int[Tensor, "1 tokens"]
    weights: Float[Tensor, "1 tokens"]
    spans: tuple[tuple[float, int, int], ...]  # (weight, first token, one past the last)


# -------- compel


def parse_compel(prompt: str) -> list[Fragment]:
    """Split a prompt by compel's weighting grammar.

    Weights of nested groups multiply; equal neighbours are one fragment. What is not grammar is text,
    whatever it looks like. `\\(`, `\\)` and `\\"` are plain characters.

    Raises:
        LessonError: the prompt holds one of compel's operators (`.blend()`, `.and()`, `.swap()`, `.attend()`,
        `withLora()`), or nests hundreds of groups.
    """
    operator = _COMPEL_OPERATOR.search(prompt)
    if operator:
        raise LessonError(
            f"{operator[0]}...) is an operator of compel, not a weight: use lessonlib.scratch.blending for "
            "blends and conjunctions, or the compel library."
        )
    try:
        return _fused(_CompelParser(re.sub(r",(\S)", r", \1", prompt)).prompt())
    except RecursionError:
        raise LessonError("The prompt nests hundreds of parentheses: take most of them out.") from None


def compel_embeds(
    fragments: Sequence[Fragment], tokenizer: PromptTokenizer, encode: Encode
) -> Float[Tensor, "1 tokens width"]:
    """Encode weighted fragments as compel does.

    Each token is pulled away from what the empty prompt has in its place. A fragment below 1 is, besides,
    faded out of the whole sentence: the prompt is encoded once more with that fragment hidden from attention,
    and blended in. So the *other* tokens change too.
    """
    tokens = weighted_tokens(fragments, tokenizer)
    empty = encode(weighted_tokens([], tokenizer).input_ids, None)
    visible = torch.ones_like(tokens.input_ids)

    def weighed(mask: Tensor) -> Tensor:
        z = encode(tokens.input_ids, mask)
        # z' = z_empty + w (z - z_empty)
        return torch.lerp(empty, z, tokens.weights[..., None].to(z))

    blend, total = weighed(visible), 1.0
    for weight, start, stop in tokens.spans:
        if weight < 1:
            without = visible.clone()
            without[:, start:stop] = 0
            # lambda = tan((1 - w) pi / 2): 0 at w = 1, 1 at w = 1/2, without bound as w falls to 0
            strength = math.tan((1 - max(weight, 1e-5)) * math.pi / 2)
            blend = blend + strength * weighed(without)
            total += strength
    # z'' = (z' + sum_i lambda_i z'_without_i) / (1 + sum_i lambda_i)
    return blend / total


_COMPEL_OPERATOR = re.compile(r"\.(?:blend|and|add|swap|attend)\(|(?:with|use)Lora\(")
_SPACE = re.compile(r"\s*")
_SYNTAX = r'()",.+\-='
# a run of plain or escaped characters; + and - belong to a word only when more of it follows
_WORD = re.compile(rf"(?:\\[{_SYNTAX}]|[-+](?![\s{_SYNTAX}]|\Z)|[^\s{_SYNTAX}])+")
_FREE = re.compile(r"\S+")
_PUNCTUATION = re.compile(r"[,.]")
_SIGNS = re.compile(r"\++|-+")
_SIGNS_OR_NUMBER = re.compile(r"\++|-+|\d+\.\d*|\.\d+|\d+")
_QUOTED = re.compile(r'"((?:\\"|[^"\n\r])*)"')


class _CompelParser:
    """Recursive descent. A group that does not parse is not an error: its first word becomes text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def prompt(self) -> list[Fragment]:
        fragments = []
        while self._skip_space() < len(self.text):
            found = self._word_with_signs() or self._group()
            if found is None:
                free = _FREE.match(self.text, self.at)
                assert free is not None
                self.at = free.end()
                found = [Fragment(_plain(free[0]))]
            fragments += found
        return fragments

    def _skip_space(self) -> int:
        space = _SPACE.match(self.text, self.at)
        assert space is not None
        self.at = space.end()
        return self.at

    def _word_with_signs(self) -> list[Fragment] | None:
        """`word++`"""
        word = _WORD.match(self.text, self.at)
        signs = word and _SIGNS.match(self.text, word.end())
        if not word or not signs:
            return None
        self.at = signs.end()
        return [Fragment(_plain(word[0]), _weight(signs[0]))]

    def _group(self) -> list[Fragment] | None:
        """`(...)` or `"..."`, and a weight if one follows at once; None if that does not parse."""
        start = self.at
        inner = self._parenthesised() if self.text.startswith("(", start) else self._quoted()
        if inner is None:
            self.at = start
            return None
        weight = _SIGNS_OR_NUMBER.match(self.text, self.at)
        if weight is None:
            return inner
        self.at = weight.end()
        return [Fragment(part.text, _weight(weight[0]) * part.weight) for part in inner]

    def _parenthesised(self) -> list[Fragment] | None:
        self.at += 1
        inner = self._inside()
        self._skip_space()
        if not self.text.startswith(")", self.at):
            return None
        self.at += 1
        return inner

    def _quoted(self) -> list[Fragment] | None:
        quoted = _QUOTED.match(self.text, self.at)
        if quoted is None:
            return None
        self.at = quoted.end()
        content = _CompelParser(quoted[1])
        inner = content._inside()
        if not quoted[1].strip():
            inner = [Fragment("")]  # `""0.7` parts its neighbours, as `()0.7` does not
        return inner if content._skip_space() == len(quoted[1]) else None

    def _inside(self) -> list[Fragment]:
        """Words, punctuation and groups, as far as they go."""
        fragments = []
        while True:
            self._skip_space()
            found = self._word_with_signs() or self._group()
            if found is None:
                word = _WORD.match(self.text, self.at) or _PUNCTUATION.match(self.text, self.at)
                if word is None:
                    return fragments
                self.at = word.end()
                found = [Fragment(_plain(word[0]))]
            fragments += found


def _weight(written: str) -> float:
    """`++` is 1.1^2, `--` is 0.9^2, anything else the number itself."""
    if written[0] in "+-":
        return (1.1 if written[0] == "+" else 0.9) ** len(written)
    return float(written)


def _plain(text: str) -> str:
    return re.sub(r'\\([()"])', r"\1", text)


def _fused(fragments: Sequence[Fragment]) -> list[Fragment]:
    """Neighbours of equal weight as one; an empty prompt is one empty fragment."""
    fused: list[Fragment] = []
    for fragment in fragments:
        if fused and fused[-1].weight == fragment.weight:
            fused[-1] = Fragment(f"{fused[-1].text} {fragment.text}", fragment.weight)
        else:
            fused.append(fragment)
    return fused or [Fragment("")]


# -------- A1111


def parse_a1111(prompt: str) -> list[Fragment]:
    """Split a prompt by A1111's weighting grammar; spaces are kept.

    A bracket that is never closed weighs to the end; one never opened is text. A backslash makes a bracket
    plain.
    """
    pieces: list[list] = []  # [text, weight]
    open_at: dict[str, list[int]] = {"(": [], "[": []}

    def multiply(start: int, factor: float) -> None:
        for piece in pieces[start:]:
            piece[1] *= factor

    for match in _A1111_TOKEN.finditer(prompt):
        token, number = match[0], match["number"]
        if token[0] == "\\" and len(token) > 1:
            pieces.append([token[1], 1.0])
        elif token in open_at:
            open_at[token].append(len(pieces))
        elif number is not None and open_at["("]:
            multiply(open_at["("].pop(), float(number))
        elif token == ")" and open_at["("]:
            multiply(open_at["("].pop(), 1.1)
        elif token == "]" and open_at["["]:
            multiply(open_at["["].pop(), 1 / 1.1)
        else:
            pieces.append([token, 1.0])
    for start in open_at["("]:
        multiply(start, 1.1)
    for start in open_at["["]:
        multiply(start, 1 / 1.1)
    fused: list[list] = []
    for text, weight in pieces:
        if fused and fused[-1][1] == weight:
            fused[-1][0] += text
        else:
            fused.append([text, weight])
    return [Fragment(text, weight) for text, weight in fused] or [Fragment("")]


def a1111_embeds(
    fragments: Sequence[Fragment], tokenizer: PromptTokenizer, encode: Encode
) -> Float[Tensor, "1 tokens width"]:
    """Encode weighted fragments as A1111 does: multiply each token's states, then restore their mean.

    One text encoding whatever the weights; a weighted token drags every other one along through the mean.
    """
    tokens = weighted_tokens(fragments, tokenizer)
    z = encode(tokens.input_ids, None)
    # z' = w z
    weighed = z * tokens.weights[..., None].to(z)
    # z'' = z' mean(z) / mean(z')
    return weighed * (z.mean() / weighed.mean())


def a1111_marks(prompt: str) -> list[str]:
    """The pieces that A1111 would weigh and compel reads as plain words: `(x:1.5)`, `((x))`, `[x]`."""
    return [match[0] for match in _A1111_MARK.finditer(prompt)]


_A1111_TOKEN = re.compile(
    r"\\[()\[\]\\]|\\|\(|\[|:\s*(?P<number>[+-]?(?:\d+\.?\d*|\.\d+))\s*\)|\)|\]|[^\\()\[\]:]+|:"
)
_A1111_MARK = re.compile(r"(?<!\\)(?:\([^()]*:\s*[+-]?[\d.]+\s*\)|\(\([^()]*\)\)(?![-+\d])|\[[^\[\]]*\])")


# -------- both


def weighted_tokens(fragments: Sequence[Fragment], tokenizer: PromptTokenizer) -> WeightedTokens:
    """Tokenize each fragment, cut to the encoder's length, frame with begin, end and padding (weight 1)."""
    room = tokenizer.model_max_length - 2
    ids: list[int] = []
    weights: list[float] = []
    spans: list[tuple[float, int, int]] = []
    for fragment in fragments:
        found = tokenizer.tokenize(fragment.text)[: room - len(ids)]
        if found:
            spans.append((fragment.weight, len(ids) + 1, len(ids) + 1 + len(found)))
        ids += found
        weights += [fragment.weight] * len(found)
    padding = room - len(ids)
    return WeightedTokens(
        torch.tensor(
            [[tokenizer.bos_token_id, *ids, tokenizer.eos_token_id, *[tokenizer.pad_token_id] * padding]]
        ),
        torch.tensor([[1.0, *weights, 1.0, *[1.0] * padding]], dtype=torch.float64),
        tuple(spans),
    )
