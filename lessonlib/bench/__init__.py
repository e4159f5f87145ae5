"""How fast things are on this machine: medians, and ratios of what ran side by side in one run.

Machines are noisy, so a single time means little; a ratio of two things that took turns means more. Nothing
here is a test. One file a section: `course`, `pictures`, `techniques`, `gpu`; `full_size` makes the full-size
models with random weights that `gpu` runs. `grading` compares graders; it takes long and is asked for by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lessonlib.bench import course, gpu, pictures, techniques
from lessonlib.bench.rows import Row, line, machine, read, write

__all__ = ["SECTIONS", "Row", "line", "machine", "read", "write"]

SECTIONS: dict[str, Callable[[], Iterator[Row]]] = {
    "import": course.imports,
    "world": course.world,
    "pictures": pictures.cold_warm_and_batches,
    "few-steps": pictures.few_steps,
    "memory": techniques.memory_table,
    "scratch": course.from_scratch,
    "gpu": gpu.full_size_models,
}
