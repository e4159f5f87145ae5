"""What instructors and students get: right numbers, nothing executable, nothing secret."""

from __future__ import annotations

import csv
import html.parser
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lessonlib.grading import tasks
from lessonlib.grading.answers import Output, read
from lessonlib.grading.deciding import decide
from lessonlib.grading.grade import Terms, hidden_cases, judged
from lessonlib.grading.outputs import gradescope, report, tables
from lessonlib.grading.outputs.feedback import lines
from lessonlib.grading.outputs.text import cell, printable, slug
from lessonlib.grading.outputs.write import write_all
from lessonlib.grading.sandbox import wire
from lessonlib.grading.sandbox.supervisor import Limits, Reply

TASK = tasks.get("cfg")
SEED = "a secret that nobody knows"
TERMS = Terms(SEED, "sandboxed", task_ids=("cfg",))
EVIL = '=HYPERLINK("http://x")<script>alert(1)</script>\x1b[2J\u202e"onload=x'


def grade_of(outputs: list[Output]) -> dict[str, Any]:
    hidden, _ = hidden_cases("cfg", SEED)
    reply = Reply("done", wire.pack_outputs(outputs))
    return judged(TASK, hidden, reply, "def answer(n, w):\n    return n\n", Limits())


def row(identity: str, grade: dict[str, Any], name: str = "", **more: Any) -> dict[str, Any]:
    return {
        "student": {"id": identity, "name": name or identity, "on_roster": True},
        "submission": "digest",
        "points": grade["points"],
        "of": grade["of"],
        "tasks": [grade],
        "notes": [],
        "seconds": 0.1,
        "graded": "2026-01-01T00:00:00+00:00",
        **{key: value for key, value in TERMS.stamp().items() if key != "tasks"},
        **more,
    }


@pytest.fixture(scope="module")
def hidden() -> list:
    return hidden_cases("cfg", SEED)[0]


@pytest.fixture(scope="module")
def rows(hidden) -> list[dict[str, Any]]:
    right = [read(TASK.reference(**case.inputs)) for case in hidden]
    swapped = [read(TASK.misconceptions[0].answer(**case.inputs)) for case in hidden]
    leak = Output(
        "error", about=f"ValueError: {hidden[0].inputs['noise_pred'].tolist()}", line="line 2: " + EVIL
    )
    return [
        row("ada", grade_of(right), "Ada"),
        row("bob", grade_of(swapped), "Bob"),
        row("cy", grade_of(swapped), EVIL, notes=[f"{EVIL}.ipynb cannot be read as a notebook."]),
        row("dan", grade_of([leak]) | {"place": EVIL}, "Dan"),
        row("eve", grade_of([Output("object", about=EVIL)]), EVIL),
        row("../fay", judged(TASK, hidden, Reply("timeout"), "", Limits()), "Fay"),
        row("gus", judged(TASK, hidden, Reply("done", b"junk"), "", Limits()), "Gus"),
        row("nora", grade_of([Output("unsolved")]), "Nora", submission=""),
    ]


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list]] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, attrs))


def test_grades_and_reasons(rows: list[dict[str, Any]]) -> None:
    found = [(r["points"], r["tasks"][0]["kind"]) for r in rows]
    assert found[:5] == [
        (10, "passed"),
        (0, "misconception"),
        (0, "misconception"),
        (0, "error"),
        (0, "object"),
    ]
    assert found[5:] == [(0, "timeout"), (0, "forged"), (0, "unsolved")]


