"""Memory and speed (lesson, section 6): every technique can be switched on, off, and measured.

    apply(pipeline, "VAE tiling")                for good
    with applied(pipeline, "VAE tiling"): ...    for a block
    cost(lambda: pipeline(...))                  seconds and peak bytes
    timeline(lambda: pipeline(...))              the bytes held, over the seconds
    apply(load_on_cpu("sdxl-base"), *preset("sdxl-base", vram=8 << 30))

Whatever cannot work, or would silently undo something else, is a LessonError before anything is changed.
"""

# diffusers' and torch's annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lessonlib.errors import LessonError
from lessonlib.models import memory as estimates
from lessonlib.models.catalogue import find
from lessonlib.pipelines import generate
from lessonlib.pipelines.checks import check_call, has_ip_adapter
from lessonlib.pipelines.limits import check_guidance, check_negative, check_steps

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Technique:
    """One way to need less memory or time: what it is for, and how it is switched on and off.

    Of the techniques of one `group`, the last would silently replace the others.
    """

    what: str
    on: Callable[[Any], object]
    off: Callable[[Any], object]
    group: str
    needs_gpu: bool = False
    loses_adapters: bool = False


def _no_offload(pipeline: Any) -> None:
    pipeline.remove_all_hooks()
    pipeline.to("cuda")


def _tile(pipeline: Any) -> None:
    """A VAE's own tile is as large as its training pictures (SDXL's: 1024), and saves nothing at that size."""
    vae = pipeline.vae
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    vae.tile_sample_min_size = min(vae.config.sample_size, estimates.TILE)
    vae.tile_latent_min_size = vae.tile_sample_min_size // factor
    vae.enable_tiling()


