"""The references of notebooks 04 to 06 that are not the course's own pieces compute what those pieces compute."""

from __future__ import annotations

import torch

from lessonlib.grading import tasks
from lessonlib.scratch.consistency import boundary_scalings
from lessonlib.scratch.guidance import w_embedding
from lessonlib.scratch.prompts import parse_a1111
from lessonlib.scratch.samplers import lcm_step
from lessonlib.scratch.vae_tiling import tiled


def test_w_embedding_is_the_course_s() -> None:
    scale = torch.tensor([1.25, 3.5, 8.5])
    ours = tasks.get("w_embedding").reference(scale.double(), 256)
    # the course's is float32, as diffusers' is: its angles go up to 7500
    torch.testing.assert_close(ours.float(), w_embedding(scale - 1, 256), rtol=0, atol=5e-3)


def test_lcm_step_is_the_sampler_s_at_the_time_its_scalings_belong_to() -> None:
    generator = torch.Generator().manual_seed(0)
    noise_pred, sample, noise = torch.randn(3, 1, 4, 3, 3, generator=generator, dtype=torch.float64)
    time = 1
    c_skip, c_out = boundary_scalings(torch.tensor(float(time), dtype=torch.float64))
    ours = tasks.get("lcm_step").reference(noise_pred, sample, noise, float(c_skip), float(c_out), 0.3, 0.7)
    alpha, alpha_next = torch.tensor([0.3, 0.7], dtype=torch.float64)
    expected = lcm_step(noise_pred, sample, time, alpha, alpha_next, noise).prev_sample
    torch.testing.assert_close(ours, expected)


def test_tile_blend_is_tiling_s_cross_fade() -> None:
    """A coder that adds a number of its own to each tile leaves seams for the fade to hide."""
    x = torch.randn(1, 2, 8, 20, generator=torch.Generator().manual_seed(0))
    tiles: list[torch.Tensor] = []

    def code(tile: torch.Tensor) -> torch.Tensor:
        tiles.append(tile + len(tiles))
        return tiles[-1]

    picture = tiled(code, x, tile=8, coded_tile=8, overlap=0.25)
    row = [tile[0] for tile in tiles[: len(range(0, 20, 6))]]
    whole = [tile for tile in row if tile.shape[-1] == 8]
    ours = tasks.get("tile_blend").reference(whole, 2)
    columns = 6 * len(whole)  # beyond it the last tile would fade into the next
    torch.testing.assert_close(ours[..., :6, :columns], picture[0, :, :6, :columns])


def test_the_mistaken_parsers_differ_from_the_course_s_by_their_mistake_alone() -> None:
    parse = tasks.get("weight_grammar").alternatives[1]  # the same code without a mistake
    for prompt in ("a ((b) c:1.5) [d]", "(a (b [c]):1.3)", "[[a] b] (c:0.5) d", "((a b))"):
        right = [(word, part.weight) for part in parse_a1111(prompt) for word in part.text.split()]
        got = parse(prompt)
        assert [word for word, _ in got] == [word for word, _ in right]
        assert torch.allclose(torch.tensor([w for _, w in got]), torch.tensor([w for _, w in right]))


def test_slices_of_any_size_are_one_attention() -> None:
    task = tasks.get("sliced_attention")
    given = task.inputs(0)
    for size in (1, 2, 7, 8, 99):
        for answer in task.alternatives:
            got = answer(*(given | {"slice_size": size}).values())
            torch.testing.assert_close(got, task.reference(**given))
