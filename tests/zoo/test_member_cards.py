"""A card tells how a member was trained, from the run's own files."""

import json

import pytest

from lessonlib.errors import LessonError
from lessonlib.zoo import cards
from lessonlib.zoo.recipes import Recipe

RECIPE = Recipe("model", "sd15", "A model.", data="Some data.")


def run(runs, times, *, start="scratch", seed=1):
    folder = runs / "model"
    folder.mkdir(parents=True, exist_ok=True)
    plan = {"steps": 100, "batch": 4, "learning_rate": 1e-3, "seed": seed, "start": start}
    (folder / "plan.json").write_text(json.dumps(plan))
    rows = [{"step": 25 * (k + 1), "loss": 1 / (k + 1), "lr": 0.1, "time": t} for k, t in enumerate(times)]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def ship(runs, weights):
    return cards.write(cards.card_of(RECIPE, runs, weights), weights)


def written(path):
    return json.loads(path.read_text())


def test_a_card_counts_work_and_not_pauses(tmp_path):
    run(tmp_path, [0, 10, 20, 5000, 5010])
    card = written(ship(tmp_path, tmp_path / "weights"))
    assert card["what"] == "A model."
    assert card["data"] == "Some data."
    (training,) = card["trainings"]
    assert training["steps"] == 125
    assert training["seconds"] == 40  # three gaps of ten and the first row's own; the pause is none
    assert training["last"] == {"loss": 0.2}


def test_a_run_from_the_shipped_weights_goes_on_with_their_history(tmp_path):
    weights = tmp_path / "weights"
    run(tmp_path, [0, 10])
    ship(tmp_path, weights)
    run(tmp_path, [0, 20], start="shipped", seed=2)
    ship(tmp_path, weights)
    ship(tmp_path, weights)  # the same run once more
    assert [one["plan"]["seed"] for one in cards.cards(weights)["model"]["trainings"]] == [1, 2]


def test_a_run_from_scratch_begins_a_new_history(tmp_path):
    weights = tmp_path / "weights"
    run(tmp_path, [0, 10])
    ship(tmp_path, weights)
    run(tmp_path, [0, 10], seed=5)
    ship(tmp_path, weights)
    assert [one["plan"]["seed"] for one in cards.cards(weights)["model"]["trainings"]] == [5]


def test_a_run_that_does_not_tell_its_training_may_not_make_a_card_forget(tmp_path):
    weights = tmp_path / "weights"
    run(tmp_path, [0, 10])
    before = ship(tmp_path, weights).read_text()
    (tmp_path / "model/plan.json").unlink()
    with pytest.raises(LessonError, match=r"plan\.json is missing.*lesson zoo train model"):
        ship(tmp_path, weights)
    assert (weights / "cards/model.json").read_text() == before
