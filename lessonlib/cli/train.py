"""`lesson train`: train a technique yourself, in minutes, from the shipped models.

Each technique is one function here and one file in `lessonlib/zoo/student/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lessonlib.cli.quiet import quiet

app = typer.Typer(add_completion=False, no_args_is_help=True)

Minutes = Annotated[float, typer.Option(min=0.1, help="How long to train; the curve is measured beside it.")]
Out = Annotated[Path | None, typer.Option(help="Where to save (default: trained/<technique>).")]
Seed = Annotated[int, typer.Option(help="Seed of data, noise and measured prompts.")]


@app.callback()
def train() -> None:
    """Train a technique yourself, in minutes, from the shipped models."""


@app.command("lcm-lora")
def lcm_lora(
    minutes: Minutes = 5.0,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Teach sd15 to draw in four steps: a LoRA by consistency distillation."""
    from lessonlib.zoo.student import lcm_lora as student
    from lessonlib.zoo.student.learning import line

    quiet()
    folder = out or Path("trained/lcm-lora")
    student.train(folder, minutes, seed=seed, on_point=lambda point: typer.echo(line(point, student.FIGURE)))
    typer.echo(
        f"saved {folder}: pipe.load_lora_weights('{folder}'), LCMScheduler, 4 steps, guidance_scale=1.0"
    )


@app.command()
def controlnet(
    condition: Annotated[
        str, typer.Option(help="canny, lineart, scribble, depth, normal, segmentation or pose.")
    ] = "canny",
    minutes: Minutes = 3.0,
    zero: Annotated[
        bool, typer.Option("--zero/--random", help="How the output convolutions start: see why it is zero.")
    ] = True,
    out: Out = None,
    seed: Seed = 0,
) -> None:
    """Teach sd15 to follow a control map: a ControlNet beside its frozen UNet."""
    from lessonlib.zoo.student import controlnet as student
    from lessonlib.zoo.student.learning import line

    quiet()
    folder = out or Path(f"trained/controlnet-{condition}{'' if zero else '-random'}")
    student.train(
        folder,
        minutes,
        condition=condition,
        start="zero" if zero else "random",
        seed=seed,
        on_point=lambda point: typer.echo(line(point, student.main_figure(condition))),
    )
    typer.echo(f"saved {folder}: ControlNetModel.from_pretrained('{folder}')")


@app.command("ip-adapter")
def ip_adapter(minutes: Minutes = 5.0, out: Out = None, seed: Seed = 0) -> None:
    """Teach sd15 to draw by a reference picture: attention of its own for the picture's tokens."""
    from lessonlib.zoo.student import ip_adapter as student
    from lessonlib.zoo.student.learning import line

    quiet()
    folder = out or Path("trained/ip-adapter")
    student.train(folder, minutes, seed=seed, on_point=lambda point: typer.echo(line(point, student.FIGURE)))
    name = student.FILES[student.KIND]
    typer.echo(f"saved {folder}: pipe.load_ip_adapter('{folder}', subfolder='models', weight_name='{name}')")
