"""Pictures of the tiny models: cold and warm, batches against singles, 25 steps against few."""

# diffusers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from lessonlib.bench.course import python
from lessonlib.bench.rows import Row, in_turns, seconds

PROMPT = "a red apple on the beach, 3d style"
STANDARD = "a picture, 25 steps with guidance"
JUDGED = 48  # scenes
QUESTIONS = ("object", "background", "style")  # what every prompt asks; colour and size stand in a few only


def cold_warm_and_batches() -> Iterator[Row]:
    """sd15 at 25 steps with guidance: the first picture of a process, warm ones, batches of four and eight."""
    from lessonlib.models import device
    from lessonlib.pipelines import memory

    first = (
        "from diffusers import StableDiffusionPipeline\nfrom lessonlib import repo\n"
        f"StableDiffusionPipeline.from_pretrained(repo('sd15', 'tiny'))({PROMPT!r}, num_inference_steps=25)"
    )
    yield Row("first picture of a process, imports and loading included", seconds(python(first)), "s")
    pipeline = tiny("sd15")

    def batch(count: int) -> Callable[[], object]:
        return lambda: memory.batch(pipeline, [PROMPT] * count, range(count))

    for count in (4, 8):
        one, many, ratio = in_turns(batch(1), batch(count), 3)
        if count == 4:
            yield Row(STANDARD, one, "s", device=device())
        yield Row(f"{count} pictures in one batch", many, "s", STANDARD, 1 / ratio, device())


def few_steps() -> Iterator[Row]:
    """What is shipped of the few-step models, against 25 steps of sd15: seconds, and the judge's opinion.

    Quality is the mean of three shares: of pictures in which the judge finds the object, the background and the style
    that were asked for, one picture for each of the first scenes with a single object.
    """
    from lessonlib.models import device

    standard = tiny("sd15")
    yield Row(
        f"judged: {STANDARD}", quality(lambda p, s: draw_standard(standard, p, s)), "of 1", device=device()
    )
    for name, load, draw in few_step_models():
        pipeline = load()

        def fast(pipeline: Any = pipeline, draw: Callable[..., Any] = draw) -> object:
            return draw(pipeline, PROMPT)

        quick, _, ratio = in_turns(fast, lambda: draw_standard(standard, PROMPT, 0), 3)
        yield Row(f"a picture, {name}", quick, "s", STANDARD, ratio, device())
        judged = quality(lambda p, s, net=pipeline, draw=draw: draw(net, p, seed=s))
        yield Row(f"judged: {name}", judged, "of 1", device=device())


def few_step_models() -> Iterator[tuple[str, Callable[[], Any], Callable[..., Any]]]:
    """(name, how it is loaded, how it draws) of the few-step models that are shipped."""
    from lessonlib.models import store
    from lessonlib.pipelines import lcm

    def with_lora() -> Any:
        return lcm.add_lora(tiny("sd15"), "lcm-lora-sd15")

    table = {
        "lcm-lora-sd15": ("LCM-LoRA, 4 steps", with_lora, lcm.lora_picture),
        "lcm": ("full LCM, 4 steps", lambda: tiny("lcm"), lcm.full_picture),
        "sdxl-turbo": ("SDXL-Turbo, 1 step", lambda: tiny("sdxl-turbo"), lcm.turbo_picture),
    }
    for member, row in table.items():
        if member in store.members():
            yield row


def tiny(name: str) -> Any:
    """A shipped pipeline on the best device, without progress bars."""
    from diffusers import DiffusionPipeline

    from lessonlib.models import device, dtype, repo

    pipeline = DiffusionPipeline.from_pretrained(repo(name, tier="tiny"), dtype=dtype()).to(device())
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw_standard(pipeline: Any, prompt: str, seed: int) -> Any:
    import torch

    generator = torch.Generator("cpu").manual_seed(seed)
    return pipeline(prompt, num_inference_steps=25, guidance_scale=5.0, generator=generator).images[0]


def quality(draw: Callable[[str, int], Any], scenes: int = JUDGED) -> float:
    """The mean of the judge's rates of `QUESTIONS` over one picture a scene."""
    import statistics

    from lessonlib.judge import score
    from lessonlib.world.captions import caption
    from lessonlib.world.scene import sample

    prompts = [caption(sample(seed, "single")) for seed in range(scenes)]
    drawn = [draw(prompt, seed) for seed, prompt in enumerate(prompts)]
    rates = score(drawn, prompts).rates()
    return statistics.mean(rates[question].value for question in QUESTIONS)
