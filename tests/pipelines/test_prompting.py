"""compel's tensors are those of lessonlib.scratch, and what compel would misread is refused first."""

import numpy as np
import pytest
import torch
from random_models import random_sd15
from random_variants import random_sdxl

from lessonlib.errors import LessonError
from lessonlib.pipelines import prompting
from lessonlib.scratch.blending import and_conjunction, linear_blend
from lessonlib.scratch.prompts import PromptTokenizer, compel_embeds, parse_compel

LONG = ", ".join(f"{n} red balls on the beach" for n in range(8))  # far above 75 letters, a token each


def randomised(pipeline):
    """With weights at their first values a tower hardly tells one prompt from another."""
    torch.manual_seed(0)
    for tower in (pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)):
        for parameter in [] if tower is None else tower.parameters():
            parameter.data.normal_(std=0.2)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def sd():
    return randomised(random_sd15())


@pytest.fixture(scope="module")
def sdxl():
    return randomised(random_sdxl())


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def from_scratch(pipeline):
    """Prompt in compel's grammar -> embeddings, by lessonlib.scratch around the pipeline's own tower."""
    tokenizer = pipeline.tokenizer
    words = PromptTokenizer(
        lambda text: tokenizer(text, add_special_tokens=False).input_ids,
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )

    def encode(ids, mask):
        return pipeline.text_encoder(ids, attention_mask=mask).last_hidden_state

    return lambda prompt: compel_embeds(parse_compel(prompt), words, encode)


def close(a, b):
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def picture(pipeline, **arguments):
    generator = torch.Generator().manual_seed(0)
    result = pipeline(num_inference_steps=1, height=64, width=64, generator=generator, **arguments)
    return np.asarray(result.images[0]).astype(int)


# -------- SD 1.5


@pytest.mark.parametrize("prompt", ["a red ball", "a red++ ball", "a (red)1.5 (ball)0.4, sunset--"])
def test_weights_are_those_from_scratch(sd, prompt):
    found = prompting.weighted(sd, prompt, "a (dog)0.5")
    close(found["prompt_embeds"], from_scratch(sd)(prompt))
    close(found["negative_prompt_embeds"], from_scratch(sd)("a (dog)0.5"))


def test_weights_of_one_are_the_pipelines_own_prompt(sd):
    arguments = prompting.weighted(sd, "a red ball")
    own, own_negative = sd.encode_prompt("a red ball", "cpu", 1, True)
    close(arguments["prompt_embeds"], own)
    close(arguments["negative_prompt_embeds"], own_negative)
    assert np.array_equal(picture(sd, **arguments), picture(sd, prompt="a red ball"))


def test_a_weight_changes_the_picture(sd):
    one, two = (picture(sd, **prompting.weighted(sd, p)) for p in ("a red ball", "a (red)1.9 ball"))
    assert not np.array_equal(one, two)


def test_blends_and_conjunctions_are_those_from_scratch(sd):
    scratch = from_scratch(sd)
    cat, dog, empty = scratch("a cat"), scratch("a dog++"), scratch("")
    half = prompting.blended(sd, ["a cat", "a dog++"])["prompt_embeds"]
    close(half, linear_blend([cat, dog], [0.5, 0.5]))
    close(half, (cat + dog) / 2)
    close(
        prompting.blended(sd, ["a cat", "a dog++"], [3, 1])["prompt_embeds"], linear_blend([cat, dog], [3, 1])
    )
    both = prompting.joined(sd, ["a cat", "a dog++"], [1, 0.5])
    close(both["prompt_embeds"], and_conjunction([cat, dog], [1.0, 0.5], empty))
    assert both["negative_prompt_embeds"].shape == both["prompt_embeds"].shape


def test_a_quote_in_a_prompt_stays_in_it(sd):
    found = prompting.blended(sd, ['a sign that says "open"', "a cat"])["prompt_embeds"]
    scratch = from_scratch(sd)
    parts = [scratch(r"a sign that says \"open\""), scratch("a cat")]
    close(found, linear_blend(parts, [0.5, 0.5]))


