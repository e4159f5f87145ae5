"""Muon is torch's Muon, on the flattened kernels of convolutions as well; what is no matrix goes to AdamW."""

import signal

import pytest
import torch
from torch import nn

from lessonlib.zoo.optimizers import Muon, build, orthogonal
from lessonlib.zoo.training import Network, Plan, train


def layers() -> nn.Module:
    torch.manual_seed(0)
    parts = {
        "conv_in": nn.Conv2d(3, 8, 3),
        "conv": nn.Conv2d(8, 8, 3),
        "norm": nn.GroupNorm(2, 8),
        "line": nn.Linear(8, 8),
        "words": nn.Embedding(4, 8),
    }
    return nn.ModuleDict(parts)


@pytest.mark.parametrize("shape", [(8, 4, 3, 3), (40, 2, 1, 1), (6, 6, 1, 1)], ids=["wide", "tall", "square"])
def test_a_kernel_moves_as_its_flattened_matrix_does(shape):
    torch.manual_seed(1)
    kernel = nn.Parameter(torch.randn(shape))
    matrix = nn.Parameter(kernel.detach().flatten(1).clone())
    ours = Muon([(2.0, [kernel])], learning_rate=1e-2, weight_decay=0.1, dtype=torch.bfloat16)
    theirs = torch.optim.Muon([matrix], lr=2e-2, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        gradient = torch.randn(shape)
        kernel.grad, matrix.grad = gradient.clone(), gradient.flatten(1)
        ours.step()
        theirs.step()
    torch.testing.assert_close(kernel.detach().flatten(1), matrix.detach(), rtol=0, atol=0)


def test_newton_schulz_leaves_the_singular_vectors_and_evens_out_the_values():
    matrix = torch.randn(6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
    made = u.T @ orthogonal(matrix) @ vh.T
    diagonal = made.diagonal()
    torch.testing.assert_close(made, torch.diag(diagonal), rtol=0, atol=1e-9)
    assert values.max() > 2 * values.min()
    assert diagonal.min() > 0.6
    assert diagonal.max() < 1.3


def test_matrices_go_to_muon_and_the_rest_to_adamw():
    network = layers()
    groups = [(1.0, list(network.parameters()))]
    muon, adamw = build("muon", network, groups, 1e-3, (0.9, 0.99), 0.01)
    shapes = [tuple(p.shape) for group in muon.param_groups for p in group["params"]]
    assert shapes == [(8, 8, 3, 3), (8, 8)]  # the inner convolution and the linear layer
    both = sum(p.numel() for one in (muon, adamw) for group in one.param_groups for p in group["params"])
    assert both == sum(p.numel() for p in network.parameters())


def test_adamw_alone_takes_everything():
    network = layers()
    (adamw,) = build("adamw", network, [(1.0, list(network.parameters()))], 1e-3, (0.9, 0.99), 0.01)
    assert len(adamw.param_groups[0]["params"]) == len(list(network.parameters()))


def test_a_run_with_muon_resumes_to_the_same_weights(tmp_path):
    plan = Plan(steps=12, batch=4, learning_rate=1e-2, seed=3, warmup=2, optimizer="muon")

    def fresh() -> Network:
        torch.manual_seed(0)
        return Network(line=nn.Linear(3, 2, bias=True))

    def loss(network, step):
        if step.index == cut:
            signal.raise_signal(signal.SIGINT)
        x = torch.randn(plan.batch, 3, generator=step.torch)
        return {"loss": (network.parts["line"](x) - x[:, :2]).square().mean()}

    cut = None
    whole = train("line", fresh(), loss, plan, runs=tmp_path / "whole")
    cut = 7
    with pytest.raises(KeyboardInterrupt):
        train("line", fresh(), loss, plan, runs=tmp_path / "cut")
    resumed = train("line", fresh(), loss, plan, runs=tmp_path / "cut")
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert not torch.equal(whole.parts["line"].weight, fresh().parts["line"].weight)
