"""Prompts as tensors (lesson, section 5.3): weights, blends, conjunctions and long prompts, by compel.

Every function here returns the keyword arguments that stand in for the prompts, for SD 1.5 and SDXL alike:

    pipeline(**weighted(pipeline, "a (red)1.5 ball++", "blurry"), num_inference_steps=25)

Positive and negative embeddings always have the same length, and SDXL's pooled vectors are always there.
Without a negative prompt they are what the pipeline itself would take: the encoded empty prompt (SD 1.5), or
all zeros (SDXL, `force_zeros_for_empty_prompt`).
"""

# compel's and transformers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lessonlib.errors import LessonError

if TYPE_CHECKING:
    from torch import Tensor

Arguments = dict[str, "Tensor"]


def weighted(pipeline: Any, prompt: str, negative_prompt: str | None = None) -> Arguments:
    """The prompt with compel's weights: `word++` 1.21, `word--` 0.81, `(two words)1.5`; of any length.

    A weight below 1 changes the other tokens too: compel also blends in the prompt with the word hidden.

    Raises:
        LessonError: A1111's syntax, or one of compel's operators.
    """
    return _encode(pipeline, prompt, [prompt], [1.0], negative_prompt)


def blended(
    pipeline: Any,
    prompts: Sequence[str],
    weights: Sequence[float] | None = None,
    negative_prompt: str | None = None,
) -> Arguments:
    """Halfway between prompts: the weighted mean of their embeddings, and of their pooled vectors.

    Raises:
        LessonError: as `weighted`; not one weight a prompt; weights that sum to 0.
    """
    weights = _one_each(prompts, weights)
    if sum(weights) == 0:
        raise LessonError(f"The blend weights {weights} sum to 0, so they have no mean: change one of them.")
    return _encode(pipeline, _operator(prompts, "blend", weights), prompts, weights, negative_prompt)


def joined(
    pipeline: Any,
    prompts: Sequence[str],
    weights: Sequence[float] | None = None,
    negative_prompt: str | None = None,
) -> Arguments:
    """Prompts one after another, each encoded by itself, so that the picture may attend to any of them.

    Raises:
        LessonError: as `blended`.
    """
    weights = _one_each(prompts, weights)
    if sum(weights) == 0:
        raise LessonError(f"The weights {weights} sum to 0: change one of them.")
    return _encode(pipeline, _operator(prompts, "and", weights), prompts, weights, negative_prompt)


def cut_off(pipeline: Any, prompt: str) -> str:
    """The end of a plain prompt that `pipeline(prompt)` would not read: CLIP has room for 75 tokens."""
    tokenizer = pipeline.tokenizer
    ids = tokenizer(prompt, add_special_tokens=False, truncation=False, verbose=False).input_ids
    return tokenizer.decode(ids[tokenizer.model_max_length - 2 :]).strip()


def check_syntax(prompt: str) -> None:
    """
    Raises:
        LessonError: the prompt holds weights in A1111's syntax, which compel would read as plain words, or an
            operator of compel (`.swap()` would be ignored, `.blend()` and `.and()` are functions here).
    """
    from lessonlib.scratch.prompts import a1111_marks, parse_compel

    if marks := a1111_marks(prompt):
        raise LessonError(
            f"{marks[0]} is A1111's syntax; compel would read it as plain words, every weight 1: "
            f"write {_in_compel(marks[0])}."
        )
    parse_compel(prompt)


def _in_compel(mark: str) -> str:
    """`(x:1.5)` is `(x)1.5`, `((x))` is `(x)++`, `[x]` is `(x)-`."""
    if weight := re.fullmatch(r"\(([^:]*):\s*([\d.]+)\s*\)", mark):
        return f"({weight[1]}){weight[2]}"
    words = mark.strip("()[]")
    return f"({words})-" if mark.startswith("[") else f"({words})++"


def _encode(
    pipeline: Any, text: str, prompts: Sequence[str], weights: Sequence[float], negative_prompt: str | None
) -> Arguments:
    """`text` in compel's grammar; SDXL's pooled vector is the mean of those of the plain `prompts`.

    compel's own pooled vector reads the text with its signs and operators as words.
    """
    for prompt in (*prompts, negative_prompt or ""):
        check_syntax(prompt)
    import torch
    from compel import CompelForSD, CompelForSDXL

    is_sdxl = getattr(pipeline, "text_encoder_2", None) is not None
    kind = CompelForSDXL if is_sdxl else CompelForSD
    found = kind(pipeline, device=pipeline._execution_device)(text, negative_prompt=negative_prompt or "")
    arguments = {"prompt_embeds": found.embeds, "negative_prompt_embeds": found.negative_embeds}
    if is_sdxl:
        pooled = torch.stack([w * _pooled(pipeline, p) for w, p in zip(weights, prompts, strict=True)])
        arguments["pooled_prompt_embeds"] = pooled.sum(dim=0) / sum(weights)
        arguments["negative_pooled_prompt_embeds"] = _pooled(pipeline, negative_prompt or "")
        if negative_prompt is None and pipeline.config.force_zeros_for_empty_prompt:
            for name in ("negative_prompt_embeds", "negative_pooled_prompt_embeds"):
                arguments[name] = torch.zeros_like(arguments[name])
    return arguments


def _pooled(pipeline: Any, prompt: str) -> Tensor:
    """SDXL's pooled vector of the prompt's words, without the signs that weigh them."""
    import torch

    from lessonlib.scratch.prompts import parse_compel

    fragments = parse_compel(prompt)
    plain = " ".join(part.text for part in fragments) if len(fragments) > 1 else fragments[0].text
    with torch.no_grad():
        return pipeline.encode_prompt(plain, do_classifier_free_guidance=False)[2]


def _one_each(prompts: Sequence[str], weights: Sequence[float] | None) -> list[float]:
    weights = [1.0] * len(prompts) if weights is None else list(weights)
    if isinstance(prompts, str) or not prompts or len(prompts) != len(weights):
        raise LessonError(
            f"There are {1 if isinstance(prompts, str) else len(prompts)} prompts and {len(weights)} weights: "
            "give a list of prompts and one weight for each."
        )
    return weights


def _operator(prompts: Sequence[str], name: str, weights: Sequence[float]) -> str:
    """`("a", "b").blend(1, 0.5)`; compel asks for double quotes."""
    quoted = ", ".join('"' + re.sub(r'(?<!\\)"', r"\"", prompt) + '"' for prompt in prompts)
    return f"({quoted}).{name}({', '.join(f'{weight:g}' for weight in weights)})"
