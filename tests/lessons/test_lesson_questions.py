"""Questions and the notebooks that ask them belong together."""

import json
import re
from pathlib import Path

import pytest

from lessonlib.errors import LessonError
from lessonlib.lessons import ask
from lessonlib.lessons.questions import QUESTIONS

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def asked(path):
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.findall(r"\bask\(\"([\w.]+)\"\)", code)


def test_every_question_is_asked_once_by_the_notebook_it_is_named_after():
    found = {path.stem: asked(path) for path in NOTEBOOKS}
    assert sorted(name for names in found.values() for name in names) == sorted(QUESTIONS)
    for stem, names in found.items():
        assert all(name.startswith(f"{stem}.") for name in names)


def test_every_answer_is_one_of_several_choices():
    for question in QUESTIONS.values():
        assert 2 <= len(question.choices) == len(set(question.choices))
        assert 0 <= question.answer < len(question.choices)


def test_no_cell_shows_an_answer():
    for path in NOTEBOOKS:
        text = path.read_text()
        assert not [name for name in asked(path) if QUESTIONS[name].why in text]


def test_asking_gives_the_question_as_a_widget(tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_STATE", str(tmp_path))
    quiz = ask("06_optimisation.vae")
    assert quiz.value is None
    with pytest.raises(LessonError, match=r"no question 'vae'"):
        ask("vae")
