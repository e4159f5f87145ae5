"""`lesson exercises build`: everything that is derived from `solutions/` and the task files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lessonlib.errors import LessonError
from lessonlib.files import write_text
from lessonlib.grading import references, tasks
from lessonlib.grading.notebooks import answered, derive, notebooks, read, solution_text


def build(root: Path) -> list[Path]:
    """Write what is not up to date, remove exercises without a solution, and return the paths concerned.

    Raises:
        LessonError: `solutions/` is missing, a task's text or answer is not in its notebook, a marker is
            alone.
    """
    changed = []
    for path, text in _texts(root).items():
        if text is None:
            path.unlink()
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
        else:
            continue
        changed.append(path)
    for task in tasks.all_tasks():
        if not references.is_current(task):
            references.write(task)
            changed.append(references.path(task))
    return changed


def stale(root: Path) -> list[Path]:
    """The derived files that are not what `build` would leave.

    Raises:
        LessonError: as `build`.
    """
    found = [
        path
        for path, text in _texts(root).items()
        if (path.read_text(encoding="utf-8") if path.is_file() else None) != text
    ]
    return found + [references.path(task) for task in tasks.all_tasks() if not references.is_current(task)]


def course_root() -> Path:
    """The folder with `solutions/`: where one stands, or the clone this package was installed from.

    Raises:
        LessonError: neither has one.
    """
    import lessonlib

    for folder in (Path.cwd(), Path(lessonlib.__file__).parents[1]):
        if (folder / "solutions").is_dir():
            return folder
    raise LessonError(f"No solutions/ in {Path.cwd()}: go to the folder you cloned the course into.")


def _texts(root: Path) -> dict[Path, str | None]:
    """Derived file -> its text, or None where a file must go."""
    solved = {path.name: path.read_text(encoding="utf-8") for path in notebooks(root / "solutions")}
    if not solved:
        raise LessonError(
            f"No notebook in {root / 'solutions'}: go to the folder you cloned the course into."
        )
    texts: dict[Path, str | None] = {p: None for p in notebooks(root / "exercises") if p.name not in solved}
    texts |= {root / "exercises" / name: derive(text, name) for name, text in solved.items()}
    books = {name: read(text, name) for name, text in solved.items()}
    homes = dict(_homes({name: answered(book) for name, book in books.items()}))
    for task in tasks.all_tasks():
        name = f"{task.notebook}.ipynb"
        if homes.pop(task.id, None) != name:
            raise LessonError(
                f'solutions/{name} has no function under @exercise("{task.id}"): write the solution there.'
            )
        if not any(task.text in cell.source for cell in books[name].cells if cell.cell_type == "markdown"):
            raise LessonError(
                f"The text of exercise {task.id} in solutions/{name} is not the one in "
                f"grading/tasks/{task.id}.py: make "
                "them equal."
            )
        texts[references.solution_path(task)] = solution_text(books[name], task.id)
    for task_id, name in homes.items():
        raise LessonError(
            f"solutions/{name} answers exercise {task_id}, which has no file in grading/tasks/: add it."
        )
    return texts


def _homes(answered_by: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for name, task_ids in answered_by.items():
        for task_id in task_ids:
            if task_id in seen:
                raise LessonError(
                    f"Exercise {task_id} is answered twice, again in solutions/{name}: keep one."
                )
            seen.add(task_id)
            yield task_id, name
