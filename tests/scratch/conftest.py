"""Shapes in signatures are checked: beartype enforces jaxtyping's annotations while the tests run."""

from jaxtyping import install_import_hook

# the tower: a whole number is a float too, as PEP 484 has it
CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"

install_import_hook("lessonlib.scratch", CHECKER)
