"""Exercises are derived from solutions, and answers are found in whatever a notebook has become."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from lessonlib.errors import LessonError
from lessonlib.grading.notebooks import (
    BEGIN,
    END,
    STUB,
    answer_source,
    answered,
    derive,
    load_answer,
    read,
    solution_text,
    stub,
)


def book(*sources: str, **metadata):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.v4.new_notebook(cells=cells, metadata=metadata)


ANSWER = f'''@exercise("double")
def double(x):
    """Twice x."""
    # a remark that stays
    {BEGIN}
    two = 2
    return two * x
    {END}
'''


def test_a_block_with_a_return_becomes_a_stub_that_returns() -> None:
    assert stub(ANSWER, "here") == (
        '@exercise("double")\ndef double(x):\n    """Twice x."""\n    # a remark that stays\n'
        f"    {STUB}\n    return ..."
    )


def test_a_block_without_a_return_becomes_an_ellipsis() -> None:
    assert stub(f"a = 1\n{BEGIN}\nb = a + 1\n{END}\nprint(a)", "here") == f"a = 1\n{STUB}\n...\nprint(a)"
    nested = f"if x:\n    {BEGIN}\n    y = [\n        return_value]\n    {END}\nprint(y)"
    assert "return ..." not in stub(nested, "here")


@pytest.mark.parametrize("source", [BEGIN, END, f"{BEGIN}\n{BEGIN}\n{END}", f"{BEGIN}\n{END}\n{END}"])
def test_a_marker_alone_is_one_sentence(source: str) -> None:
    with pytest.raises(LessonError, match="cell 3"):
        stub(source, "x.ipynb, cell 3")


def solved_text() -> str:
    solved = book(
        "import torch", ANSWER, widgets={"state": 1}, kernelspec={"name": "other", "display_name": "Other"}
    )
    for index, cell in enumerate(solved.cells):
        cell.id = f"cell-{index}"
        cell.execution_count = 7
        cell.outputs = [nbformat.v4.new_output("stream", text="two * x = 4")]
        cell.metadata = nbformat.from_dict(
            {"execution": {"start": "now"}, "tags": ["keep"], "collapsed": True}
        )
    return nbformat.writes(solved)


def test_deriving_clears_what_is_not_the_exercise() -> None:
    text = derive(solved_text(), "a.ipynb")
    exercise = json.loads(text)
    nbformat.validate(nbformat.reads(text, as_version=4))
    assert [cell["id"] for cell in exercise["cells"]] == ["cell-0", "cell-1"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in exercise["cells"])
    assert all(cell["metadata"] == {"tags": ["keep"]} for cell in exercise["cells"])
    assert "widgets" not in exercise["metadata"]
    assert "two" not in text
    assert BEGIN not in text
    assert END not in text


def test_deriving_is_deterministic_and_stable() -> None:
    once = derive(solved_text(), "a.ipynb")
    assert derive(solved_text(), "a.ipynb") == once
    assert derive(once, "a.ipynb") == once


def test_cells_without_an_id_get_a_stable_one() -> None:
    old = json.loads(solved_text())
    old["nbformat_minor"] = 4
    for cell in old["cells"]:
        del cell["id"]
    text = json.dumps(old)
    assert derive(text, "a.ipynb") == derive(text, "a.ipynb")
    ids = [cell["id"] for cell in json.loads(derive(text, "a.ipynb"))["cells"]]
    assert len(set(ids)) == 2


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"cells": 3}', "not json", '{"nbformat": 4}'])
def test_what_is_no_notebook_is_one_sentence(text: str) -> None:
    with pytest.raises(LessonError, match=r"a\.ipynb is not a notebook"):
        read(text, "a.ipynb")


def test_an_answer_brings_what_it_uses_and_nothing_else() -> None:
    submitted = book(
        "%pip install x\n!ls\nimport math, os\nfrom math import pi as π",
        "this is not python",
        "raise RuntimeError('a cell that must not run')",
        "def helper(x):\n    return factor * x\nunused = 1 / 0",
        "factor = 3\ndef double(x): return None",
        '@exercise("double")\ndef double(x):\n    return helper(x) + math.floor(π)',
    )
    source = answer_source(submitted, "double")
    assert source is not None
    assert load_answer(source, "a.ipynb")(2) == 9
    assert "unused" not in source
    assert "exercise" not in source
    assert answer_source(submitted, "other") is None
    assert answered(submitted) == ["double"]


def test_the_last_answer_counts_wherever_its_cell_is() -> None:
    first = '@exercise("double")\ndef double(x):\n    return x'
    last = '@grading.exercise(task_id="double")\ndef renamed(x):\n    return 2 * x'
    source = answer_source(book(first, last), "double")
    assert source is not None
    assert load_answer(source, "a")(4) == 8


def test_of_helpers_with_one_name_the_one_above_the_answer_counts() -> None:
    """As in Jupyter: each exercise was checked when its cell ran, before the name was used again."""
    one, two, three = (
        f'def helper(x):\n    return {k} * x\n@exercise("{name}")\ndef {name}(x):\n    return helper(x)'
        for k, name in ((1, "one"), (2, "two"), (3, "three"))
    )
    submitted = book("import math as helper", one, two, three)
    for k, name in ((1, "one"), (2, "two"), (3, "three")):
        source = answer_source(submitted, name)
        assert source is not None
        assert load_answer(source, "a")(1) == k
    # cells in disorder: what is only below is better than nothing, and the nearest below is taken
    below = answer_source(
        book(
            '@exercise("early")\ndef early(x):\n    return late(x)',
            "def late(x):\n    return 5",
            "def late(x):\n    return 6",
        ),
        "early",
    )
    assert below is not None
    assert load_answer(below, "a")(1) == 5


def test_an_answer_may_call_itself_and_its_helper_may_too() -> None:
    source = answer_source(
        book(
            "def even(n):\n    return n == 0 or odd(n - 1)",
            '@exercise("o")\ndef odd(n):\n    return n > 0 and even(n - 1)',
        ),
        "o",
    )
    assert source is not None
    assert load_answer(source, "a")(7)


def test_an_earlier_exercise_that_an_answer_uses_comes_without_its_check() -> None:
    submitted = book(
        "from lessonlib.grading import exercise",
        '@exercise("one")\ndef one(x):\n    return x + 1',
        '@exercise("two")\ndef two(x):\n    return one(x) + 1',
    )
    source = answer_source(submitted, "two")
    assert source is not None
    assert "exercise" not in source
    assert load_answer(source, "submission.ipynb")(1) == 3


def test_the_solutions_text_is_its_authors() -> None:
    text = solution_text(book(ANSWER), "double")
    assert (
        text
        == 'def double(x):\n    """Twice x."""\n    # a remark that stays\n    two = 2\n    return two * x\n'
    )
    assert solution_text(book(ANSWER), "other") is None


def test_reading_survives_any_cell(root: Path) -> None:
    odd = book(
        "\x00",
        "if True:",
        "@exercise\ndef f(): ...",
        "@exercise()\ndef g(): ...",
        "@exercise(3)\ndef h(): ...",
    )
    odd.cells.append(nbformat.v4.new_markdown_cell('@exercise("double")'))
    assert answered(odd) == []