@pytest.mark.parametrize("negative_prompt", [None, "", "blurry"])
def test_long_prompts_have_a_negative_of_the_same_length(sd, negative_prompt):
    arguments = prompting.weighted(sd, LONG, negative_prompt)
    tokens = arguments["prompt_embeds"].shape[1]
    assert tokens > 77
    assert tokens % 77 == 0
    assert arguments["negative_prompt_embeds"].shape == arguments["prompt_embeds"].shape
    assert picture(sd, **arguments).shape == (64, 64, 3)


def test_what_the_pipeline_alone_would_not_read(sd):
    assert prompting.cut_off(sd, "a red ball") == ""
    end = prompting.cut_off(sd, LONG)
    assert LONG.replace(" ", "").endswith(end.replace(" ", ""))
    kept = LONG.replace(" ", "")[: -len(end.replace(" ", ""))]
    assert len(kept) == 75  # one letter is one token here


# -------- SDXL


def test_sdxl_gets_pooled_vectors_of_the_words_alone(sdxl):
    weighed = prompting.weighted(sdxl, "a (red)++ ball", "(a dog)1.3")
    embeds, negative, pooled, negative_pooled = sdxl.encode_prompt("a red ball", negative_prompt="a dog")
    close(weighed["pooled_prompt_embeds"], pooled)
    close(weighed["negative_pooled_prompt_embeds"], negative_pooled)
    assert (weighed["prompt_embeds"] - embeds).abs().max() > 1e-2
    plain = prompting.weighted(sdxl, "a red ball", "a dog")
    close(plain["prompt_embeds"], embeds)
    close(plain["negative_prompt_embeds"], negative)


def test_no_negative_prompt_is_zeros_in_sdxl_and_an_empty_one_is_not(sdxl):
    none, empty = (prompting.weighted(sdxl, "a red ball", n) for n in (None, ""))
    for name in ("negative_prompt_embeds", "negative_pooled_prompt_embeds"):
        assert none[name].abs().sum() == 0
        assert empty[name].abs().sum() > 0
    assert np.array_equal(picture(sdxl, **none), picture(sdxl, prompt="a red ball"))
    assert np.array_equal(picture(sdxl, **empty), picture(sdxl, prompt="a red ball", negative_prompt=""))


def test_sdxl_blends_the_pooled_vectors_too(sdxl):
    one, two = (prompting.weighted(sdxl, p)["pooled_prompt_embeds"] for p in ("a cat", "a dog"))
    found = prompting.blended(sdxl, ["a cat", "a dog"], [3, 1])
    close(found["pooled_prompt_embeds"], (3 * one + two) / 4)
    long = prompting.joined(sdxl, [LONG, "a dog"], negative_prompt="blurry")
    assert picture(sdxl, **long).shape == (64, 64, 3)


# -------- what would be misread


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (red:1.5) and (blue:0.5) sunset", r"\(red:1\.5\) is A1111.*write \(red\)1\.5\."),
        ("a ((red)) sunset", r"write \(red\)\+\+\."),
        ("a [red] sunset", r"write \(red\)-\."),
        ('("a", "b").blend(1, 1)', "operator of compel"),
        ("a cat.swap(dog)", "operator of compel"),
    ],
)
def test_other_syntax_is_refused_before_any_model_runs(sd, monkeypatch, prompt, words):
    monkeypatch.setattr(sd.text_encoder, "forward", lambda *_, **__: pytest.fail("a model ran"))
    for call in (
        lambda: prompting.weighted(sd, prompt),
        lambda: prompting.weighted(sd, "a cat", prompt),
        lambda: prompting.blended(sd, ["a cat", prompt]),
        lambda: prompting.joined(sd, [prompt, "a cat"]),
    ):
        with pytest.raises(LessonError, match=words):
            call()


@pytest.mark.parametrize(
    ("prompts", "weights", "words"),
    [
        (["a", "b"], [1.0], "2 prompts and 1 weights"),
        ([], None, "0 prompts"),
        ("a cat", None, "give a list"),
        (["a", "b"], [1.0, -1.0], "sum to 0"),
    ],
)
def test_one_weight_a_prompt(sd, prompts, weights, words):
    for combine in (prompting.blended, prompting.joined):
        with pytest.raises(LessonError, match=words):
            combine(sd, prompts, weights)
