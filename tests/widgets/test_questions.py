"""Predictions: kept across sessions, the answer told only afterwards, nothing of them markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from lessonlib.errors import LessonError
from lessonlib.grading import journal
from lessonlib.widgets import guess, quiz

pytestmark = pytest.mark.usefixtures("state")
ASKED = ("01_sdxl.steps", "What do more `steps` cost?", ["time", "memory"], 0, "Each step is a **pass**.")


def test_the_browser_learns_the_answer_only_after_a_choice() -> None:
    one = quiz(*ASKED)
    sent = one.get_state()
    assert (sent["right"], sent["why"]) == (None, "")
    assert "pass" not in str(one.card())
    one.choice = 1
    sent = one.get_state()
    assert (one.value, sent["right"], sent["problem"]) == ("memory", 0, "")
    assert sent["why"] == "Each step is a <strong>pass</strong>."
    assert "You predicted B; A is right." in str(one.card())


def test_a_choice_is_there_tomorrow_and_can_be_changed() -> None:
    quiz(*ASKED).choice = 1
    again = quiz(*ASKED)
    assert (again.value, again.right) == ("memory", 0)
    again.choice = None
    assert (again.value, again.right, again.why) == (None, None, "")
    again.choice = 0
    assert quiz(*ASKED).value == "time"
    lines = journal.path().read_text().split()
    quiz(*ASKED)  # showing it again adds nothing
    assert journal.path().read_text().split() == lines


def test_a_choice_that_is_no_longer_offered_is_none() -> None:
    quiz(*ASKED).choice = 1
    name, question, _, answer, why = ASKED
    assert quiz(name, question, ["time", "nothing"], answer, why).value is None
    assert quiz(name, question, ["memory", "time"], 1, why).choice == 0  # its text counts, not its place


def test_a_choice_of_another_question_is_not_this_ones() -> None:
    quiz(*ASKED).choice = 1
    assert quiz("other", *ASKED[1:]).value is None


def test_answers_are_no_progress_and_progress_is_no_answer() -> None:
    quiz("cfg", *ASKED[1:]).choice = 0
    assert journal.standings() == {}
    journal.record("cfg", "failed", "memory")
    assert journal.standings()["cfg"].attempts == 1
    assert journal.answers() == {"cfg": "time"}


@pytest.mark.parametrize(
    ("choices", "answer", "said"),
    [(["a"], 0, "two or more"), (["a", "a"], 0, "all different"), (["a", "b"], 2, "0 to 1")],
)
def test_a_question_that_makes_no_sense_is_refused(choices: list[str], answer: int, said: str) -> None:
    with pytest.raises(LessonError, match=said):
        quiz("id", "?", choices, answer, "")


def test_nothing_in_a_question_is_markup() -> None:
    bad = "<img src=x onerror=alert(1)>"
    one = quiz("id", bad, [bad, "b"], 0, bad)
    one.choice = 0
    shown = [one.question, one.choices[0], one.why, guess("g", bad, 0, 1).question, one.card()._repr_html_()]
    for text in shown:
        assert "&lt;img" in text
        assert "<img" not in text


def test_a_guess_is_a_number_in_range_and_is_kept() -> None:
    one = guess("g", "How many?", 0, 12, "steps")
    assert one.told == "none yet"
    assert one.value is None
    assert "a number from 0 to 12 steps" in str(one.card())
    one.value = 13
    assert (one.value, one.problem) == (None, "Give a number from 0 to 12 steps.")
    one.value = 7.5
    assert one.problem == ""
    assert guess("g", "How many?", 0, 12, "steps").value == 7.5
    assert guess("g", "How many?", 0, 12, "steps").told == "7.5 steps"
    assert "Your guess: 7.5 steps" in str(one.card())
    assert guess("g", "How many?", 0, 5).value is None  # the range has changed since


def test_not_a_number_is_no_guess() -> None:
    one = guess("g", "How many?", 0, 12)
    one.value = float("nan")
    assert one.value is None
    assert journal.answers() == {}


def test_a_guess_between_nothing_is_refused() -> None:
    with pytest.raises(LessonError, match="low must be below high"):
        guess("g", "How many?", 3, 3)


def test_what_cannot_be_kept_is_still_answered(state: Path) -> None:
    state.write_text("a file where a folder should be")
    one, two = quiz(*ASKED), guess("g", "How many?", 0, 12)
    one.choice, two.value = 0, 3
    assert (one.right, two.value) == (0, 3)
    assert "LESSON_STATE" in one.problem
    assert "LESSON_STATE" in two.problem
