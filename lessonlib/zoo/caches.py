"""Arrays that are computed once and afterwards read from disk, row by row as a step needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from lessonlib.files import replacing


def remembered(path: Path, count: int, blocks: Callable[[], Iterable[np.ndarray]], what: str) -> np.ndarray:
    """The array [count, ...] that lies in `path` (.npy), a read-only memory map; made out of `blocks()` if it is not there.

    Args:
        blocks: yields the rows in order, any number at a time, all of one shape and dtype.
        what: what the progress bar calls it.

    Raises:
        LessonError: the file cannot be written.
    """
    if not path.is_file():
        with replacing(path) as temporary, tqdm(total=count, desc=what, unit="row") as bar:
            _write(temporary, count, blocks(), bar)
    return np.load(path, mmap_mode="r")


def in_blocks(rows: Iterable[np.ndarray], size: int = 50) -> Iterator[np.ndarray]:
    """Single rows, stacked `size` at a time."""
    block: list[np.ndarray] = []
    for row in rows:
        block.append(row)
        if len(block) == size:
            yield np.stack(block)
            block = []
    if block:
        yield np.stack(block)


def _write(path: Path, count: int, blocks: Iterable[np.ndarray], bar: tqdm) -> None:
    array: np.memmap | None = None
    done = 0
    for block in blocks:
        if array is None:
            array = np.lib.format.open_memmap(path, "w+", block.dtype, (count, *block.shape[1:]))
        array[done : done + len(block)] = block
        done += len(block)
        bar.update(len(block))
    if array is None or done != count:
        raise ValueError(f"{done} rows were made for an array of {count}")
    array.flush()
