"""A run that is stopped and started again is the run that was never stopped."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lessonlib.errors import LessonError
from lessonlib.zoo.training import Network, Plan, draw, train

PLAN = Plan(steps=50, batch=4, learning_rate=1e-2, seed=3, warmup=5)


def network() -> Network:
    torch.manual_seed(0)
    return Network(line=nn.Linear(3, 1))


def loss(network, step):
    x = torch.randn(PLAN.batch, 3, generator=step.torch)
    slope = torch.tensor([1.0, -2.0, 0.5]) + torch.from_numpy(step.numpy.normal(0, 0.01, 3)).float()
    error = network.parts["line"](x).squeeze(1) - x @ slope
    return {"loss": error.square().mean()}


def interrupted_after(count, number=signal.SIGINT):
    def interrupting(network, step):
        if step.index == count:
            signal.raise_signal(number)
        return loss(network, step)

    return interrupting


def curve(folder):
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"]) for row in rows]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_resumed_run_ends_with_the_same_weights_and_curve(tmp_path, number):
    whole = train("line", network(), loss, PLAN, runs=tmp_path / "whole")
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        train("line", network(), interrupted_after(17, number), PLAN, runs=tmp_path / "cut")
    assert signal.getsignal(number) is before
    resumed = train("line", network(), loss, PLAN, runs=tmp_path / "cut")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert curve(tmp_path / "whole/line") == curve(tmp_path / "cut/line")


def test_training_learns(tmp_path):
    train("line", network(), loss, Plan(**{**vars(PLAN), "steps": 200, "learning_rate": 0.1}), runs=tmp_path)
    losses = [value for _, value in curve(tmp_path / "line")]
    assert losses[-1] < 0.1 * losses[0]


def test_a_run_with_another_plan_is_refused_and_left_alone(tmp_path):
    train("line", network(), loss, PLAN, runs=tmp_path)
    before = (tmp_path / "line/plan.json").read_text()
    with pytest.raises(LessonError, match=r"another plan .*learning_rate"):
        train("line", network(), loss, Plan(**{**vars(PLAN), "learning_rate": 1.0}), runs=tmp_path)
    assert (tmp_path / "line/plan.json").read_text() == before


def test_a_finished_run_does_not_train_again(tmp_path):
    train("line", network(), loss, PLAN, runs=tmp_path)
    again = train("line", network(), interrupted_after(0), PLAN, runs=tmp_path)
    assert all(torch.isfinite(p).all() for p in again.parameters())


def test_no_minutes_are_no_step(tmp_path):
    """So that a stopped run gives its averaged weights without learning on."""
    with pytest.raises(KeyboardInterrupt):
        train("line", network(), interrupted_after(17), PLAN, runs=tmp_path)
    train("line", network(), interrupted_after(18), PLAN, runs=tmp_path, minutes=0)
    progress = torch.load(tmp_path / "line/checkpoint/custom_checkpoint_1.pkl", weights_only=False)
    assert progress["step"] == 18


def test_groups_learn_at_their_own_rates(tmp_path):
    """AdamW's first step moves every weight by its learning rate, whatever the gradient."""
    torch.manual_seed(0)
    slow, fast, still = nn.Linear(3, 1), nn.Linear(3, 1), nn.Linear(3, 1)
    before = [layer.weight.detach().clone() for layer in (slow, fast, still)]
    plan = Plan(steps=1, batch=4, learning_rate=1e-3, seed=1, warmup=0, weight_decay=0.0, ema=False)

    def sum_of_all(network, step):
        x = torch.randn(4, 3, generator=step.torch)
        return {"loss": sum(part(x).square().mean() for part in network.parts.values())}

    train(
        "groups", Network(slow=slow, fast=fast, still=still), sum_of_all, plan,
        runs=tmp_path, rates=[(1.0, slow.parameters()), (8.0, fast.parameters())],
    )  # fmt: skip
    moved = [(layer.weight - was).abs() for layer, was in zip((slow, fast, still), before, strict=True)]
    torch.testing.assert_close(moved[0], torch.full((1, 3), 1e-3), rtol=1e-2, atol=0)
    torch.testing.assert_close(moved[1], torch.full((1, 3), 8e-3), rtol=1e-2, atol=0)
    assert not moved[2].any()


def test_two_processes_follow_the_mean_of_both_gradients(tmp_path):
    """torchrun's two processes end where one process ends that adds both losses itself."""
    plan = replace(PLAN, steps=40, optimizer="muon")

    def both(network, step):
        other = draw(plan, step.index, 1, step.device)
        return {"loss": (loss(network, step)["loss"] + loss(network, other)["loss"]) / 2}

    alone = train("line", network(), both, plan, runs=tmp_path / "alone")
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(script.parent)}
    for _ in range(2):  # the second call finds the run finished
        subprocess.run([*command, str(tmp_path)], check=True, env=environment, capture_output=True)
    together = torch.load(tmp_path / "together.pt", weights_only=True)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(together[name], value, rtol=0, atol=1e-4)
    one_of_them = train("line", network(), loss, plan, runs=tmp_path / "one")
    assert (one_of_them.parts["line"].weight - alone.parts["line"].weight).abs().max() > 1e-3
    assert json.loads((tmp_path / "together/line/plan.json").read_text())["processes"] == 2
    with pytest.raises(LessonError, match="processes"):
        train("line", network(), loss, plan, runs=tmp_path / "together")
