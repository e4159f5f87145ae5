"""What a student sees: the check when the cell runs, hints, the solution, progress. Never a traceback."""

from __future__ import annotations

import gzip
import inspect
import json
from pathlib import Path

import pytest
import torch

from lessonlib.grading import exercise, hint, journal, practice, progress, solution, solved, tasks

TASK = tasks.get("cfg")


def right(noise_pred: torch.Tensor, guidance_scale: float) -> torch.Tensor:
    """Keeps its docstring."""
    uncond, cond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)


def swapped(noise_pred, guidance_scale):
    cond, uncond = noise_pred.chunk(2)
    return uncond + guidance_scale * (cond - uncond)


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    return captured.out


def test_the_function_comes_back_as_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    assert exercise("cfg")(right) is right
    assert right.__doc__ == "Keeps its docstring."
    assert list(inspect.signature(right).parameters) == ["noise_pred", "guidance_scale"]
    assert "solved (10 of 10 points)" in shown(capsys)


def test_a_known_mistake_gets_its_own_hint_and_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    exercise("cfg")(swapped)
    text = shown(capsys)
    assert "known mistake: swapped" in text
    assert "empty prompt first" in text
    for other in TASK.misconceptions:
        assert other.name == "swapped" or other.hint[:40] not in text


def test_the_first_differing_value_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    def one_off(noise_pred, guidance_scale):
        answer = right(noise_pred, guidance_scale)
        answer[1, 2, 3, 4] = 42.0
        return answer

    exercise("cfg")(one_off)
    text = shown(capsys)
    assert "1 of " in text
    assert "[1, 2, 3, 4]" in text
    assert "42" in text


def test_a_common_factor_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    exercise("cfg")(lambda n, w: 2 * right(n, w))
    assert "your values are 2 times the expected ones" in shown(capsys)


@pytest.mark.parametrize("misuse", [None, 3, "", "cgf", [], ("cfg",)])
def test_misuse_of_the_decorator_is_one_sentence(misuse, capsys: pytest.CaptureFixture[str]) -> None:
    assert exercise(misuse)(right) is right
    assert "There is no exercise" in shown(capsys)


def test_the_decorator_without_a_name_asks_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert exercise(right) is right  # type: ignore[arg-type]
    assert '@exercise("cfg")' in shown(capsys)


def test_something_else_than_a_function_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert exercise("cfg")(3) == 3  # type: ignore[type-var]
    assert "stands over a function" in shown(capsys)


def test_hints_come_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    for level in (1, 2, 3, 3):
        hint("cfg")
        assert f"hint {level} of 3" in shown(capsys)
    hint("cfg", 1)
    assert "hint 1 of 3" in shown(capsys)
    for nonsense in (0, 4, "1"):
        hint("cfg", nonsense)  # type: ignore[arg-type]
        assert "There are hints 1 to 3" in shown(capsys)
    assert journal.standings()["cfg"].hints == 3


def test_the_solution_is_shown_when_asked_twice(capsys: pytest.CaptureFixture[str]) -> None:
    solution("cfg")
    assert "return noise_pred_uncond" not in shown(capsys)
    solution("cfg")
    assert "return noise_pred_uncond" in shown(capsys)


def test_the_solution_is_shown_at_once_after_passing(capsys: pytest.CaptureFixture[str]) -> None:
    exercise("cfg")(right)
    solution("cfg")
    assert "return noise_pred_uncond" in shown(capsys)


def test_solved_follows_the_latest_answer_of_this_session(capsys: pytest.CaptureFixture[str]) -> None:
    assert not solved("cfg")
    assert "solve the exercise first" in shown(capsys)
    exercise("cfg")(right)
    assert solved("cfg")
    exercise("cfg")(swapped)
    assert not solved("cfg")
    assert not solved("nothing")


def test_progress_remembers_a_pass_after_a_later_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    total = sum(task.points for task in tasks.all_tasks())
    progress()
    assert f"0 of {total} points" in shown(capsys)
    exercise("cfg")(swapped)
    shown(capsys)
    progress()
    assert "tried (swapped)" in shown(capsys)
    exercise("cfg")(right)
    exercise("cfg")(swapped)
    shown(capsys)
    progress()
    text = shown(capsys)
    assert f"10 of {total} points" in text
    assert "solved" in text


def test_the_stub_counts_as_no_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    exercise("cfg")(lambda n, w: ...)
    assert "your turn" in shown(capsys)
    assert journal.standings() == {}


def test_a_check_works_where_progress_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("LESSON_STATE", str(tmp_path / "file" / "below"))
    exercise("cfg")(right)
    text = shown(capsys)
    assert "solved (10 of 10 points)" in text
    assert "Your progress is not kept" in text
    assert solved("cfg")
    hint("cfg")
    assert "hint 1 of 3" in shown(capsys)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.unlink(),
        lambda p: p.write_bytes(b"\xff" * 100),
        lambda p: p.write_bytes(p.read_bytes()[:-20]),
        lambda p: p.write_bytes(gzip.compress(gzip.decompress(p.read_bytes())[:-20])),
    ],
)
def test_a_damaged_reference_file_is_one_sentence(
    damage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from lessonlib.grading import references

    copy = tmp_path / "cfg.safetensors.gz"
    copy.write_bytes(references.path(TASK).read_bytes())
    monkeypatch.setattr(references, "FOLDER", tmp_path)
    damage(copy)
    exercise("cfg")(right)
    assert "lesson exercises build" in shown(capsys)
    assert not solved("cfg")


def test_a_fault_of_our_own_is_a_sentence_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(practice, "decide", lambda *args: 1 / 0)
    assert exercise("cfg")(right) is right
    assert "The check itself failed" in shown(capsys)


def test_a_notebook_gets_html_and_a_terminal_text(capsys: pytest.CaptureFixture[str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    try:
        with capture_output() as captured:
            exercise("cfg")(swapped)
        (output,) = captured.outputs
        assert "swapped" in output.data["text/plain"]
        page = output.data["text/html"]
        assert "known mistake: swapped" in page
        assert "data:image/png;base64," in page  # target beside yours
        assert "<strong>first</strong>" in page
    finally:
        InteractiveShell.clear_instance()
        del shell


def test_the_journal_says_what_happened(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exercise("cfg")(swapped)
    exercise("cfg")(right)
    hint("cfg")
    events = [json.loads(line) for line in (state / "progress.jsonl").read_text().split("\n") if line]
    assert [(e["task"], e["event"], e["detail"]) for e in events] == [
        ("cfg", "failed", "swapped"),
        ("cfg", "passed", "passed"),
        ("cfg", "hint", "1"),
    ]
