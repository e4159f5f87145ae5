import pytest
import torch
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lessonlib.errors import LessonError
from lessonlib.scratch.text import (
    TextConfig,
    TextEncoder,
    eos_positions,
    sd_prompt_embeds,
    sdxl_prompt_embeds,
)

BOS, EOS = 98, 99
SHAPE = {"vocab_size": 100, "num_hidden_layers": 3, "max_position_embeddings": 16, "eos_token_id": EOS}
L = {
    **SHAPE,
    "hidden_size": 24,
    "intermediate_size": 48,
    "num_attention_heads": 3,
    "hidden_act": "quick_gelu",
}
G = {**SHAPE, "hidden_size": 32, "intermediate_size": 40, "num_attention_heads": 4, "hidden_act": "gelu"}
G["projection_dim"] = 20


def theirs(settings, seed=0):
    torch.manual_seed(seed)
    kind = CLIPTextModelWithProjection if "projection_dim" in settings else CLIPTextModel
    model = kind(CLIPTextConfig(**settings, bos_token_id=BOS, pad_token_id=EOS)).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def ours(settings, model):
    return TextEncoder(TextConfig(**settings)).double().load(model.state_dict())


def prompts():
    """Three prompts of different length, padded by end-of-text as Stable Diffusion does."""
    ids = torch.full((3, 16), EOS)
    ids[:, 0] = BOS
    for row, length in enumerate([3, 9, 14]):
        ids[row, 1 : 1 + length] = torch.randint(
            0, 90, (length,), generator=torch.Generator().manual_seed(row)
        )
    return ids


@torch.no_grad()
@pytest.mark.parametrize("settings", [L, G], ids=["L", "bigG"])
@pytest.mark.parametrize("masked", [False, True])
def test_every_state_equals_transformers(settings, masked):
    model = theirs(settings)
    mask = torch.ones_like(prompts())
    mask[1, 4:7] = 0
    mask = mask if masked else None
    their = model(prompts(), attention_mask=mask, output_hidden_states=True)
    our = ours(settings, model)(prompts(), mask)
    assert len(our.hidden_states) == len(their.hidden_states) == 4
    for mine, his in zip(our.hidden_states, their.hidden_states, strict=True):
        torch.testing.assert_close(mine, his, atol=1e-6, rtol=0)
    torch.testing.assert_close(our.last_hidden_state, their.last_hidden_state, atol=1e-6, rtol=0)
    pooled = their.text_embeds if "projection_dim" in settings else their.pooler_output
    torch.testing.assert_close(our.pooled, pooled, atol=1e-6, rtol=0)


@torch.no_grad()
def test_sd15_and_sdxl_take_what_the_pipelines_take():
    first, second = theirs(L), theirs(G, seed=1)
    states = ours(L, first)(prompts()), ours(G, second)(prompts())
    their = [model(prompts(), output_hidden_states=True) for model in (first, second)]
    torch.testing.assert_close(sd_prompt_embeds(states[0]), first(prompts())[0], atol=1e-6, rtol=0)
    embeds, pooled = sdxl_prompt_embeds(*states)
    expected = torch.cat([output.hidden_states[-2] for output in their], dim=-1)
    assert embeds.shape == (3, 16, 24 + 32)
    torch.testing.assert_close(embeds, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(pooled, their[1][0], atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_penultimate_state_is_the_tower_without_its_last_layer():
    model = theirs(L)
    short = TextEncoder(TextConfig(**{**L, "num_hidden_layers": 2})).double()
    weights = {k: v for k, v in model.state_dict().items() if "layers.2." not in k}
    full = ours(L, model)(prompts())
    assert torch.equal(short.load(weights)(prompts()).hidden_states[-1], full.hidden_states[-2])


def test_a_prompt_ends_at_its_first_end_of_text():
    assert eos_positions(prompts(), EOS).tolist() == [4, 10, 15]


def test_the_argmax_trap():
    """A token added after end-of-text (textual inversion) has the largest id, and argmax pools there instead.

    transformers still takes the argmax for every config that says `eos_token_id=2`, as old ones do.
    """
    ids = prompts()
    ids[1, 2] = EOS + 1
    assert ids.argmax(-1).tolist() == [4, 2, 15]
    assert eos_positions(ids, EOS).tolist() == [4, 10, 15]
    settings = {**L, "vocab_size": EOS + 2}
    old = theirs({**settings, "eos_token_id": 2})
    states = ours(settings, old)(ids)
    with torch.no_grad():
        pooled = old(ids).pooler_output
    torch.testing.assert_close(pooled[1], states.last_hidden_state[1, 2], atol=1e-6, rtol=0)
    torch.testing.assert_close(states.pooled[1], states.last_hidden_state[1, 10])
    torch.testing.assert_close(states.pooled[::2], pooled[::2], atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_eos_token_id_trap():
    """transformers' default id in a small vocabulary: it pools at begin-of-text; here it is an error."""
    wrong = {**L, "eos_token_id": 49407}
    model = theirs(wrong)
    begin = ours(L, model)(prompts()).last_hidden_state[:, 0]
    torch.testing.assert_close(model(prompts()).pooler_output, begin, atol=1e-6, rtol=0)
    with pytest.raises(LessonError, match="end-of-text token 49407"):
        ours(wrong, model)(prompts())


def test_a_prompt_longer_than_the_positions_is_refused():
    with pytest.raises(LessonError, match="17 tokens"):
        TextEncoder(TextConfig(**L))(torch.full((1, 17), EOS))


def test_weights_of_another_shape_are_refused():
    with pytest.raises(LessonError, match="text_projection"):
        TextEncoder(TextConfig(**G)).load(
            {k: v for k, v in theirs(G).state_dict().items() if k != "text_projection.weight"}
        )


def test_the_full_sizes_have_the_real_parameter_counts():
    with torch.device("meta"):
        clip_l = TextEncoder(TextConfig())
        big_g = TextEncoder(
            TextConfig(
                hidden_size=1280,
                intermediate_size=5120,
                num_hidden_layers=32,
                num_attention_heads=20,
                hidden_act="gelu",
                projection_dim=1280,
            )
        )
    assert sum(p.numel() for p in clip_l.parameters()) == 123_060_480
    assert sum(p.numel() for p in big_g.parameters()) == 694_659_840
