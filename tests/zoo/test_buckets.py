"""What a step of the SDXL family draws: rows of one shape by their shares, each with its own history."""

import numpy as np
import torch

from lessonlib.zoo import sdxl
from lessonlib.zoo.latents import scene
from lessonlib.zoo.micro import BUCKETS, framing
from lessonlib.zoo.training import Step


def step(index):
    return Step(index, np.random.default_rng(index), torch.Generator(), torch.device("cpu"))


def buckets(shares):
    """Latents that tell their shape and row: [row, :] is the row's number."""
    rows = [np.arange(len(one), dtype=np.float16)[:, None, None, None] for one in shares]
    latents = [
        np.broadcast_to(row, (len(row), 4, h // 8, w // 8)) for row, (h, w) in zip(rows, BUCKETS, strict=True)
    ]
    return sdxl.Buckets(latents, [np.array(one, float) for one in shares])


def test_a_row_of_no_share_is_never_drawn_and_the_others_as_often_as_their_share_says():
    data = buckets([[0, 0.25, 0.75]] * len(BUCKETS))
    drawn = torch.cat([data.draw(step(index), 50).latents[:, 0, 0, 0] for index in range(40)])
    shares = torch.bincount(drawn.long(), minlength=3) / len(drawn)
    torch.testing.assert_close(shares, torch.tensor([0, 0.25, 0.75]), atol=0.03, rtol=0)


def test_a_batch_is_of_one_shape_and_every_picture_keeps_its_history():
    data = buckets([[0.2] * 5] * len(BUCKETS))
    seen = set()
    for index in range(12):
        clean, frames, texts = data.draw(step(index), 4)
        bucket = BUCKETS.index(frames[0].target_size)
        seen.add(bucket)
        assert clean.shape == (4, 4, *(side // 8 for side in BUCKETS[bucket]))
        assert frames == [framing(bucket, int(row)) for row in clean[:, 0, 0, 0]]
        assert len(texts) == 4
    assert seen == set(range(len(BUCKETS)))


def test_a_square_is_a_training_scene_as_it_is_with_the_ids_that_the_pipeline_sends_by_default():
    rows = torch.arange(5).half()[:, None, None, None].expand(-1, 4, 16, 16)
    clean, frames, texts = sdxl.Squares(rows).draw(step(0), 4)
    assert clean.shape == (4, 4, 16, 16)
    assert [frame.scene for frame in frames] == [scene(int(row)) for row in clean[:, 0, 0, 0]]
    assert {frame.time_ids for frame in frames} == {(128, 128, 0, 0, 128, 128)}
    assert len(texts) == 4
