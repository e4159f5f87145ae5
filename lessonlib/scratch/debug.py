"""Where does my model part from the reference? Both run on the same input; the first difference is named.

In a notebook:

>>> print(compare(my_unet, reference, sample, timestep, encoder_hidden_states))

At a prompt, for a file with a class that takes a `UNetConfig` (the reference is then `scratch.unet.UNet`):

    python -m lessonlib.scratch.debug my_unet.py:MyUNet --config sdxl
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lessonlib.errors import LessonError
from lessonlib.scratch.unet import REFINER, SD15, SDXL, UNet, UNetConfig
from lessonlib.scratch.weights import load_weights

_SHOWN = 4  # agreeing layers printed before the first that differs


@dataclass(frozen=True)
class Layer:
    """One call of a layer that both models have.

    name: its path in the model; empty for the model itself.
    shape: of the reference's output.
    difference: largest absolute difference of the outputs over max(1, largest value of the reference); inf
        for another shape or type of number, or for NaN on one side.
    agrees: whether the difference is within the tolerance.
    """

    name: str
    shape: tuple[int, ...]
    difference: float
    agrees: bool

    def __str__(self) -> str:
        mark = "✓" if self.agrees else "✗"
        return f"{mark} {self.name or 'the model':<58} {self.shape!s:<20} {self.difference:.1e}"


@dataclass(frozen=True)
class Comparison:
    """What `compare` found; `print` it.

    layers: the layers both models ran, in the order in which the reference finished them, up to the first
        that differs.
    compared: how many layers both models ran.
    reason: what is wrong with the first layer that differs, or where the model stopped; empty if all agree.
    unmatched: layers that only one of the two models ran.
    """

    layers: list[Layer]
    compared: int
    reason: str
    unmatched: list[str]

    @property
    def first(self) -> Layer | None:
        """The first layer that differs."""
        return next((layer for layer in self.layers if not layer.agrees), None)

    @property
    def agrees(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        if self.agrees:
            worst = max((layer.difference for layer in self.layers), default=0.0)
            return f"All {self.compared} layers agree (largest difference {worst:.1e})."
        shown = self.layers[-_SHOWN - 1 :]
        hidden = len(self.layers) - len(shown)
        lines = [f"  … {hidden} layers before agree"] if hidden else []
        lines += [f"  {layer}" for layer in shown]
        if self.unmatched:
            more = f" and {len(self.unmatched) - _SHOWN} more" if len(self.unmatched) > _SHOWN else ""
            lines.append(f"  (in one model only: {', '.join(self.unmatched[:_SHOWN])}{more})")
        return "\n".join([*lines, self.reason])


def compare(
    model: nn.Module, reference: nn.Module, *args: Any, tolerance: float = 1e-4, **kwargs: Any
) -> Comparison:
    """Run both models on the same input and find the first layer whose output differs.

    Layers are matched by name and by how often they were called. A model that raises is compared up to that
    point.

    Args:
        model: the student's.
        reference: the one to agree with: of this package, or of diffusers.
        args, kwargs: what both are called with.
        tolerance: largest difference that still counts as equal, relative to values above 1.

    Raises:
        LessonError: the models have no layer in common.
    """
    theirs, error = _trace(reference, args, kwargs)
    if error is not None:
        raise error
    ours, error = _trace(model, args, kwargs)
    common = [key for key in theirs if key in ours]
    if not common:
        raise LessonError(
            f"{type(model).__name__} and {type(reference).__name__} share no layer names: name your layers "
            "as in the reference."
        )
    layers: list[Layer] = []
    reason = ""
    for key in common:
        difference = _difference(ours[key].outputs, theirs[key].outputs)
        shape = tuple(theirs[key].outputs[0].shape) if theirs[key].outputs else ()
        layers.append(Layer(key[0], shape, difference, difference <= tolerance))
        if difference > tolerance:
            previous = layers[-2].name if len(layers) > 1 else None
            reason = _reason(key[0], previous, ours[key], theirs[key], model, reference, tolerance)
            break
    if error is not None and not reason:
        reached = layers[-1].name if layers else "its beginning"
        reason = f"Your model agrees up to {reached} and then stops: {type(error).__name__}: {error}"
    unmatched = list(
        dict.fromkeys(name for name, _ in [*theirs, *ours] if ((name, 0) in theirs) != ((name, 0) in ours))
    )
    return Comparison(layers, len(common), reason, unmatched)


@dataclass
class _Call:
    inputs: list[Tensor]
    outputs: list[Tensor]


def _trace(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[dict[tuple[str, int], _Call], Exception | None]:
    """Each layer's inputs and outputs by (name, number of the call), as they finish, and what was raised."""
    calls: dict[tuple[str, int], _Call] = {}
    count: Counter[str] = Counter()
    handles = []

    def watch(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, inputs: Any, named_inputs: Any, outputs: Any) -> None:
            calls[name, count[name]] = _Call(_tensors([inputs, named_inputs]), _tensors(outputs))
            count[name] += 1

        handles.append(module.register_forward_hook(hook, with_kwargs=True))

    for name, module in model.named_modules():
        watch(name, module)
    error = None
    try:
        with torch.no_grad():
            model(*args, **kwargs)
    except Exception as raised:  # whatever a student's model raises belongs in the report
        error = raised
    finally:
        for handle in handles:
            handle.remove()
    return calls, error


