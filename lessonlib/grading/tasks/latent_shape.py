"""The shape of the latents, from the size of the picture and the widths of the VAE's blocks."""

from __future__ import annotations

from typing import Any

from lessonlib.grading.task import Misconception, Task

TEXT = r"""
The UNet never sees pixels. Between the blocks of its encoder the VAE halves both sides of the picture, so one
with $n$ blocks shrinks each side by

$$f = 2^{\,n-1}.$$

The encoder's widths say how many blocks there are: Stable Diffusion 1.5 and SDXL both have
`block_out_channels = (128, 256, 512, 512)`. The number of latent **channels** is another number altogether.
Return the shape that `torch.randn` needs for the starting latents.

| | |
|---|---|
| `batch_size` | an int |
| `height`, `width` | ints, in pixels, multiples of $f$ |
| `block_out_channels` | a list of ints, one a block of the encoder |
| `latent_channels` | an int |
| returned | a tuple of 4 ints: batch, channels, height, width |
""".strip()


def inputs(seed: int) -> dict[str, Any]:
    import torch

    from lessonlib.grading.draw import integer

    generator = torch.Generator().manual_seed(seed)
    blocks = integer(generator, 4, 6)
    tall = integer(generator, 5, 17)
    return {
        "batch_size": integer(generator, 2, 3),
        "height": 64 * tall,
        "width": 64 * (tall + integer(generator, 1, 7)),
        "block_out_channels": [64 * 2 ** min(block, 3) for block in range(blocks)],
        "latent_channels": 32
        if blocks == 4
        else 4,  # never f, twice f, or the number of blocks: each is a mistake
    }


Answer = tuple[int, int, int, int]


def _at(factor: int, batch: int, height: int, width: int, channels: int) -> Answer:
    return (batch, channels, height // factor, width // factor)


def reference(
    batch_size: int, height: int, width: int, block_out_channels: list[int], latent_channels: int
) -> Answer:
    factor = 2 ** (len(block_out_channels) - 1)
    return _at(factor, batch_size, height, width, latent_channels)


# --- Wrong answers, each with its own hint ------------------------------------------------------------------


def _every_block(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return _at(2 ** len(blocks), batch, height, width, channels)


def _channels_as_factor(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return _at(channels, batch, height, width, channels)


def _counted_blocks(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return _at(len(blocks), batch, height, width, channels)


def _pixels(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return (batch, channels, height, width)


def _width_first(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return _at(2 ** (len(blocks) - 1), batch, width, height, channels)


def _channels_last(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    factor = 2 ** (len(blocks) - 1)
    return (batch, height // factor, width // factor, channels)


def _colours(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return _at(2 ** (len(blocks) - 1), batch, height, width, 3)


def _last_width(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    return _at(2 ** (len(blocks) - 1), batch, height, width, blocks[-1])


# --- Right answers in other styles --------------------------------------------------------------------------


def _shift(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    halvings = len(blocks) - 1
    return (batch, channels, height >> halvings, width >> halvings)


def _loop(batch: int, height: int, width: int, blocks: list[int], channels: int) -> Answer:
    for _ in blocks[1:]:
        height, width = height // 2, width // 2
    return (batch, channels, height, width)


def _list(batch: int, height: int, width: int, blocks: list[int], channels: int) -> list[int]:
    return [batch, channels, *(int(side / 2 ** (len(blocks) - 1)) for side in (height, width))]


def _size(batch: int, height: int, width: int, blocks: list[int], channels: int) -> tuple[int, ...]:
    import torch

    factor = 1 << (len(blocks) - 1)
    return torch.empty(batch, channels, height // factor, width // factor, device="meta").shape


TASK = Task(
    id="latent_shape",
    title="The shape of the latents",
    notebook="01_sdxl",
    order=1,
    text=TEXT,
    points=5,
    minutes=5,
    difficulty="easy",
    inputs=inputs,
    reference=reference,
    hints=(
        "How often is the picture halved if there are four blocks, and halving happens only between them?",
        "`len(block_out_channels) - 1` halvings; the factor is 2 to that power.",
        "`(batch_size, latent_channels, height // f, width // f)` with `f = 2 ** (len(block_out_channels) - 1)`.",
    ),
    misconceptions=(
        Misconception(
            "a halving in every block",
            "You halve once in each block. The last block keeps its size: halving happens **between** blocks.",
            _every_block,
        ),
        Misconception(
            "channels as factor",
            "You divided by the number of latent channels. The often quoted 4 of Stable Diffusion is that "
            "number; each side shrinks by a power of two, 8 for its four blocks.",
            _channels_as_factor,
        ),
        Misconception(
            "blocks as factor",
            "You divided by the number of blocks. Each halving divides by 2, so they multiply.",
            _counted_blocks,
        ),
        Misconception(
            "size of the picture",
            "That is the picture's own size. The UNet works on latents, which the VAE has shrunk.",
            _pixels,
        ),
        Misconception(
            "width first",
            "Height and width have changed places. Tensors are `(batch, channels, height, width)`; it is PIL "
            "that says width first.",
            _width_first,
        ),
        Misconception(
            "channels last",
            "Pictures as arrays have their channels last; torch's convolutions want them right after the batch.",
            _channels_last,
        ),
        Misconception(
            "colour channels",
            "Three channels are red, green and blue. Latents have `latent_channels`.",
            _colours,
        ),
        Misconception(
            "width of the last block",
            "`block_out_channels` are widths inside the encoder. What leaves it has `latent_channels`.",
            _last_width,
        ),
    ),
    alternatives=(_shift, _loop, _list, _size),
)