def test_pages_hold_no_markup_but_ours_and_need_nothing_else(
    rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    write_all(rows, tmp_path, None, "Points")
    pages = [tmp_path / "report.html", *(tmp_path / "feedback").iterdir()]
    assert len(pages) == 1 + len(rows)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        tags = Tags()
        tags.feed(text)
        assert not [t for t, a in tags.found if t in ("script", "img", "link", "iframe", "a", "object")]
        assert not [
            a for _, attrs in tags.found for a in attrs if a[0].startswith("on") or a[0] in ("src", "href")
        ]
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "&lt;script&gt;" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_report_names_common_mistakes_and_what_to_look_at(rows, tmp_path: Path) -> None:
    report.write_class(rows, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "7 of 8 handed in" in text
    assert "on average 1.4" in text
    assert TASK.misconceptions[0].name in text
    assert "timeout: It ran longer than 10 s." in text
    assert "forged: " in text


def test_students_read_nothing_of_the_hidden_inputs(rows, hidden, tmp_path: Path) -> None:
    write_all(rows, tmp_path, None, "Points")
    secrets = [f"{value:.4f}" for value in hidden[0].inputs["noise_pred"].flatten().tolist()[:50]]
    secrets += [f"{value:.5g}" for value in hidden[0].expected.flatten()[:50]]
    secrets += [SEED, str(hidden[0].inputs["guidance_scale"])]
    for file in [*(tmp_path / "feedback").iterdir(), *(tmp_path / "gradescope").iterdir()]:
        text = file.read_text(encoding="utf-8")
        assert not [secret for secret in secrets if secret in text], file.name
        assert TERMS.stamp()["seed"] in text  # but which seed it was can be told


def test_feedback_is_in_our_words(rows: list[dict[str, Any]]) -> None:
    texts = {r["student"]["id"]: lines(r)[0] for r in rows}
    assert texts["ada"].reason == "Right."
    assert texts["bob"].hint == TASK.misconceptions[0].hint
    assert texts["dan"].reason == "Your code raised a ValueError."
    assert texts["dan"].code == "return n"  # the number of the line is believed, its text is not
    assert "object" not in texts["eve"].reason
    mine = Output("error", about="Leak_1_2_3_4: x")
    assert lines(row("x", grade_of([mine])))[0].reason == "Your code raised an error."


def test_words_are_shown_beside_a_model_answer(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    grade = rows[0]["tasks"][0] | {"words": [["<b>mine</b>", "the model"]]}
    report.write_student(row("ada", grade), tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert "the model" in text


def test_gradescope_gets_what_it_asks_for(rows: list[dict[str, Any]]) -> None:
    results = gradescope.results(rows[0])
    assert results["score"] == 10
    (test,) = results["tests"]
    assert (test["score"], test["max_score"], test["status"]) == (10, 10, "passed")
    assert results["stdout_visibility"] == "hidden"
    assert gradescope.results(rows[1])["tests"][0]["status"] == "failed"
    assert json.loads(json.dumps(results)) == results


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\uff1d1", "=cmd|' /C calc'!A0"]
)
def test_a_formula_is_only_text(text: str) -> None:
    assert cell(text).lstrip()[0] not in "=+-@\uff1d"


@pytest.mark.parametrize("text", ["10", "-5", "2.5", "Ada", "Lovelace, Ada", "", "Émmy"])
def test_what_is_no_formula_stays(text: str) -> None:
    assert cell(text) == text


def test_names_become_file_names(tmp_path: Path) -> None:
    names = ["ada", "../../etc/passwd", "", "a/b", "a_b", "a b", "x" * 500, "CON", "\x00", "ä"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    for one in slugs:
        assert (tmp_path / f"{one}.html").resolve().parent == tmp_path
        assert len(one) < 80
    assert slug("ada") == "ada"
    assert printable("a\x1bb\nc") == "a�b\nc"


def test_the_wide_table_has_a_row_a_student_and_a_column_an_exercise(rows, tmp_path: Path) -> None:
    tables.write_wide(rows, tmp_path / "grades.csv")
    table = list(csv.DictReader(io.StringIO((tmp_path / "grades.csv").read_text(encoding="utf-8"))))
    assert [line["cfg"] for line in table] == ["10", *["0"] * 7]
    assert table[2]["name"].startswith("'=")
    assert {line["isolation"] for line in table} == {"sandboxed"}


def test_the_roster_comes_back_filled_in(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    roster = tmp_path / "in.csv"
    roster.write_text(
        "Student,ID,Section,Homework 1 (77),Homework 10 (78)\n    Points Possible,,,10,5\n"
        '"Ada",ada,A,,3\n"Bob",bob,A,7,\n"Nora",nora,A,EX,\n"Zoe",zoe,A,4,\n'
    )
    tables.write_roster(rows, roster, "Homework 1", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines() == [
        "Student,ID,Section,Homework 1 (77),Homework 10 (78)",
        "    Points Possible,,,10,5",
        "Ada,ada,A,10,3",
        "Bob,bob,A,0,",
        "Nora,nora,A,EX,",
        "Zoe,zoe,A,4,",
    ]
    tables.write_roster(rows, roster, "New", tmp_path / "new.csv")
    assert (tmp_path / "new.csv").read_text().splitlines()[:3] == [
        "Student,ID,Section,Homework 1 (77),Homework 10 (78),New",
        "    Points Possible,,,10,5,10",
        "Ada,ada,A,,3,10",
    ]


def test_values_that_no_comparison_survives_score_nothing(hidden) -> None:
    shape, dtype = hidden[0].expected.shape, hidden[0].dtype
    for value in (np.full(shape, 1e308), np.full(shape, -np.inf), np.full(shape, np.nan)):
        output = Output("tensor", shape=shape, dtype=dtype, values=value)
        assert grade_of([output] * len(hidden))["points"] == 0
    assert not decide(TASK, hidden, []).passed


def test_a_grader_that_fails_gives_no_points(monkeypatch: pytest.MonkeyPatch) -> None:
    from lessonlib.grading import grade as grading

    def broken(*args: object) -> None:
        raise AssertionError

    monkeypatch.setattr(grading, "decide", broken)
    result = grade_of([Output("none")])
    assert (result["points"], result["kind"]) == (0, "grader")
