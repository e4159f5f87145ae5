import pytest
import torch

from lessonlib.errors import LessonError
from lessonlib.scratch.blending import and_conjunction, linear_blend, spherical_blend, sum_weighted


def embeds(n=2):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(1, 7, 12, generator=generator, dtype=torch.float64) for _ in range(n)]


def test_linear_is_the_weighted_mean():
    a, b = embeds()
    torch.testing.assert_close(linear_blend([a, b], [0.5, 0.5]), (a + b) / 2)
    torch.testing.assert_close(linear_blend([a, b], [3.0, 1.0]), 0.75 * a + 0.25 * b)
    torch.testing.assert_close(sum_weighted([a, b], [1.0, -0.3]), a - 0.3 * b)


def test_the_arc_starts_at_one_and_ends_at_the_other():
    a, b = embeds()
    torch.testing.assert_close(spherical_blend(a, b, 0.0), a)
    torch.testing.assert_close(spherical_blend(a, b, 1.0), b)


def test_the_arc_keeps_the_length_that_the_line_loses():
    a, b = (torch.nn.functional.normalize(x, dim=-1) for x in embeds())
    one = torch.ones(1, 7, dtype=torch.float64)
    torch.testing.assert_close(spherical_blend(a, b, 0.3).norm(dim=-1), one)
    assert linear_blend([a, b], [0.7, 0.3]).norm(dim=-1).max() < 0.95


def test_the_arc_turns_at_a_constant_rate():
    a, b = (torch.nn.functional.normalize(x, dim=-1) for x in embeds())
    angle = lambda x, y: torch.arccos((x * y).sum(-1))  # noqa: E731
    torch.testing.assert_close(angle(a, spherical_blend(a, b, 0.25)), angle(a, b) / 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_and_opposite_tokens_are_blended_linearly(dtype):
    a = embeds()[0].to(dtype)
    torch.testing.assert_close(spherical_blend(a, a, 0.4), a)
    torch.testing.assert_close(spherical_blend(a, 2 * a, 0.5), 1.5 * a)
    torch.testing.assert_close(spherical_blend(a, -a, 0.25), a / 2)


def test_and_puts_prompts_one_after_another():
    a, b, empty = embeds(3)
    both = and_conjunction([a, b], [1.0, 0.5], empty)
    assert both.shape == (1, 14, 12)
    assert torch.equal(both[:, :7], a)
    torch.testing.assert_close(both[:, 7:], empty + (b - empty) / 2)


def test_weights_must_fit():
    a, b, empty = embeds(3)
    for blend in (linear_blend, sum_weighted, lambda e, w: and_conjunction(e, w, empty)):
        with pytest.raises(LessonError, match="2 prompts and 1 weights"):
            blend([a, b], [1.0])
    with pytest.raises(LessonError, match="sum to 0"):
        linear_blend([a, b], [1.0, -1.0])