def _plain_attention(pipeline: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    pipeline.unet.set_attn_processor(AttnProcessor())


def _sdpa(pipeline: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor2_0

    pipeline.unet.set_attn_processor(AttnProcessor2_0())


def _layout(name: str) -> Callable[[Any], object]:
    def change(pipeline: Any) -> None:
        import torch

        for part in (pipeline.unet, pipeline.vae):
            part.to(memory_format=getattr(torch, name))

    return change


def _fuse(pipeline: Any) -> None:
    import torch

    with torch.no_grad():
        pipeline.unet.fuse_qkv_projections()


def _fused_off(pipeline: Any) -> None:
    pipeline.unet.unfuse_qkv_projections()
    for module in pipeline.unet.modules():
        for name in ("to_qkv", "to_kv"):
            if hasattr(module, name):
                delattr(module, name)
        if hasattr(module, "fused_projections"):
            module.fused_projections = False


def compile_blocks(pipeline: Any, **options: Any) -> None:
    """Compile the UNet's transformer block once, and use it wherever the block repeats."""
    pipeline.unet.compile_repeated_blocks(**{"fullgraph": True, **options})


def compile_unet(pipeline: Any, **options: Any) -> None:
    """Compile the whole UNet into one graph: minutes the first time, and again for another picture size."""
    pipeline.unet.compile(**{"fullgraph": True, **options})


def _not_compiled(pipeline: Any) -> None:
    for module in pipeline.unet.modules():
        module._compiled_call_impl = None


TECHNIQUES: dict[str, Technique] = {
    "model offload": Technique(
        "only the network that works is on the GPU",
        lambda pipeline: pipeline.enable_model_cpu_offload(),
        _no_offload,
        "offload",
        needs_gpu=True,
    ),
    "sequential offload": Technique(
        "only the layer that works is on the GPU: least memory, slowest",
        lambda pipeline: pipeline.enable_sequential_cpu_offload(),
        _no_offload,
        "offload",
        needs_gpu=True,
    ),
    "VAE slicing": Technique(
        "a batch is decoded one picture at a time; nothing changes for a single picture",
        lambda pipeline: pipeline.vae.enable_slicing(),
        lambda pipeline: pipeline.vae.disable_slicing(),
        "VAE slicing",
    ),
    "VAE tiling": Technique(
        "a large picture is decoded in overlapping tiles; its pixels change a little",
        _tile,
        lambda pipeline: pipeline.vae.disable_tiling(),
        "VAE tiling",
    ),
    "plain attention": Technique(
        "softmax(QK)V as it is written, to compare with: SDPA, the default, never stores the scores",
        _plain_attention,
        _sdpa,
        "attention",
        loses_adapters=True,
    ),
    "attention slicing": Technique(
        "plain attention, a head at a time: slower than SDPA, and larger",
        lambda pipeline: pipeline.unet.set_attention_slice("max"),
        _sdpa,
        "attention",
        loses_adapters=True,
    ),
    "fused QKV": Technique(
        "query, key and value by one matrix; the three are kept beside it",
        _fuse,
        _fused_off,
        "attention",
        loses_adapters=True,
    ),
    "channels-last": Technique(
        "the layout that convolutions on a GPU prefer",
        _layout("channels_last"),
        _layout("contiguous_format"),
        "layout",
    ),
    "regional compile": Technique(
        "the transformer block, compiled once for all its copies", compile_blocks, _not_compiled, "compile"
    ),
    "full compile": Technique("the whole UNet, compiled", compile_unet, _not_compiled, "compile"),
}


def apply(pipeline: Any, *names: str) -> Any:
    """Switch the named techniques on; returns the pipeline.

    Raises:
        LessonError: an unknown name; two that exclude each other; an offload without a GPU, or where the
            pipeline is on the GPU already; a technique that would silently drop a loaded adapter.
    """
    chosen = check(pipeline, names)
    for technique in chosen:
        technique.on(pipeline)
    return pipeline


@contextmanager
def applied(pipeline: Any, *names: str) -> Iterator[Any]:
    """The pipeline with the named techniques inside this block.

    Raises:
        LessonError: as `apply`.
    """
    chosen = check(pipeline, names)
    try:
        for technique in chosen:
            technique.on(pipeline)
        yield pipeline
    finally:
        for technique in reversed(chosen):
            technique.off(pipeline)


def check(pipeline: Any, names: Sequence[str]) -> list[Technique]:
    """The named techniques, if they can be switched on together.

    Raises:
        LessonError: as `apply`.
    """
    from lessonlib.models import machine

    if unknown := [name for name in names if name not in TECHNIQUES]:
        raise LessonError(
            f"There is no technique called '{unknown[0]}': choose among {', '.join(TECHNIQUES)}."
        )
    groups = [TECHNIQUES[name].group for name in names]
    for i, group in enumerate(groups):
        if group in groups[:i]:
            first = names[groups.index(group)]
            raise LessonError(
                f"'{first}' and '{names[i]}' exclude each other (the last would silently win): choose one."
            )
    for name in names:
        if TECHNIQUES[name].needs_gpu:
            if machine.device() != "cuda":
                raise LessonError(
                    f"'{name}' moves networks to a CUDA GPU, and there is none here: leave it out."
                )
            if pipeline.device.type == "cuda":
                raise LessonError(
                    f"The pipeline is on the GPU already, so it has fitted and '{name}' would save nothing of "
                    "that: load it with load_on_cpu, without .to('cuda')."
                )
        if TECHNIQUES[name].loses_adapters and (kind := _adapter(pipeline)):
            raise LessonError(
                f"'{name}' replaces the attention in which the {kind} works, and would drop it: "
                "leave it out, SDPA is on by default."
            )
    return [TECHNIQUES[name] for name in names]


def _adapter(pipeline: Any) -> str | None:
    if has_ip_adapter(pipeline):
        return "IP-Adapter"
    return "LoRA" if getattr(pipeline.unet, "peft_config", None) else None


# -------- presets


def load_on_cpu(model: str) -> Any:
    """The model's pipeline in RAM, ready for `apply(pipeline, *preset(...))`.

    Raises:
        LessonError: weights that are missing or cannot be downloaded.
    """
    from lessonlib.models import machine

    path = generate.folder(model)

    from diffusers import DiffusionPipeline

    variant = find(model).variant if machine.tier() == "full" else None
    return DiffusionPipeline.from_pretrained(path, dtype=machine.dtype(), variant=variant)


def preset(models: str | Sequence[str], vram: int) -> tuple[str, ...]:
    """The fastest techniques with which `models`, loaded together at full size, fit `vram` bytes.

    The bytes are those of lessonlib.models.memory: estimates.

    Raises:
        LessonError: they do not fit in any way; an unknown model.
    """
    names = (models,) if isinstance(models, str) else tuple(models)
    for name in names:
        find(name)
    needed = estimates.need("", names)
    for techniques, size in (
        ((), needed.vram),
        (("VAE tiling",), needed.vram_tiled),
        (("model offload",), needed.vram_offload),
        (("model offload", "VAE tiling"), needed.vram_offload_tiled),
        (("sequential offload", "VAE tiling"), needed.vram_sequential),
    ):
        if size <= vram:
            return techniques
    raise LessonError(
        f"{' + '.join(names)} need {needed.vram_sequential / (1 << 30):.1f} GiB of GPU memory at the very least, "
        f"and there are {vram / (1 << 30):.1f}: use the tiny models (LESSON_TIER=tiny)."
    )


# -------- measuring


class Cost(NamedTuple):
    """Seconds of a call, and the most bytes of tensors that it held at once besides those there before."""

    seconds: float
    peak_bytes: int


def cost(work: Callable[[], object], warm_up: bool = True) -> Cost:
    """Time `work` once and find its peak, after one call that is not counted.

    On a GPU the peak is the allocator's (`torch.cuda.max_memory_allocated`). On a CPU it is added up from
    every allocation and release that torch's profiler records, in a further call of `work`, because the
    profiler slows it down; memory that does not pass through torch is not in it.
    """
    import torch

    if warm_up:
        work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return Cost(time.perf_counter() - start, torch.cuda.max_memory_allocated() - before)
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return Cost(seconds, max((level for _, level in timeline(work)), default=0))


def timeline(work: Callable[[], object]) -> list[tuple[float, int]]:
    """(seconds since the start, bytes held besides what was there before), at every allocation and release.

    Of the CPU's tensors, or of the CUDA GPU's where there is one, as torch's profiler records them. The profiler
    slows `work` down.
    """
    import os

    import torch
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler would write to the reader's screen
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    device = DeviceType.CUDA if torch.cuda.is_available() else DeviceType.CPU
    events = profiler.profiler.kineto_results.events()
    memory = [e for e in events if e.name() == "[memory]" and e.device_type() == device]
    levels, level = [], 0
    for event in sorted(memory, key=lambda e: e.start_ns()):
        level += event.nbytes()
        levels.append((event.start_ns(), level))
    return [((at - levels[0][0]) / 1e9, level) for at, level in levels]


# -------- batches


def batch(
    pipeline: Any,
    prompts: Sequence[str],
    seeds: Sequence[int],
    steps: int = 25,
    guidance: float = 5.0,
    negative_prompt: str | None = None,
) -> list[Image]:
    """One picture a prompt, all denoised together, each the same as if it were made alone with its seed.

    Raises:
        LessonError: not one seed a prompt; numbers out of range; parts that do not fit together.
    """
    import torch

    if isinstance(prompts, str) or not prompts or len(prompts) != len(seeds):
        count = 1 if isinstance(prompts, str) else len(prompts)
        raise LessonError(
            f"There are {count} prompts and {len(seeds)} seeds: give a list with one seed a prompt."
        )
    check_steps(steps)
    check_guidance(guidance)
    check_negative(negative_prompt, guidance)
    check_call(pipeline, {})
    return pipeline(
        list(prompts),
        # SD 1.5 refuses one negative prompt for a list of prompts
        negative_prompt=None if negative_prompt is None else [negative_prompt] * len(prompts),
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
    ).images
