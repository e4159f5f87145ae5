"""`lesson exercises check` of single exercises."""

import json

from typer.testing import CliRunner

from lessonlib import cli

run = CliRunner().invoke


def test_one_exercise_checks_itself():
    result = run(cli.app, ["exercises", "check", "time_ids", "--json"])
    assert result.exit_code == 0
    numbers = json.loads(result.stdout)
    assert numbers["tasks"] == numbers["stubs_failing"] == numbers["solutions_passing"] == 1
    assert numbers["misconceptions"] == numbers["misconceptions_caught_with_own_hint"] > 0


def test_an_unknown_exercise_is_named_with_the_nearest():
    result = run(cli.app, ["exercises", "check", "time_idz"])
    assert result.exit_code == 1
    assert "time_ids" in result.output
