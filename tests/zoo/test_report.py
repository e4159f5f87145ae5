"""The report says what was measured and what could not be, of the weights that ship."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lessonlib.cli import app
from lessonlib.models import store
from lessonlib.zoo import report
from lessonlib.zoo.measures import FAMILIES, family, shipped_families, weights
from lessonlib.zoo.measures.rows import Row, Sheet, number

ROWS = [
    Row("model", "object", "seen", 0.9, 0.85, 0.93, 300, bar=0.85),
    Row("model", "object, of the teacher's", "2 steps", 0.9, 0.85, 0.93, 300, bar=0.92),
    Row("model", "kid", "seen", 0.01234567, 0.01, 0.02, 300, higher_is_better=False),
    Row("model", "correlation", "crop and shift", float("nan"), float("nan"), float("nan"), 0, bar=0.8),
]
SHEET = Sheet("model", "Two pictures.", [("", [np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)])])


def run(*arguments):
    return CliRunner().invoke(app, ["zoo", "report", *map(str, arguments)])


@pytest.fixture
def measured(monkeypatch):
    """Families that are measured at once; how often each was."""
    counts = Counter()

    def stand_in(name):
        def measure(n, seed, judge, tick, members=(name,)):
            rows = [replace(row, member=one, n=n, value=counts[name]) for one in members for row in ROWS]
            counts[name] += 1
            return rows, [replace(SHEET, name=one) for one in members]

        return measure

    for name in FAMILIES:
        monkeypatch.setattr(family(name), "measure", stand_in(name))
    return counts


def test_rows_pictures_and_cards_are_written(tmp_path):
    report.keep(tmp_path, "vae", 300, 7, weights("vae"), ROWS, [SHEET])
    assert len(report.write(tmp_path)) == len(ROWS)
    stored = json.loads((tmp_path / "zoo.json").read_text(), parse_constant=pytest.fail)
    assert [row["value"] for row in stored] == [0.9, 0.9, 0.01235, None]
    page = (tmp_path / "zoo.md").read_text()
    assert "| model | object | seen | 90.0 % | 85.0 % to 93.0 % | 85.0 % reached | 300 |" in page
    assert "| 92.0 % **missed** | 300 |" in page
    assert "| model | kid | seen | 0.0123 |" in page
    assert "| model | correlation | crop and shift | unknown |" in page
    assert "![model](images/zoo-model.webp)" in page
    assert "### sd15" in page
    assert "`lesson zoo train sd15`" in page
    assert "measured again" not in page
    assert Image.open(tmp_path / "images/zoo-model.webp").size == (8 + 3 + 8, 8)


def test_what_follows_the_comma_keeps_the_unit():
    assert number("psnr", 30.0) == "30.00 dB"
    assert number("object, 4 steps", 0.5) == "50.0 %"
    assert number("kid_gain", 0.01) == "+0.0100"


def test_every_family_says_what_it_measures():
    for name in FAMILIES:
        module = family(name)
        assert module.MEMBERS
        assert callable(module.measure)
        assert module.pictures(4) >= 0


def test_the_page_holds_every_family_that_was_measured(measured, tmp_path):
    assert run("--family", "vae", "--n", 4, "--docs", tmp_path).exit_code == 0
    result = run("--family", "judge", "--n", 4, "--docs", tmp_path, "--json")
    assert result.exit_code == 0, result.output
    assert [row["member"] for row in json.loads(result.stdout)] == ["judge"] * 4 + ["vae"] * 4


def test_a_family_is_measured_again_when_its_weights_or_the_wish_change(measured, tmp_path, monkeypatch):
    for n in (8, 8, 4):
        assert run("--family", "sd15", "--n", n, "--docs", tmp_path).exit_code == 0
    assert measured["sd15"] == 1
    run("--family", "sd15", "--n", 9, "--docs", tmp_path)
    run("--family", "sd15", "--n", 9, "--seed", 8, "--docs", tmp_path)
    assert measured["sd15"] == 3
    monkeypatch.setattr(store, "digest", lambda member: "other weights")
    report.write(tmp_path)
    assert "to be measured again: sd15" in (tmp_path / "zoo.md").read_text()
    run("--family", "sd15", "--n", 9, "--seed", 8, "--docs", tmp_path)
    assert measured["sd15"] == 4
    assert "measured again" not in (tmp_path / "zoo.md").read_text()
    run("--family", "sd15", "--n", 9, "--seed", 8, "--docs", tmp_path, "--again")
    assert measured["sd15"] == 5


def test_members_that_can_be_measured_apart_are_measured_alone(measured, tmp_path, monkeypatch):
    """One ControlNet is trained on: its rows are new, in their old place; the others' stay, until sd15 is another."""

    def values():
        kept = report.record(tmp_path, "controlnet")
        assert kept.weights == weights("controlnet")
        assert [name for name, _ in kept.sheets] == list(members)
        return list({row.member: row.value for row in kept.rows}.items())

    members, trained, true_digest = family("controlnet").MEMBERS, set(), store.digest
    monkeypatch.setattr(store, "digest", lambda member: "new" if member in trained else true_digest(member))
    command = ("--family", "controlnet", "--n", 4, "--docs", tmp_path)
    run(*command)
    assert values() == [(one, 0) for one in members]
    trained.add("controlnet-seg")
    run(*command)
    assert values() == [(one, int(one == "controlnet-seg")) for one in members]
    trained.add("sd15")
    run(*command)
    assert values() == [(one, 2) for one in members]
    run(*command)
    assert measured["controlnet"] == 3
    run(*command, "--n", 5)
    assert values() == [(one, 3) for one in members]


def test_what_was_measured_before_an_interruption_is_kept(measured, tmp_path, monkeypatch):
    def interrupted(n, seed, judge, tick):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(family("sd15"), "measure", interrupted)
        assert run("--n", 4, "--docs", tmp_path).exit_code != 0
    assert run("--n", 4, "--docs", tmp_path).exit_code == 0
    assert measured["judge"] == measured["vae"] == measured["sd15"] == 1


def test_an_unknown_family_is_named():
    result = run("--family", "sd16", "--json")
    assert result.exit_code == 1
    assert "'sd16'" in result.stderr


DOCS = Path(__file__).parents[2] / "docs"


def test_the_report_is_of_the_weights_that_ship():
    """Every shipped family was measured, on what ships now, and the page was made of these records."""
    records = {name: report.record(DOCS, name) for name in shipped_families()}
    assert [name for name, kept in records.items() if kept is None or kept.weights != weights(name)] == []
    rows = [report.as_json(row) for kept in records.values() for row in kept.rows]
    assert json.loads((DOCS / "zoo.json").read_text()) == rows
    for kept in records.values():
        assert all((DOCS / f"images/zoo-{name}.webp").is_file() for name, _ in kept.sheets)
