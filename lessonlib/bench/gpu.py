"""Full-size models on a GPU: seconds a picture, steps a second, peak memory, share of the card's best.

On a machine with a CUDA GPU only; the same functions run on a CPU with tiny shapes in the tests. What is
measured:

* seconds a picture: one call after one that is not counted (compiling, choosing kernels), pixels included;
* it/s: denoising steps a second, between the ends of the first step and of the last;
* peak: `torch.cuda.max_memory_allocated`, weights included; on a CPU, weights plus the profiler's peak;
* share: floating-point operations of the denoising networks a second (counted by torch's FlopCounterMode in
  a run of one step), over those of a large matrix product in the same dtype on the same device. The
  product's is what the card reaches in practice, less than its data sheet says.
"""

# diffusers' annotations are narrower than what they accept and return:
# pyright: reportArgumentType=false

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from lessonlib.bench.rows import Row, seconds

if TYPE_CHECKING:
    import torch

    from lessonlib.bench.full_size import Family

GIB = 1 << 30


@dataclass(frozen=True)
class Variant:
    """One way to run a family: techniques of `lessonlib.pipelines.memory`, and the settings of the call."""

    name: str
    techniques: tuple[str, ...] = ()
    dtype: str = "float16"
    steps: int = 25
    guidance: float = 5.0
    scheduler: str | None = None  # "LCM", "Turbo"; None is the family's own
    side: int | None = None  # pixels; None is the family's own
    sdxl_only: bool = False


PLAIN = Variant("plain fp16")
VARIANTS = (
    PLAIN,
    Variant("bf16", dtype="bfloat16"),
    Variant("channels-last", ("channels-last",)),
    Variant("fused QKV", ("fused QKV",)),
    Variant("regional compile", ("regional compile",)),
    Variant("full compile", ("full compile",)),
    Variant("LCM, 4 steps", steps=4, guidance=1.0, scheduler="LCM"),
    Variant(
        "Turbo, 1 step at 512 pixels", steps=1, guidance=0.0, scheduler="Turbo", side=512, sdxl_only=True
    ),
    Variant("VAE tiling", ("VAE tiling",)),
    Variant("model offload", ("model offload",)),
    Variant("model offload and VAE tiling", ("model offload", "VAE tiling")),
    Variant("sequential offload and VAE tiling, 4 steps", ("sequential offload", "VAE tiling"), steps=4),
)


class Run(NamedTuple):
    seconds: float
    steps_per_second: float | None  # None: a single step has no pace
    peak_bytes: int


def full_size_models() -> Iterator[Row]:
    """Every variant of every full-size family; nothing without a CUDA GPU."""
    from lessonlib.models import device

    if device() != "cuda":
        return
    from lessonlib.bench.full_size import FULL

    for family in FULL:
        yield from rows(family, "cuda")


def rows(
    family: Family, device: str, variants: Sequence[Variant] = VARIANTS, product: int = 8192
) -> Iterator[Row]:
    """A family's figures. A variant that runs out of memory or cannot be compiled says so instead.

    Args:
        product: side of the matrices whose product is the card's best.
    """
    import torch

    from lessonlib.bench.full_size import build

    best = {d: product_flops(device, getattr(torch, d), product) for d in {v.dtype for v in variants}}
    plain: float | None = None
    flops: dict[
        tuple[bool, int | None], int
    ] = {}  # of a step, by guidance and size: techniques change nothing
    for variant in variants:
        if variant.sdxl_only and family.text_2 is None:
            continue
        label = f"{family.name}: {variant.name}"
        if family.vision is not None and "fused QKV" in variant.techniques:
            yield Row(label, None, "s", device=device, note="would drop the IP-Adapter")
            continue
        try:
            # a pipeline of its own: what one variant leaves behind cannot help or harm the next
            offloaded = any("offload" in name for name in variant.techniques)
            pipeline = build(family, "cpu" if offloaded else device, getattr(torch, variant.dtype))
            if not variant.techniques and _work(variant) not in flops:
                flops[_work(variant)] = step_flops(pipeline, family, variant)
            run = measure(pipeline, family, variant)
        except (torch.OutOfMemoryError, *_compile_errors()) as error:
            yield Row(label, None, "s", device=device, note=f"failed: {type(error).__name__}")
            continue
        finally:
            pipeline = None
            _clean(device)
        first = variant.name == PLAIN.name
        against = None if first else f"{family.name}: {PLAIN.name}"
        plain = run.seconds if first else plain
        ratio = None if against is None or plain is None else run.seconds / plain
        yield Row(label, run.seconds, "s a picture", against, ratio, device)
        yield Row(f"{label}, peak", run.peak_bytes / GIB, "GiB", device=device)
        if run.steps_per_second is not None:
            yield Row(f"{label}, pace", run.steps_per_second, "it/s", device=device)
            if _work(variant) in flops:
                share = run.steps_per_second * flops[_work(variant)] / best[variant.dtype]
                yield Row(f"{label}, share of a matrix product's speed", 100 * share, "%", device=device)


