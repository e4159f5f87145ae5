"""IP-Adapter from scratch is diffusers': projections, attention, several pictures, masks and files."""

import pytest
import torch
from diffusers.models.attention_processor import Attention as TheirAttention
from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection as TheirImageProjection
from diffusers.models.embeddings import IPAdapterPlusImageProjection
from tiny_unets import CONFIGS, TOLERANCE, difference, inputs, randomise, reference_unet

from lessonlib.errors import LessonError
from lessonlib.scratch.attention import Attention
from lessonlib.scratch.ip_adapter import (
    DecoupledCrossAttention,
    ImageProjection,
    ImagePrompt,
    Resampler,
    add_ip_adapters,
    cross_attentions,
    image_projection,
    mask_tokens,
    remove_ip_adapters,
    set_ip_adapter_scale,
)
from lessonlib.scratch.unet import SD15, UNet

CLIP, TEXT = 12, 24


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# ------------------------------------------------------------------------------------------------ projections


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_image_projection_equals_diffusers(dtype):
    theirs = randomise(TheirImageProjection(CLIP, TEXT, 4)).to(dtype)
    ours = ImageProjection(CLIP, TEXT, 4).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    embeds = normal(3, CLIP, dtype=dtype)
    assert difference(ours(embeds), theirs(embeds)) <= TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_resampler_equals_diffusers(dtype):
    shape = {
        "embed_dims": CLIP,
        "output_dims": TEXT,
        "hidden_dims": 16,
        "depth": 2,
        "dim_head": 4,
        "heads": 3,
    }
    theirs = randomise(IPAdapterPlusImageProjection(**shape, num_queries=5)).to(dtype)
    ours = Resampler(**shape, num_queries=5).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    features = normal(3, 9, CLIP, dtype=dtype)
    assert difference(ours(features), theirs(features)) <= TOLERANCE[dtype]


# ---------------------------------------------------------------------------------------- decoupled attention


def layers(adapters, scales, dtype=torch.float64):
    """Ours and diffusers' cross-attention with the same weights."""
    processor = IPAdapterAttnProcessor2_0(12, TEXT, num_tokens=[4] * adapters, scale=scales)
    theirs = randomise(TheirAttention(10, TEXT, heads=3, dim_head=4, processor=processor)).to(dtype)
    base = Attention(10, 3, 4, TEXT).to(dtype)
    ours = DecoupledCrossAttention(base, adapters)
    ours.load_state_dict({key.removeprefix("processor."): v for key, v in theirs.state_dict().items()})
    ours.scales = scales
    return ours, theirs


@torch.no_grad()
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("pictures", "scales"), [([1], [1.0]), ([3], [0.6]), ([2, 1], [0.3, 1.4]), ([2, 1], [0.0, 1.0])]
)
def test_decoupled_attention_equals_diffusers(pictures, scales, dtype):
    ours, theirs = layers(len(pictures), scales, dtype)
    hidden_states, text = normal(2, 15, 10, dtype=dtype), normal(2, 7, TEXT, seed=1, dtype=dtype)
    images = [normal(2, n, 4, TEXT, seed=2 + n, dtype=dtype) for n in pictures]
    expected = theirs(hidden_states, encoder_hidden_states=(text, images))
    assert difference(ours(hidden_states, ImagePrompt(text, images)), expected) <= TOLERANCE[dtype]


@torch.no_grad()
@pytest.mark.parametrize("scales", [[1.0, 0.5], [[0.2, 0.9], 0.5]], ids=["one scale", "one a picture"])
def test_masked_attention_equals_diffusers(scales):
    ours, theirs = layers(2, scales)
    hidden_states, text = normal(2, 6 * 4, 10), normal(2, 7, TEXT, seed=1)
    images = [normal(2, 2, 4, TEXT, seed=2), normal(2, 1, 4, TEXT, seed=3)]
    masks = [(normal(1, 2, 48, 32, seed=4) > 0).double(), None]
    expected = theirs(hidden_states, encoder_hidden_states=(text, images), ip_adapter_masks=masks)
    assert difference(ours(hidden_states, ImagePrompt(text, images, masks)), expected) <= 1e-6


