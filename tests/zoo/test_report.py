"""The report says what was measured and what could not be; a part is measured alone, never written as the whole."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lessonlib.cli import app
from lessonlib.zoo import report
from lessonlib.zoo.measures import FAMILIES, family
from lessonlib.zoo.measures.rows import Row, Sheet, number

ROWS = [
    Row("model", "object", "seen", 0.9, 0.85, 0.93, 300, bar=0.85),
    Row("model", "object, of the teacher's", "2 steps", 0.9, 0.85, 0.93, 300, bar=0.92),
    Row("model", "kid", "seen", 0.01234567, 0.01, 0.02, 300, higher_is_better=False),
    Row("model", "correlation", "crop and shift", float("nan"), float("nan"), float("nan"), 0, bar=0.8),
]
SHEET = Sheet("model", "Two pictures.", [("", [np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)])])


def test_rows_sheets_and_cards_are_written(tmp_path):
    paths = report.write(ROWS, [SHEET], tmp_path)
    assert all(path.is_file() for path in paths)
    stored = json.loads((tmp_path / "zoo.json").read_text(), parse_constant=pytest.fail)
    assert [row["value"] for row in stored] == [0.9, 0.9, 0.01235, None]
    page = (tmp_path / "zoo.md").read_text()
    assert "| model | object | seen | 90.0 % | 85.0 % to 93.0 % | 85.0 % reached | 300 |" in page
    assert "| 92.0 % **missed** | 300 |" in page
    assert "| model | kid | seen | 0.0123 |" in page
    assert "| model | correlation | crop and shift | unknown |" in page
    assert "![model](images/zoo-model.png)" in page
    assert "### sd15" in page
    assert "`lesson zoo train sd15`" in page
    assert Image.open(tmp_path / "images/zoo-model.png").size == (8 + 3 + 8, 8)


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


def test_a_part_of_the_report_is_never_written_as_the_whole(tmp_path):
    result = CliRunner().invoke(app, ["zoo", "report", "--family", "vae", "--docs", str(tmp_path)])
    assert result.exit_code == 1
    assert "add --json" in result.stderr
    assert not list(tmp_path.iterdir())


def test_one_family_is_measured_alone(monkeypatch):
    from lessonlib.zoo.measures import vae

    monkeypatch.setattr(vae, "measure", lambda n, seed, judge, tick: (ROWS, []))
    result = CliRunner().invoke(app, ["zoo", "report", "--family", "vae", "--json", "--n", "4"])
    assert result.exit_code == 0, result.output
    assert [row["metric"] for row in json.loads(result.stdout)] == [row.metric for row in ROWS]


def test_an_unknown_family_is_named():
    result = CliRunner().invoke(app, ["zoo", "report", "--family", "sd16", "--json"])
    assert result.exit_code == 1
    assert "'sd16'" in result.stderr
