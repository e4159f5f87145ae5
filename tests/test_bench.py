"""Ratios compare what took turns, and the written table says what was measured."""

import json
import time

from lessonlib import bench


def test_ratios_tell_which_is_slower():
    slow, fast, ratio = bench._in_turns(lambda: time.sleep(0.02), lambda: time.sleep(0.002), 3)
    assert slow > fast
    assert ratio > 2


def test_importing_the_package_is_measured_against_an_empty_process():
    rows = {row.name: row for row in bench.imports()}
    ours = rows["import lessonlib"]
    assert ours.against in rows
    assert ours.value > 0
    assert ours.ratio > 0


def test_the_files_hold_every_row(tmp_path):
    rows = [bench.Row("a", 1.0, "s"), bench.Row("b", 2.0, "s", "a", 2.0)]
    json_file, markdown = bench.write(rows, tmp_path)
    written = json.loads(json_file.read_text())
    assert [row["name"] for row in written["rows"]] == ["a", "b"]
    assert "| b | 2 s | 2.00 | a |" in markdown.read_text()