@pytest.mark.parametrize("grid", [(6, 4), (3, 2), (5, 7), (1, 1), (8, 8), (2, 16)])
def test_a_mask_finds_its_grid(grid):
    rows, columns = grid
    mask = torch.zeros(1, 1, 8 * rows, 8 * columns)
    mask[..., : 8 * columns // 2] = 1
    tokens = mask_tokens(mask, rows * columns).reshape(rows, columns)
    torch.testing.assert_close(tokens, tokens[:1].expand_as(tokens))  # the edge is vertical
    if columns > 3:
        assert tokens[0, 0] > 0.9
        assert tokens[0, -1] < 0.1


def test_a_mask_finds_its_grid_where_halving_rounded_up():
    # latents of 9×5 pixels become 5×3, 3×2 and 2×1
    mask = torch.zeros(1, 1, 72, 40)
    mask[:, :, :36] = 1
    for rows, columns in ((9, 5), (5, 3), (3, 2), (2, 1)):
        tokens = mask_tokens(mask, rows * columns).reshape(rows, columns)
        torch.testing.assert_close(tokens, tokens[:, :1].expand_as(tokens))  # the edge is horizontal


@torch.no_grad()
def test_a_full_mask_is_one_picture_without_a_mask_and_an_empty_mask_none():
    ours, _ = layers(1, [0.8])
    hidden_states, text = normal(2, 15, 10), normal(2, 7, TEXT, seed=1)
    image = [normal(2, 1, 4, TEXT, seed=2)]

    def result(mask):
        return ours(hidden_states, ImagePrompt(text, image, mask))

    assert difference(result([torch.ones(1, 1, 24, 40).double()]), result(None)) <= 1e-12
    without = Attention(10, 3, 4, TEXT).double()
    without.load_state_dict({k: v for k, v in ours.state_dict().items() if "_ip" not in k})
    assert difference(result([torch.zeros(1, 1, 24, 40).double()]), without(hidden_states, text)) <= 1e-12


def test_lists_that_do_not_match_are_named():
    ours, _ = layers(1, [1.0])
    hidden_states, text = normal(2, 15, 10), normal(2, 7, TEXT)
    two = [normal(2, 2, 4, TEXT)]
    with pytest.raises(LessonError, match="1 IP-Adapters, 2 lists of pictures"):
        ours(hidden_states, ImagePrompt(text, two * 2))
    with pytest.raises(LessonError, match="2 pictures, 1 masks"):
        ours(hidden_states, ImagePrompt(text, two, [torch.ones(1, 1, 24, 40).double()]))
    with pytest.raises(LessonError, match="aspect ratio"):
        ours(hidden_states, ImagePrompt(text, two, [torch.ones(1, 2, 24, 24).double()]))
    ours.scales = [[1.0, 0.5]]
    with pytest.raises(LessonError, match="mask"):
        ours(hidden_states, ImagePrompt(text, two))


# -------------------------------------------------------------------------------------------- in a whole UNet


def adapter_file(unet, seed, plus=False):
    """A random adapter in the published format, with a "plus" projection or the base one."""
    generator = torch.Generator().manual_seed(seed)

    def tensor(*shape):
        return 0.3 * torch.randn(*shape, generator=generator)

    state_dict = {}
    for number, layer in enumerate(cross_attentions(unet).values()):
        for name in ("to_k_ip", "to_v_ip"):
            state_dict[f"ip_adapter.{2 * number + 1}.{name}.weight"] = tensor(*layer.to_k.weight.shape)
    if not plus:
        projection = {"proj.weight": tensor(4 * TEXT, CLIP), "proj.bias": tensor(4 * TEXT)}
        projection |= {"norm.weight": tensor(TEXT), "norm.bias": tensor(TEXT)}
    else:
        projection = {
            "latents": tensor(1, 5, 16),
            "proj_in.weight": tensor(16, CLIP),
            "proj_in.bias": tensor(16),
            "proj_out.weight": tensor(TEXT, 16),
            "proj_out.bias": tensor(TEXT),
            "norm_out.weight": tensor(TEXT),
            "norm_out.bias": tensor(TEXT),
        }
        for i in range(4):  # diffusers' loader knows no other depth
            for norm in ("0.norm1", "0.norm2", "1.0"):
                projection |= {f"layers.{i}.{norm}.{part}": tensor(16) for part in ("weight", "bias")}
            projection |= {
                f"layers.{i}.0.to_q.weight": tensor(64, 16),
                f"layers.{i}.0.to_kv.weight": tensor(128, 16),
                f"layers.{i}.0.to_out.weight": tensor(16, 64),
                f"layers.{i}.1.1.weight": tensor(64, 16),
                f"layers.{i}.1.3.weight": tensor(16, 64),
            }
    return state_dict | {f"image_proj.{key}": value for key, value in projection.items()}


def nested(state_dict):
    """As diffusers' loader holds it."""
    parts = {"image_proj": {}, "ip_adapter": {}}
    for key, value in state_dict.items():
        part, _, rest = key.partition(".")
        parts[part][rest] = value
    return parts


@torch.no_grad()
@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_adapted_unet_equals_diffusers(name):
    """Two adapters at once, base and plus, of two pictures and one; files count layers as diffusers does."""
    reference = reference_unet(CONFIGS[name])
    unet = UNet.from_diffusers(reference.config, reference.state_dict()).eval()
    files = [adapter_file(unet, 1), adapter_file(unet, 2, plus=True)]
    reference._load_ip_adapter_weights([nested(file) for file in files], low_cpu_mem_usage=False)
    reference.double()
    for processor in reference.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [0.4, 0.9]
    projections = add_ip_adapters(unet, files)
    unet.double()
    set_ip_adapter_scale(unet, [0.4, 0.9])

    kwargs = inputs(CONFIGS[name], torch.float64)
    clip = [normal(2, 2, CLIP, seed=5), normal(2, 1, 9, CLIP, seed=6)]
    added = {**kwargs.pop("added_cond_kwargs", {}), "image_embeds": clip}
    expected = reference(**kwargs, added_cond_kwargs=added).sample

    images = [
        p.double()(c.flatten(0, 1)).unflatten(0, c.shape[:2]) for p, c in zip(projections, clip, strict=True)
    ]
    prompt = ImagePrompt(kwargs.pop("encoder_hidden_states"), images)
    micro = {key: value for key, value in added.items() if key != "image_embeds"} or None
    assert difference(unet(**kwargs, encoder_hidden_states=prompt, added_cond_kwargs=micro), expected) <= 1e-6


@torch.no_grad()
def test_scale_zero_and_removal_are_exactly_no_adapter():
    reference = reference_unet(CONFIGS["sd15"])
    unet = UNet.from_diffusers(reference.config, reference.state_dict()).eval()
    kwargs = inputs(CONFIGS["sd15"])
    keys, plain = list(unet.state_dict()), unet(**kwargs)
    (projection,) = add_ip_adapters(unet, [adapter_file(unet, 1)])
    text = kwargs.pop("encoder_hidden_states")
    prompt = ImagePrompt(text, [projection(normal(2, CLIP, dtype=torch.float32))[:, None]])
    assert difference(unet(**kwargs, encoder_hidden_states=prompt), plain) > 1e-3
    set_ip_adapter_scale(unet, [0.0])
    assert difference(unet(**kwargs, encoder_hidden_states=prompt), plain) == 0.0
    remove_ip_adapters(unet)
    assert difference(unet(**kwargs, encoder_hidden_states=text), plain) == 0.0
    assert list(unet.state_dict()) == keys


def test_full_size_parameters():
    with torch.device("meta"):
        unet = UNet(SD15)
        projection = ImageProjection(1024, 768)
        attentions = [DecoupledCrossAttention(layer, 1) for layer in cross_attentions(unet).values()]
    assert len(attentions) == 16
    pairs = sum(p.numel() for a in attentions for m in (a.to_k_ip, a.to_v_ip) for p in m.parameters())
    assert pairs == 19_169_280
    assert pairs + sum(p.numel() for p in projection.parameters()) == 22_319_616


def test_files_that_do_not_fit_are_named_and_change_nothing():
    unet = UNet.from_diffusers((r := reference_unet(CONFIGS["sd15"])).config, r.state_dict())
    file = adapter_file(unet, 1)
    with pytest.raises(LessonError, match=r"missing 1\.to_k_ip\.weight"):
        add_ip_adapters(unet, [{k: v for k, v in file.items() if k != "ip_adapter.1.to_k_ip.weight"}])
    with pytest.raises(LessonError, match="it holds stranger"):
        add_ip_adapters(unet, [{**file, "stranger": torch.zeros(1)}])
    with pytest.raises(LessonError, match="Unknown image projection with strange"):
        image_projection({"strange": torch.zeros(1)})
    with pytest.raises(LessonError, match=r"incomplete: proj_in\.weight is missing"):
        image_projection({"latents": torch.zeros(1, 5, 16)})
    with pytest.raises(LessonError, match="1 scales for 0 IP-Adapters"):
        set_ip_adapter_scale(unet, [1.0])
    assert not any(isinstance(module, DecoupledCrossAttention) for module in unet.modules())
    add_ip_adapters(unet, [file])
    with pytest.raises(LessonError, match="already"):
        add_ip_adapters(unet, [file])
    with pytest.raises(LessonError, match="needs a picture"):
        unet(**inputs(CONFIGS["sd15"]))
