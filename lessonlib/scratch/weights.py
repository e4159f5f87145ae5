"""Weights key by key: a state dict fits exactly, or the keys that do not are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from lessonlib.errors import LessonError

_SHOWN = 5  # keys named in an error; the rest are counted


def load_weights(model: nn.Module, state_dict: Mapping[str, Tensor], what: str | None = None) -> None:
    """Copy `state_dict` into `model`, if every key is there, none is left over and every shape agrees.

    Nothing is copied when anything is wrong.

    Args:
        model: filled in place.
        state_dict: its weights.
        what: the model's name in an error; its class by default.

    Raises:
        LessonError: naming the keys that are missing, unknown or of another shape.
    """
    wanted = model.state_dict()
    problems = [
        *_named("missing", (key for key in wanted if key not in state_dict)),
        *_named("unknown", (key for key in state_dict if key not in wanted)),
        *_named(
            "misshapen",
            (
                f"{key} {tuple(state_dict[key].shape)} instead of {tuple(tensor.shape)}"
                for key, tensor in wanted.items()
                if key in state_dict and state_dict[key].shape != tensor.shape
            ),
        ),
    ]
    if problems:
        raise LessonError(
            f"These weights do not fit {what or type(model).__name__}: {'; '.join(problems)}. "
            "Use the configuration these weights were saved with."
        )
    model.load_state_dict(state_dict)


def _named(kind: str, keys: Iterable[str]) -> list[str]:
    found = list(keys)
    if not found:
        return []
    rest = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return [f"{kind} {', '.join(found[:_SHOWN])}{rest}"]
