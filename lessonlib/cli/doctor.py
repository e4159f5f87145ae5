"""`lesson doctor`: what this machine is, what is broken, and what fits."""

from __future__ import annotations

import json
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)

FORMULA = (
    "Estimates: weights (parameters x 2 bytes on a GPU, x 4 on a CPU) + the larger of the UNet's live maps "
    "(32 x 320 x h/8 x w/8 x 2) and the VAE decoder's (4 x 256 x h x w), at the same bytes a number, + 1 GiB. "
    "With model offload the GPU holds the UNet with its ControlNets and adapters, or the VAE; RAM holds all. "
    "Least: sequential offload and the VAE in tiles of 512 pixels."
)
GIB = 1 << 30


@dataclass(frozen=True)
class Check:
    name: str
    state: Literal["ok", "note", "broken"]
    text: str


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
) -> None:
    """Check Python, packages, memory, GPU and the zoo's files; say what fits. Exit code 1: broken."""
    checks = list(_checks())
    lessons = _lessons() if not any(c.name == "torch" and c.state == "broken" for c in checks) else []
    if as_json:
        report = {
            "ok": all(c.state != "broken" for c in checks),
            "checks": [asdict(check) for check in checks],
            "formula": FORMULA,
            "lessons": lessons,
        }
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(checks, lessons)
    if any(check.state == "broken" for check in checks):
        raise typer.Exit(1)


def _checks() -> Iterator[Check]:
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Check(
        "Python", "broken" if old else "ok", f"{version}, too old: install 3.11 or newer" if old else version
    )
    yield from _packages()
    yield from _torchvision()
    yield from _machine()
    yield from _zoo()


def _packages() -> Iterator[Check]:
    """The installed version of everything that lessonlib requires."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in metadata.requires("lessonlib") or []]
    except metadata.PackageNotFoundError:
        yield Check("lessonlib", "note", "not installed, versions are not checked: `pip install -e .`")
        required = [Requirement(name) for name in ("torch", "diffusers", "transformers")]
    for requirement in required:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Check(requirement.name, "broken", f"missing: `pip install '{requirement}'`")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            yield Check(requirement.name, "ok", version)
        else:
            yield Check(
                requirement.name,
                "broken",
                f"{version} is not {requirement.specifier}: install lessonlib again",
            )


def _torchvision() -> Iterator[Check]:
    """Optional, but its mere presence stops diffusers from importing if it was not made for this torch."""
    try:
        version = metadata.version("torchvision")
    except metadata.PackageNotFoundError:
        return
    try:
        import torchvision  # noqa: F401  # pyright: ignore[reportMissingImports]
    except Exception as error:
        torch_version = metadata.version("torch")
        yield Check(
            "torchvision",
            "broken",
            f"{version} does not match torch {torch_version} ({error}): `pip uninstall torchvision`, "
            "or install the build made for this torch",
        )
    else:
        yield Check("torchvision", "ok", version)


def _machine() -> Iterator[Check]:
    try:
        from lessonlib.models import machine

        device, tier, why = machine.device(), machine.tier(), machine.why()
    except (ImportError, OSError) as error:  # OSError: one of its libraries does not load
        yield Check("torch", "broken", f"cannot be imported: {error}")
        return
    yield Check("RAM", "ok", f"{machine.ram_bytes() / GIB:.1f} GiB")
    if device == "cuda":
        import torch

        yield Check("GPU", "ok", f"{torch.cuda.get_device_name(0)}, {machine.vram_bytes() / GIB:.1f} GiB")
    else:
        yield Check("GPU", "note", f"no CUDA GPU, torch runs on {device}")
    yield Check("tier", "ok", f"{tier}: {why}")


def _zoo() -> Iterator[Check]:
    from lessonlib.models import store

    states = store.verify()
    shipped = store.members()
    if not shipped:
        yield Check(
            "zoo", "broken", f"there are no tiny weights in {store.weights_root()}: install lessonlib again"
        )
    for part, state in states.items():
        if state != "ok":
            yield Check(
                f"zoo part {part}", "broken", f"{state}: `git checkout` it or install lessonlib again"
            )
    if shipped and all(state == "ok" for state in states.values()):
        yield Check("zoo", "ok", f"{len(shipped)} models in {len(states)} parts, every file whole")
    folder = store.cache_root()
    nearest = next(f for f in [folder, *folder.parents] if f.exists())
    yield Check("cache", "ok", f"{folder}, {shutil.disk_usage(nearest).free / GIB:.1f} GiB free")


def _lessons() -> list[dict[str, object]]:
    from lessonlib.models import machine, memory

    ram, vram = machine.ram_bytes(), machine.vram_bytes()
    return [{**asdict(need), "fits": memory.fits(need, ram, vram)} for need in memory.needs()]


def _print(checks: list[Check], lessons: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    signs = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[red]broken[/]"}
    table = Table(title="This machine")
    for heading in ("what", "state", "found"):
        table.add_column(heading)
    for check in checks:
        table.add_row(check.name, signs[check.state], escape(check.text))
    console.print(table)

    table = Table(title="The full-size models (nothing is downloaded before you ask)", caption=FORMULA)
    columns = {
        "download": "download",
        "VRAM": "vram",
        "VRAM with offload": "vram_offload",
        "least VRAM": "vram_sequential",
        "RAM with offload": "ram_offload",
        "RAM on a CPU": "ram_cpu",
    }
    for heading in ("lesson", *columns, "fits here"):
        table.add_column(heading, justify="left" if heading in ("lesson", "fits here") else "right")
    for row in lessons:
        sizes = [f"{int(str(row[key])) / GIB:.1f}" for key in columns.values()]
        table.add_row(str(row["lesson"]), *sizes, str(row["fits"]))
    console.print(table)
    console.print(
        "Sizes in GiB. The tiny models run anywhere: a process that draws with one takes about half a GiB of RAM."
    )