def _tensors(value: Any) -> list[Tensor]:
    """All tensors in nested lists and dictionaries (diffusers' outputs are dictionaries), copied."""
    if isinstance(value, Tensor):
        return [value.detach().clone()]
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    if len(ours) != len(theirs):
        return float("inf")
    return max((_tensor_difference(a, b) for a, b in zip(ours, theirs, strict=True)), default=0.0)


def _tensor_difference(ours: Tensor, theirs: Tensor) -> float:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return float("inf")
    if not ours.numel():
        return 0.0
    a, b = ours.double(), theirs.double()
    difference = ((a - b).abs().max() / b.abs().max().clamp(min=1)).item()
    return difference if difference == difference else float("inf")  # NaN is not equal to itself


def _reason(
    name: str,
    previous: str | None,
    ours: _Call,
    theirs: _Call,
    model: nn.Module,
    reference: nn.Module,
    tolerance: float,
) -> str:
    """Say in a sentence or two what kind of mistake the first difference is."""
    here = name or "the model"
    first = [
        f"{tuple(t.shape)} {t.dtype}".replace("torch.", "") for t in (*ours.outputs[:1], *theirs.outputs[:1])
    ]
    shapes = (
        f" Yours is {first[0]}, the reference {first[1]}." if len(first) == 2 and first[0] != first[1] else ""
    )
    # one model may hand its layers more than the other does: compare what both hand over
    common = min(len(ours.inputs), len(theirs.inputs))
    if _difference(ours.inputs[:common], theirs.inputs[:common]) > tolerance:
        parent = name.rpartition(".")[0] or "the model"
        since = f" after {previous}" if previous else ""
        return (
            f"{here} is the first to differ, but what reaches it differs already: look at what {parent} "
            f"does{since} and before it calls {here}.{shapes}"
        )
    weights = dict(model.get_submodule(name).named_parameters(recurse=False))
    for key, theirs_weight in reference.get_submodule(name).named_parameters(recurse=False):
        if key in weights and _tensor_difference(weights[key], theirs_weight) > tolerance:
            return (
                f"{here} is the first to differ: same input, but its {key} is another. Load the same weights."
                f"{shapes}"
            )
    if any(True for _ in reference.get_submodule(name).children()):
        return (
            f"{here} is the first to differ: its input and the layers inside agree, so look at how its own "
            f"forward puts them together.{shapes}"
        )
    return (
        f"{here} is the first to differ: same input, same weights, so its own computation is another.{shapes}"
    )


# ------------------------------------------------------------------------------------------ the command line

EXAMPLES = {"sd15": (SD15, 0), "sdxl": (SDXL, 6), "refiner": (REFINER, 5)}
"""Name -> the full-size configuration and how many micro-conditioning ids it reads."""


def example(name: str, seed: int = 0) -> tuple[UNetConfig, dict[str, Any]]:
    """A tiny UNet of the structure `name` ("sd15", "sdxl" or "refiner"), and random inputs for it."""
    full, ids = EXAMPLES[name]
    pooled, id_dim = 32, 8
    config = replace(
        full,
        block_out_channels=tuple(16 * block for block in range(1, len(full.block_out_channels) + 1)),
        attention_head_dim=2,
        transformer_layers_per_block=tuple(min(n, 2) for n in full.per_block("transformer_layers_per_block")),
        cross_attention_dim=24,
        norm_num_groups=8,
        addition_time_embed_dim=id_dim if ids else None,
        projection_class_embeddings_input_dim=pooled + ids * id_dim if ids else None,
    )
    generator = torch.Generator().manual_seed(seed)
    inputs: dict[str, Any] = {
        "sample": torch.randn(2, config.in_channels, 16, 16, generator=generator),
        "timestep": torch.tensor([999, 20]),
        "encoder_hidden_states": torch.randn(2, 7, config.cross_attention_dim, generator=generator),
    }
    if ids:
        inputs["added_cond_kwargs"] = {
            "text_embeds": torch.randn(2, pooled, generator=generator),
            "time_ids": torch.randint(0, 1024, (2, ids), generator=generator).float(),
        }
    return config, inputs


def _load_class(target: str) -> type[nn.Module]:
    """The class that "file.py:Name" names."""
    file, _, name = target.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise LessonError(f"There is no file {file!r}: write the model as my_unet.py:MyUNet.")
    spec = importlib.util.spec_from_file_location(f"student_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise LessonError(f"{file} holds no {name!r}.")
    return getattr(module, name)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare a student's UNet with this package's at a tiny size; 0 if they agree, 1 if not."""
    parser = argparse.ArgumentParser(prog="python -m lessonlib.scratch.debug", description=main.__doc__)
    parser.add_argument("model", help="my_unet.py:MyUNet, a class that takes a UNetConfig")
    parser.add_argument("--config", choices=EXAMPLES, default="sd15", help="structure (default: sd15)")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, help="largest difference that counts as equal"
    )
    options = parser.parse_args(argv)
    config, inputs = example(options.config)
    try:
        model, reference = _load_class(options.model)(config), UNet(config)
        load_weights(model, reference.state_dict())
        comparison = compare(model.eval(), reference.eval(), tolerance=options.tolerance, **inputs)
    except LessonError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(comparison)
    return 0 if comparison.agrees else 1


if __name__ == "__main__":
    sys.exit(main())
