"""Ratios compare what took turns, and the written table says what was measured."""

import json
import time

import pytest
from typer.testing import CliRunner

from lessonlib import bench, cli
from lessonlib.bench import course, rows


def test_ratios_tell_which_is_slower():
    slow, fast, ratio = rows.in_turns(lambda: time.sleep(0.02), lambda: time.sleep(0.002), 3)
    assert slow > fast
    assert ratio > 2


def test_the_median_of_the_ratios_is_not_the_ratio_of_the_medians():
    assert rows.medians([(1, 1), (2, 4), (9, 3)]) == (2, 3, 1)


def test_importing_the_package_is_measured_against_an_empty_process():
    found = {row.name: row for row in course.imports()}
    ours = found["import lessonlib"]
    assert ours.against in found
    assert ours.value > 0
    assert ours.ratio > 0


def test_the_files_hold_every_row_and_say_that_no_gpu_took_part(tmp_path):
    table = [
        bench.Row("a", 1.0, "s"),
        bench.Row("b", 2.0, "s", "a", 2.0),
        bench.Row("c", None, "s", note="failed: OutOfMemoryError"),
    ]
    json_file, markdown = bench.write(table, tmp_path)
    written = json.loads(json_file.read_text())
    assert [row["name"] for row in written["rows"]] == ["a", "b", "c"]
    text = markdown.read_text()
    assert "| b | 2 s | 2.00 | a |" in text
    assert "| c | failed: OutOfMemoryError |" in text
    assert "have not been measured" in text
    bench.write([bench.Row("d", 1.0, "s", device="cuda")], tmp_path)
    assert "have not been measured" not in markdown.read_text()


def test_one_section_is_printed_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(bench.SECTIONS, "world", lambda: iter([bench.Row("render", 1.5, "ms")]))
    result = CliRunner().invoke(cli.app, ["bench", "--only", "world"])
    assert result.exit_code == 0, result.output
    assert "| render | 1.5 ms |" in result.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["--only", "wrld"]])
def test_an_unknown_section_is_named(arguments):
    result = CliRunner().invoke(cli.app, ["bench", *arguments])
    assert result.exit_code == 1
    assert "no section called 'wrld'" in result.output
