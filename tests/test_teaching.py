"""docs/teaching.md tells of every task, and its sums are those of the tasks."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from lessonlib.grading.tasks import all_tasks as tasks

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs/teaching.md").read_text()


def test_every_task_belongs_to_an_objective_or_a_section():
    mapping = TEXT[TEXT.index("## The lesson's objectives") : TEXT.index("| the lesson's own exercises")]
    named = Counter(re.findall(r"`([a-z0-9_]+)`", mapping))
    assert {task.id for task in tasks()} == set(named)
    assert set(named.values()) == {1}


def test_every_file_that_is_named_exists():
    for path in re.findall(r"`((?:scratch|pipelines|conditions)/[a-z_]*(?:/|\.py)?)`", TEXT):
        assert (ROOT / "lessonlib" / path).exists(), path
    for path in re.findall(r"\]\(\.\./((?:notebooks|exercises)/[^)]*)\)", TEXT):
        assert (ROOT / path).is_file(), path


@pytest.mark.parametrize("folder", ["notebooks", "exercises", "solutions"])
def test_no_notebook_has_a_dead_link(folder):
    for path in (ROOT / folder).glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_the_sums_are_those_of_the_tasks():
    rows = re.findall(
        r"^\| \d .*exercises/(\w+)\.ipynb\) \| (\d+) \| (\d+) \| (\d+) \| ([\d.]+) \|$", TEXT, re.M
    )
    assert len(rows) == 8
    for name, *sums in rows:
        mine = [task for task in tasks() if task.notebook == name]
        found = [len(mine), sum(task.minutes for task in mine), sum(task.points for task in mine)]
        assert found == [int(value) for value in sums[:3]], name
    totals = [sum(float(row[k]) for row in rows) for k in (1, 2, 3, 4)]
    (last,) = re.findall(
        r"^\| \| \| \| \*\*(\d+)\*\* \| \*\*(\d+)\*\* \| \*\*(\d+)\*\* \| \*\*(\d+)\*\* \|$", TEXT, re.M
    )
    assert totals == [float(value) for value in last]
