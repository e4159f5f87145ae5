"""Exercise notebooks: derived from the solved ones, and read for the answers in them.

What a student must write stands between two comments in a code cell of `solutions/`:

    # BEGIN SOLUTION
    ...
    # END SOLUTION

They are plain text, because cell metadata gets lost on the way through editors. Answers are found by the id
of their task, in the decorator `@exercise("cfg")`, wherever the cell has gone.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lessonlib.errors import LessonError

BEGIN, END = "# BEGIN SOLUTION", "# END SOLUTION"
STUB = "# your code here"

# Versions of the Python that ran the solution, widget state and the like are no part of an exercise.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


# --- From solutions/ to exercises/ --------------------------------------------------------------------------


def derive(solved: str, name: str) -> str:
    """The exercise notebook of a solved one: answers and outputs taken out, everything else as it was.

    Args:
        solved: the JSON text of the solved notebook.
        name: its file name, for messages and for the ids of cells that have none.

    Raises:
        LessonError: it is no notebook, or its markers do not pair up.
    """
    import nbformat

    book = read(solved, name)
    book.metadata = nbformat.from_dict(METADATA)
    book.nbformat, book.nbformat_minor = 4, 5
    for index, cell in enumerate(book.cells):
        cell.id = cell.get("id") or hashlib.sha256(f"{name}/{index}".encode()).hexdigest()[:8]
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k == "tags"})
        if cell.cell_type == "code":
            cell.source = stub(cell.source, f"{name}, cell {index + 1}")
            cell.outputs, cell.execution_count = [], None
    return nbformat.writes(book) + "\n"


def stub(source: str, where: str) -> str:
    """The cell without its answers: each marked block becomes `# your code here` and `...` (or `return ...`).

    Raises:
        LessonError: a marker without its partner.
    """
    kept: list[str] = []
    block: list[str] | None = None
    for line in source.splitlines():
        if line.strip() == BEGIN:
            if block is not None:
                raise LessonError(f"{where}: two '{BEGIN}' in a row; close the first with '{END}'.")
            block = []
            kept.append(line.replace(BEGIN, STUB))
        elif line.strip() == END:
            if block is None:
                raise LessonError(f"{where}: '{END}' without '{BEGIN}' before it.")
            indent = line[: line.index("#")]
            returns = any(inside.startswith(f"{indent}return") for inside in block)
            kept.append(f"{indent}return ..." if returns else f"{indent}...")
            block = None
        elif block is None:
            kept.append(line)
        else:
            block.append(line)
    if block is not None:
        raise LessonError(f"{where}: '{BEGIN}' without '{END}' after it.")
    return "\n".join(kept)


def read(text: str, name: str) -> Any:
    """Parse a notebook.

    Raises:
        LessonError: it is none.
    """
    import nbformat

    try:
        book = nbformat.reads(text, as_version=4)
        if not isinstance(book.cells, list):
            raise TypeError("no list of cells")
    except Exception as error:  # nbformat lets through whatever its parsers raise
        raise LessonError(
            f"{name} is not a notebook ({error}): open it in JupyterLab and save it again."
        ) from error
    return book


# --- Answers in a notebook ----------------------------------------------------------------------------------


def answer_source(book: Any, task_id: str) -> str | None:
    """A program that defines the answer to a task and everything in the notebook that it uses, and nothing
    more.

    That is the function under `@exercise(task_id)` (of several, the last), without the decorator, and the
    imports, functions, classes and assignments that it names, directly or through each other. Of a name that
    is defined several times, the last definition above the answer counts, as when its cell was run; one below
    only where there is none above. None if there is no answer.
    """
    statements = [statement for cell in book.cells for statement in _parse(cell)]
    at = max((i for i, statement in enumerate(statements) if _task_id(statement) == task_id), default=None)
    if at is None:
        return None
    answer = statements[at]
    definitions: dict[str, ast.stmt] = {}
    for statement in [*reversed(statements[at + 1 :]), *statements[: at + 1]]:
        definitions |= dict.fromkeys(_defines(statement), statement)
        if isinstance(statement, ast.FunctionDef) and _task_id(statement):
            statement.decorator_list = []  # an earlier exercise that the answer uses is not checked again
    needed: set[ast.stmt] = set()
    waiting: list[ast.stmt] = [answer]
    while waiting:
        statement = waiting.pop()
        if statement not in needed:
            needed.add(statement)
            names = {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}
            waiting += [definitions[name] for name in names & definitions.keys()]
    used = [statement for statement in statements if statement in needed - {answer}]
    return "\n\n".join(ast.unparse(statement) for statement in [*used, answer]) + "\n"


def answered(book: Any) -> list[str]:
    """The ids of the tasks that a notebook has answers (or stubs) for."""
    found = (_task_id(statement) for cell in book.cells for statement in _parse(cell))
    return [task_id for task_id in found if task_id]


def solution_text(book: Any, task_id: str) -> str | None:
    """The answer as its author wrote it, comments included, without decorator and markers."""
    for cell in reversed(book.cells):
        for statement in _parse(cell):
            if _task_id(statement) == task_id:
                lines = cell.source.splitlines()[statement.lineno - 1 : statement.end_lineno]
                return "\n".join(line for line in lines if line.strip() not in (BEGIN, END)) + "\n"
    return None


def load_answer(source: str, filename: str) -> Callable[..., Any]:
    """Run a program of `answer_source` and return the answer, its last function.

    For trusted sources alone: it runs in this process.
    """
    namespace: dict[str, Any] = {"__name__": filename}
    exec(compile(source, filename, "exec"), namespace)
    answer = ast.parse(source).body[-1]
    assert isinstance(answer, ast.FunctionDef)
    return namespace[answer.name]


def notebooks(folder: Path) -> list[Path]:
    """The notebooks of a folder, in order."""
    return sorted(path for path in folder.glob("*.ipynb") if not path.name.startswith("."))


def _parse(cell: Any) -> list[ast.stmt]:
    """The cell's statements; magics and shell lines are blanked, and a cell that is not Python has none."""
    if cell.cell_type != "code":
        return []
    try:
        return ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", cell.source)).body
    except (SyntaxError, ValueError):
        return []


def _task_id(statement: ast.stmt) -> str | None:
    """ "cfg" for a function under `@exercise("cfg")`."""
    for decorator in statement.decorator_list if isinstance(statement, ast.FunctionDef) else []:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).split(".")[-1] == "exercise":
            arguments = [*decorator.args, *(keyword.value for keyword in decorator.keywords)]
            if arguments and isinstance(arguments[0], ast.Constant) and isinstance(arguments[0].value, str):
                return arguments[0].value
    return None


def _defines(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in statement.names}
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return set()
