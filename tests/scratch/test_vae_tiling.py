import pytest
import torch
from diffusers import AutoencoderKL

from lessonlib.errors import LessonError
from lessonlib.scratch.vae_tiling import sliced, tiled


@pytest.fixture(scope="module")
def vae():
    """Three blocks: pictures are 4 times their latents; a tile is 32 pixels, 8 latents."""
    torch.manual_seed(0)
    return (
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 8, 16),
            norm_num_groups=4,
            sample_size=32,
        )
        .double()
        .eval()
    )


@pytest.fixture(autouse=True)
def _plain(vae):
    with torch.no_grad():
        yield
    vae.disable_tiling()
    vae.disable_slicing()


def decode(vae):
    return lambda z: vae.decoder(vae.post_quant_conv(z))


def encode(vae):
    return lambda x: vae.quant_conv(vae.encoder(x))


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_slicing_equals_diffusers_and_changes_nothing(vae):
    z = noise(3, 4, 8, 8)
    whole = vae.decode(z).sample
    vae.enable_slicing()
    torch.testing.assert_close(sliced(decode(vae), z), vae.decode(z).sample, atol=1e-6, rtol=0)
    torch.testing.assert_close(sliced(decode(vae), z), whole, atol=1e-6, rtol=0)


def test_slicing_never_codes_more_than_one():
    seen = []
    sliced(lambda z: seen.append(len(z)) or z, noise(5, 4, 2, 2))
    assert seen == [1] * 5


@pytest.mark.parametrize("size", [(16, 16), (9, 8), (13, 20), (24, 7), (6, 31)])
def test_tiled_decoding_equals_diffusers(vae, size):
    z = noise(2, 4, *size)
    vae.enable_tiling()
    ours = tiled(decode(vae), z, vae.tile_latent_min_size, vae.tile_sample_min_size)
    assert ours.shape == (2, 3, 4 * size[0], 4 * size[1])
    torch.testing.assert_close(ours, vae.decode(z).sample, atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(64, 64), (48, 100)])
def test_tiled_encoding_equals_diffusers(vae, size):
    x = noise(1, 3, *size)
    vae.enable_tiling()
    ours = tiled(encode(vae), x, vae.tile_sample_min_size, vae.tile_latent_min_size)
    torch.testing.assert_close(ours, vae.encode(x).latent_dist.parameters, atol=1e-6, rtol=0)


def test_tiling_changes_pixels_but_not_where_one_tile_is_enough(vae):
    small, large = noise(1, 4, 8, 8), noise(1, 4, 16, 16)
    assert torch.equal(tiled(decode(vae), small, 8, 32), decode(vae)(small))
    assert (tiled(decode(vae), large, 8, 32) - decode(vae)(large)).abs().max() > 1e-3


def test_tiles_of_a_local_coder_leave_no_seam():
    """A coder that looks at nothing but its own pixel is the same in tiles."""
    x = noise(1, 4, 21, 34)
    enlarge = lambda z: z.repeat_interleave(2, -1).repeat_interleave(2, -2)  # noqa: E731
    torch.testing.assert_close(tiled(enlarge, x, 8, 16), enlarge(x))


def test_no_tile_is_larger_than_asked():
    seen = []
    tiled(lambda z: seen.append(max(z.shape[-2:])) or z, noise(1, 1, 40, 50), 8, 8)
    assert max(seen) == 8


def test_an_overlap_that_does_not_divide_is_refused():
    with pytest.raises(LessonError, match="whole number"):
        tiled(lambda z: z, noise(1, 1, 40, 40), 10, 10)
