"""Shapes in signatures are checked: beartype enforces jaxtyping's annotations while the tests run."""

from jaxtyping import install_import_hook

install_import_hook("lessonlib.scratch", "beartype.beartype")