def measure(pipeline: Any, family: Family, variant: Variant) -> Run:
    """Switch the variant's techniques on, run it once for warming up, once for its peak, once for its time."""
    from lessonlib.pipelines import memory

    _set_scheduler(pipeline, variant.scheduler)
    call = _call(pipeline, family, variant)
    memory.apply(pipeline, *variant.techniques)
    ends: list[float] = []

    def step_done(_pipe: Any, _step: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        _wait()
        ends.append(time.perf_counter())
        return tensors

    call()  # not counted
    peak = _peak(pipeline, call)
    taken = seconds(lambda: call(on_step=step_done))
    pace = (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 else None
    return Run(taken, pace, peak)


def _work(variant: Variant) -> tuple[bool, int | None]:
    """What the work of a step depends on."""
    return variant.guidance > 1, variant.side


def step_flops(pipeline: Any, family: Family, variant: Variant) -> int:
    """Floating-point operations (a multiply-add is two) of UNet and ControlNet in a call of one step."""
    from torch.utils.flop_counter import FlopCounterMode

    total = 0
    handles = []
    counter = FlopCounterMode(display=False)

    def before(*_: Any) -> None:
        nonlocal total
        total -= counter.get_total_flops()

    def after(*_: Any) -> None:
        nonlocal total
        total += counter.get_total_flops()

    for name in ("unet", "controlnet"):
        network = getattr(pipeline, name, None)
        if network is not None:
            handles += [network.register_forward_pre_hook(before), network.register_forward_hook(after)]
    try:
        with counter:
            _call(pipeline, family, variant)(steps=1)
    finally:
        for handle in handles:
            handle.remove()
    return total


def product_flops(device: str, dtype: torch.dtype, side: int) -> float:
    """Floating-point operations a second of a square matrix product: 2 side^3 over the median time."""
    import torch

    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def product() -> None:
        torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()

    product()
    return 2 * side**3 / statistics.median(seconds(product) for _ in range(10))


def _call(pipeline: Any, family: Family, variant: Variant) -> Callable[..., object]:
    """The pipeline's call for this variant; `steps` and `on_step` may be changed."""
    import torch
    from PIL import Image

    side = variant.side or family.side
    pictures = {}
    if family.vision is not None:
        grey = Image.new("RGB", (side, side), "grey")
        pictures = {"image": grey, "ip_adapter_image": grey}

    def call(steps: int = variant.steps, on_step: Any = None) -> object:
        return pipeline(
            "a cat",
            num_inference_steps=steps,
            guidance_scale=variant.guidance,
            height=side,
            width=side,
            generator=torch.Generator("cpu").manual_seed(0),
            callback_on_step_end=on_step,
            output_type="np",  # random weights may give no numbers that a PIL picture can hold
            **pictures,
        )

    return call


def _set_scheduler(pipeline: Any, name: str | None) -> None:
    from diffusers import EulerAncestralDiscreteScheduler, LCMScheduler

    config = pipeline.scheduler.config
    if name == "LCM":
        pipeline.scheduler = LCMScheduler.from_config(config)
    elif name == "Turbo":
        pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(config, timestep_spacing="trailing")


def _peak(pipeline: Any, call: Callable[[], object]) -> int:
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        call()
        return torch.cuda.max_memory_allocated()
    from lessonlib.pipelines.memory import cost

    networks = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    return weights + cost(call, warm_up=False).peak_bytes


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _clean(device: str) -> None:
    import gc

    import torch

    torch._dynamo.reset()
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def _compile_errors() -> tuple[type[Exception], ...]:
    from torch._dynamo.exc import TorchDynamoException

    return (TorchDynamoException,)
