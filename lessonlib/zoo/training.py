"""One training loop for the whole zoo: seeded, resumable, the same on CPU and GPU (accelerate), with a live curve.

Step k draws its data and its noise from (seed, k) alone. A run that was killed and started again therefore sees what an
unbroken run would have seen, and follows the same curve.

Several processes train one network (data parallel: each draws its own batch, gradients are averaged) when torchrun
launches them. Two processes of one thread each are faster on two cores than one process of two threads:

    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 --no-python -- lesson zoo train sd15
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from diffusers.optimization import get_cosine_schedule_with_warmup
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from tqdm.auto import tqdm

from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.zoo.optimizers import Kind, build
from lessonlib.zoo.stopping import asked_to_stop


@dataclass(frozen=True)
class Plan:
    """How long and how fast to train.

    `batch` rows make one step of one process; `ema` keeps an exponential moving average of the weights (inverse-gamma
    warm-up, power 2/3, as k-diffusion does). `start` says where the weights come from: the recipe's initialisation, or what
    the package ships.
    """

    steps: int
    batch: int
    learning_rate: float
    seed: int
    warmup: int = 100
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    ema: bool = True
    start: Literal["scratch", "shipped"] = "scratch"
    optimizer: Kind = "adamw"


@dataclass(frozen=True)
class Step:
    """What one step may draw from: its number and two generators that depend on nothing else."""

    index: int
    numpy: np.random.Generator
    torch: torch.Generator
    device: torch.device


LossFunction = Callable[["Network", Step], dict[str, Tensor]]


class Network(nn.Module):
    """The modules that are trained together, as one: accelerate and the EMA then need to know of one only."""

    parts: Any  # an nn.ModuleDict; each recipe knows what it put there

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, loss: LossFunction, step: Step) -> dict[str, Tensor]:
        """The loss of a step. Every use of the parts is inside this call, so that processes can average gradients."""
        return loss(self, step)


def default_runs() -> Path:
    """Where runs are kept: `runs/` in the current folder, or the folder that LESSON_RUNS names."""
    return Path(os.environ.get("LESSON_RUNS", "runs"))


def mixed_precision() -> str:
    """ "bf16" where the processor computes in it natively, else "no"."""
    if torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "no"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "no"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "no"


def train(
    name: str,
    network: Network,
    loss: LossFunction,
    plan: Plan,
    *,
    runs: Path | None = None,
    minutes: float | None = None,
    save_minutes: float = 4.0,
    on_log: Callable[[dict], None] | None = None,
    rates: Sequence[tuple[float, Iterable[nn.Parameter]]] | None = None,
) -> Network:
    """Train `network` for `plan.steps` steps and return it with its averaged weights.

    The same call resumes: the run's folder holds the newest whole checkpoint and `log.jsonl`.

    Args:
        loss: (network, step) -> named scalars; "loss" is minimised, the rest is logged.
        minutes: stop (with a checkpoint) after this long, even if steps are left; 0 trains no step.
        rates: groups of parameters, each with the multiple of `plan.learning_rate` it learns at; parameters in no group
            stay as they are. By default everything that needs a gradient learns at 1.

    Raises:
        LessonError: the folder holds a run with another plan.
        KeyboardInterrupt: after Ctrl-C or a SIGTERM, once the step is done and the checkpoint written.
        SystemExit: in every process but the first, when several train: the first alone has the result.
    """
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=mixed_precision())
    first = accelerator.is_main_process
    folder = (runs or default_runs()) / name
    folder.mkdir(parents=True, exist_ok=True)
    with accelerator.main_process_first():
        _refuse_other_plan(folder, plan, accelerator.num_processes)
    set_seed(plan.seed)
    network.to(accelerator.device)
    groups = [
        (factor, [p for p in parameters if p.requires_grad])
        for factor, parameters in rates or [(1.0, network.parameters())]
    ]
    dtype = torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32
    optimizers = build(
        plan.optimizer, network, groups, plan.learning_rate, plan.betas, plan.weight_decay, dtype
    )
    # accelerate would move a prepared schedule once a process and step
    schedules = [get_cosine_schedule_with_warmup(one, plan.warmup, plan.steps) for one in optimizers]
    accelerator.register_for_checkpointing(*schedules)
    prepared, *optimizers = accelerator.prepare(network, *optimizers)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, power=2 / 3, foreach=True)
    average.to(accelerator.device)
    progress = _Progress()
    accelerator.register_for_checkpointing(progress)
    if plan.ema:
        accelerator.register_for_checkpointing(average)
    checkpoint = folder / "checkpoint"
    if checkpoint.is_dir():
        accelerator.load_state(str(checkpoint))

    def agreed(*answers: bool) -> list[bool]:
        """Each answer, true if it is true in any process: all of them then do the same."""
        ours = torch.tensor(answers, dtype=torch.float32, device=accelerator.device)
        return (accelerator.reduce(ours, "sum") > 0).tolist()  # pyright: ignore[reportOperatorIssue, reportAttributeAccessIssue]

    started = saved = time.monotonic()
    bar = tqdm(
        total=plan.steps, initial=progress.step, desc=name, unit="step", smoothing=0.05, disable=not first
    )
    prepared.train()
    late, stopped = minutes is not None and minutes <= 0, False
    with asked_to_stop() as asked, closing(bar):
        while progress.step < plan.steps and not late and not stopped:
            step = draw(plan, progress.step, accelerator.process_index, accelerator.device)
            with accelerator.autocast() if accelerator.mixed_precision != "no" else nullcontext():
                values = prepared(loss, step)
            accelerator.backward(values["loss"])
            accelerator.clip_grad_norm_(network.parameters(), plan.clip)
            for one in (*optimizers, *schedules):
                one.step()
            network.zero_grad(set_to_none=True)
            if plan.ema:
                average.step(network.parameters())
            progress.step += 1
            progress.add({key: float(value.detach()) for key, value in values.items()})
            bar.update()
            if first and (progress.step % 25 == 0 or progress.step == plan.steps):
                row = {"step": progress.step, **progress.means(), "lr": schedules[0].get_last_lr()[0]}
                bar.set_postfix(
                    {key: f"{value:.4g}" for key, value in row.items() if key not in ("step", "lr")}
                )
                with open(folder / "log.jsonl", "a") as stream:
                    stream.write(json.dumps({**row, "time": round(time.time(), 1)}) + "\n")
                if on_log is not None:
                    on_log(row)
            now = time.monotonic()
            late, due, stopped = agreed(
                minutes is not None and now - started > 60 * minutes, now - saved > 60 * save_minutes, asked()
            )
            if due:
                _save(accelerator, checkpoint)
                saved = now
        _save(accelerator, checkpoint)
    if stopped and first:
        print(f"\nStopped at step {progress.step}: the same command goes on from here.")
    if stopped:
        raise KeyboardInterrupt
    if not first:
        raise SystemExit(0)
    if plan.ema:
        average.copy_to(network.parameters())
    return network.eval()


def draw(plan: Plan, index: int, process: int, device: torch.device) -> Step:
    """Step `index` of one of the processes: the first draws what it would draw alone."""
    seed = [plan.seed, index, *([process] if process else [])]
    noise = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
    return Step(index, np.random.default_rng(seed), noise, device)


def _save(accelerator: Accelerator, checkpoint: Path) -> None:
    """Write a whole checkpoint beside the last one, then put it in its place."""
    fresh, old = checkpoint.with_suffix(".new"), checkpoint.with_suffix(".old")
    if accelerator.is_main_process:
        shutil.rmtree(fresh, ignore_errors=True)
    accelerator.wait_for_everyone()
    accelerator.save_state(str(fresh))
    accelerator.wait_for_everyone()
    if not accelerator.is_main_process:
        return
    if checkpoint.is_dir():
        shutil.rmtree(old, ignore_errors=True)
        checkpoint.rename(old)
    fresh.rename(checkpoint)
    shutil.rmtree(old, ignore_errors=True)


class _Progress:
    """The step counter and the running means of the log, kept in the checkpoint."""

    def __init__(self) -> None:
        self.step = 0
        self._sums: dict[str, float] = {}
        self._count = 0

    def add(self, values: dict[str, float]) -> None:
        for key, value in values.items():
            self._sums[key] = self._sums.get(key, 0.0) + value
        self._count += 1

    def means(self) -> dict[str, float]:
        means = {key: value / self._count for key, value in self._sums.items()}
        self._sums, self._count = {}, 0
        return means

    def state_dict(self) -> dict:
        return {"step": self.step, "sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict) -> None:
        self.step, self._sums, self._count = state["step"], dict(state["sums"]), state["count"]


def _refuse_other_plan(folder: Path, plan: Plan, processes: int) -> None:
    """A resumed run must mean the same plan: half of one schedule and half of another is neither."""
    path = folder / "plan.json"
    wanted = json.loads(json.dumps(asdict(plan))) | ({"processes": processes} if processes > 1 else {})
    if not path.is_file():
        write_text(path, json.dumps(wanted, indent=1) + "\n")
        return
    found = json.loads(path.read_text())
    if found != wanted:
        differs = ", ".join(key for key in {**found, **wanted} if found.get(key) != wanted.get(key))
        raise LessonError(
            f"{folder} holds a run with another plan (differs in: {differs}). Delete the folder or name another with --runs."
        )
