"""The compact store: nothing lost but precision, nothing half-written, nothing damaged that is not named."""

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save_file

from lessonlib.errors import LessonError
from lessonlib.models import compact, store


def component(folder, tensors, metadata=None, name="diffusion_pytorch_model.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"_class_name": "UNet2DConditionModel"}')
    save_file(tensors, folder / name, metadata=metadata)
    return folder


def round_trip(tmp_path, tensors, **kwargs):
    store.fold(component(tmp_path / "source", tensors), "part", tmp_path / "w", **kwargs)
    store.add_member("m", None, {"": "part"}, tmp_path / "w")
    return load_file(store.unfold("m", tmp_path / "w") / "diffusion_pytorch_model.safetensors")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "cache"))


# --- The compact form


def test_matrices_become_bytes_and_the_rest_half_precision(tmp_path):
    tensors = {"m": torch.randn(64, 64), "b": torch.randn(64), "small": torch.randn(2, 4)}
    store.fold(component(tmp_path / "s", tensors), "p", tmp_path / "w")
    stored = load(gzip.decompress((tmp_path / "w/parts/p/weights.safetensors.gz").read_bytes()))
    assert {k: v.dtype for k, v in stored.items()} == {
        "m": torch.int8,
        "m::scale": torch.float16,
        "b": torch.float16,
        "small": torch.float16,
    }


def test_names_shapes_and_types_come_back(tmp_path):
    tensors = {
        "a.weight": torch.randn(64, 32, 3, 3),
        "a.bias": torch.randn(64),
        "half": torch.randn(64, 64).half(),
        "brain": torch.randn(64, 64).bfloat16(),
        "position_ids": torch.arange(77)[None],
        "scalar": torch.tensor(0.5),
    }
    back = round_trip(tmp_path, tensors)
    assert {k: (v.dtype, v.shape) for k, v in back.items()} == {
        k: (v.dtype, v.shape) for k, v in tensors.items()
    }
    assert torch.equal(back["position_ids"], tensors["position_ids"])
    for key in ("a.weight", "a.bias", "half", "brain"):
        error = (back[key].float() - tensors[key].float()).norm() / tensors[key].float().norm()
        assert error < 0.01


@pytest.mark.parametrize("value", [1e6, 1e-8])
def test_what_float16_cannot_hold_stays_float32(tmp_path, value):
    bias = torch.full((8,), value)
    assert torch.equal(round_trip(tmp_path, {"bias": bias})["bias"], bias)


def test_sixteen_bits_are_as_good_as_float16(tmp_path):
    weight = torch.randn(64, 64)
    assert torch.equal(round_trip(tmp_path, {"w": weight}, bits=16)["w"], weight.half().float())


def test_the_same_weights_give_the_same_bytes(sd15, tmp_path):
    for root in ("a", "b"):
        store.fold(sd15[1] / "unet", "unet", tmp_path / root)
    assert (tmp_path / "a/manifest.json").read_bytes() == (tmp_path / "b/manifest.json").read_bytes()


def test_file_name_and_metadata_of_the_weights_are_kept(tmp_path):
    note = {"format": "pt", "lora_adapter_metadata": '{"r": 16}'}
    source = component(tmp_path / "s", {"w": torch.ones(4)}, note, name="pytorch_lora_weights.safetensors")
    store.fold(source, "lora", tmp_path / "w")
    store.add_member("lora", None, {"": "lora"}, tmp_path / "w")
    file = store.unfold("lora", tmp_path / "w") / "pytorch_lora_weights.safetensors"
    with safe_open(file, "pt") as stored:
        assert stored.metadata() == note


def test_the_unfolded_pipeline_draws_nearly_the_same_picture(sd15, weights):
    from diffusers import StableDiffusionPipeline

    original, _ = sd15
    folder = store.unfold("sd15")
    assert folder.is_relative_to(os.environ["LESSON_CACHE"])
    again = StableDiffusionPipeline.from_pretrained(folder)
    assert again.safety_checker is None
    assert again.tokenizer("a cat").input_ids == original.tokenizer("a cat").input_ids

    def draw(pipeline):
        pipeline.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(0)
        return pipeline("a cat", num_inference_steps=2, output_type="pt", generator=generator).images

    difference = (draw(again) - draw(original)).abs()
    assert 0 < difference.max() < 0.05


# --- Differences


def trained_on(tensors, by=0.05):
    return {key: value + by * torch.randn_like(value) for key, value in tensors.items()}


@pytest.fixture
def two(tmp_path):
    """A weights root with a base and a part that is a difference from it; their true weights."""
    torch.manual_seed(0)
    base = {"m": torch.randn(64, 64), "b": torch.randn(64)}
    other = trained_on(base)
    root = tmp_path / "w"
    store.fold(component(tmp_path / "base", base), "base", root)
    store.fold(component(tmp_path / "other", other), "other", root, base="base")
    store.add_member("base", None, {"": "base"}, root)
    store.add_member("other", None, {"": "other"}, root)
    return root, base, other


def unfolded(name, root):
    return load_file(store.unfold(name, root) / "diffusion_pytorch_model.safetensors")


def test_a_difference_unfolds_to_whole_weights(two):
    root, _, other = two
    back = unfolded("other", root)
    assert (back["m"] - other["m"]).norm() < 0.01 * other["m"].norm()
    sizes = [(root / f"parts/{part}/weights.safetensors.gz").stat().st_size for part in ("other", "base")]
    assert sizes[0] < 0.7 * sizes[1]
    assert store.parameters("other", root) == store.parameters("base", root)


def test_a_base_that_is_stored_anew_leaves_the_others_as_they_were(two, tmp_path):
    root, base, other = two
    before = store.unfold("other", root)
    store.fold(component(tmp_path / "again", trained_on(base)), "base", root)
    assert store.verify(root) == {"base": "ok", "other": "ok"}
    assert store.unfold("other", root) != before
    back = unfolded("other", root)["m"]
    assert (back - other["m"]).norm() < 0.015 * other["m"].norm()


def test_what_is_precise_stays_so_when_its_base_is_stored_anew(two, tmp_path):
    root, base, other = two
    store.fold(component(tmp_path / "other", other), "other", root, base="base", precise=["m"])
    before = unfolded("other", root)["m"]
    store.fold(component(tmp_path / "again", trained_on(base)), "base", root)
    assert compact.precise_of(root / "parts/other/weights.safetensors.gz") == ["m"]
    again = unfolded("other", root)["m"]
    assert (again - before).norm() < 0.006 * before.norm()


def test_it_leaves_differences_from_these_as_they_were_too(two, tmp_path):
    root, base, other = two
    third = trained_on(other)
    store.fold(component(tmp_path / "third", third), "third", root, base="other")
    store.add_member("third", None, {"": "third"}, root)
    store.fold(component(tmp_path / "again", trained_on(base)), "base", root)
    assert store.verify(root) == {"base": "ok", "other": "ok", "third": "ok"}
    back = unfolded("third", root)["m"]
    assert (back - third["m"]).norm() < 0.02 * third["m"].norm()


def test_a_difference_from_another_base_is_refused(two, tmp_path):
    """As after a merge that took the one file and not the other."""
    root, base, _ = two
    stray = tmp_path / "stray"
    store.fold(component(tmp_path / "again", trained_on(base)), "base", stray)
    shutil.copytree(stray / "parts/base", root / "parts/base", dirs_exist_ok=True)
    manifest = json.loads((root / "manifest.json").read_text())
    manifest |= json.loads((stray / "manifest.json").read_text())
    (root / "manifest.json").write_text(json.dumps(manifest))
    assert store.verify(root) == {"base": "ok", "other": "altered"}
    with pytest.raises(LessonError, match="difference from another 'base'"):
        store.unfold("other", root)
    with pytest.raises(LessonError, match="difference from another 'base'"):
        store.fold(component(tmp_path / "third", base), "base", root)
    assert unfolded("base", root).keys() == base.keys()


def test_a_damaged_base_is_named(two):
    root, _, _ = two
    path = root / "parts/base/weights.safetensors.gz"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(LessonError, match=r"parts/base/weights\.safetensors\.gz is truncated"):
        store.unfold("other", root)


def test_a_difference_needs_its_base(tmp_path):
    source = component(tmp_path / "s", {"m": torch.randn(64, 64)})
    with pytest.raises(LessonError, match="no stored part 'nothing'"):
        store.fold(source, "part", tmp_path / "w", base="nothing")


# --- Folding


def test_a_fold_that_fails_changes_nothing(tmp_path):
    root = tmp_path / "w"
    store.fold(component(tmp_path / "s", {"w": torch.ones(64, 64)}), "p", root)
    before = {f: f.read_bytes() for f in root.rglob("*") if f.is_file()}
    with pytest.raises(LessonError, match=r"'w' in .* holds NaN"):
        store.fold(component(tmp_path / "s", {"w": torch.full((64, 64), torch.nan)}), "p", root)
    assert {f: f.read_bytes() for f in root.rglob("*") if f.is_file()} == before
    assert store.verify(root) == {"p": "ok"}


def test_folding_again_replaces_the_part(tmp_path):
    first = round_trip(tmp_path, {"w": torch.ones(64, 64)})
    second = round_trip(tmp_path, {"w": torch.full((64, 64), 2.0)})
    assert first["w"].mean() == pytest.approx(1, rel=1e-3)
    assert second["w"].mean() == pytest.approx(2, rel=1e-3)
    assert [f.name for f in (tmp_path / "w/parts").iterdir()] == ["part"]


@pytest.mark.parametrize("extra", ["pytorch_model.bin", "model-00002-of-00002.safetensors"])
def test_pickled_or_sharded_weights_are_refused(tmp_path, extra):
    source = component(tmp_path / "s", {"w": torch.ones(4)})
    (source / extra).write_bytes(b"")
    with pytest.raises(LessonError, match="not pickled, not sharded"):
        store.fold(source, "p", tmp_path / "w")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(LessonError, match="no component"):
        store.fold(tmp_path / "nowhere", "p", tmp_path / "w")


def test_configs_lose_the_folder_they_came_from(tmp_path):
    source = component(tmp_path / "s", {"w": torch.ones(4)})
    (source / "config.json").write_text('{"_name_or_path": "/home/me/run7", "sample_size": 16}')
    (source / "vocab.json").write_text('{"name_or_path": 3}')
    part = store.fold(source, "p", tmp_path / "w")
    assert json.loads((part / "config.json").read_text()) == {"sample_size": 16}
    assert (part / "vocab.json").read_text() == '{"name_or_path": 3}'


def test_a_member_needs_its_parts_and_its_folders(tmp_path):
    store.fold(component(tmp_path / "s", {"w": torch.ones(4)}), "unet", tmp_path / "w")
    with pytest.raises(LessonError, match=r"not stored yet: vae"):
        store.add_member("m", None, {"vae": "vae"}, tmp_path / "w")
    index = {
        "_class_name": "X",
        "unet": ["diffusers", "Y"],
        "vae": ["diffusers", "Z"],
        "safety_checker": [None, None],
    }
    with pytest.raises(LessonError, match="names vae, but no folder does"):
        store.add_member("m", index, {"unet": "unet"}, tmp_path / "w")
    assert store.members(tmp_path / "w") == {}


def test_folders_may_be_nested_and_hold_several_parts(tmp_path):
    root = tmp_path / "w"
    for name in ("base", "plus"):
        adapter = tmp_path / name
        adapter.mkdir()
        save_file({"w": torch.ones(4)}, adapter / f"ip-adapter-{name}.safetensors")
        store.fold(adapter, f"ip-{name}", root)
    store.fold(component(tmp_path / "e", {"w": torch.ones(4)}, name="model.safetensors"), "encoder", root)
    store.add_member("ip", None, {"models": ["ip-base", "ip-plus"], "models/image_encoder": "encoder"}, root)
    folder = store.unfold("ip", root)
    assert sorted(str(f.relative_to(folder)) for f in folder.rglob("*.safetensors")) == [
        "models/image_encoder/model.safetensors",
        "models/ip-adapter-base.safetensors",
        "models/ip-adapter-plus.safetensors",
    ]
    assert store.parameters("ip-base", root) == 4


# --- Unfolding


def test_the_second_call_reads_no_weights(weights, monkeypatch):
    first = store.unfold("sd15")
    monkeypatch.setattr(store, "sha256", lambda path: pytest.fail("hashed again"))
    monkeypatch.setattr(store, "_unfold_part", lambda *_: pytest.fail("unfolded again"))
    start = time.perf_counter()
    assert store.unfold("sd15") == first
    assert time.perf_counter() - start < 0.5


def test_a_new_release_does_not_read_the_old_cache(sd15, weights):
    old = store.unfold("sd15")
    store.fold(sd15[1] / "unet", "sd15-unet", weights, bits=16)
    assert store.unfold("sd15") != old


def test_a_damaged_cache_is_made_again(weights):
    folder = store.unfold("sd15")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    assert store.unfold("sd15") == folder
    assert file.read_bytes() == whole
    assert os.listdir(folder.parent) == [folder.name]


def damage_truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def damage_alter(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "word", "state"),
    [
        (damage_truncate, "truncated", "altered"),
        (damage_alter, "SHA-256", "altered"),
        (lambda path: path.unlink(), "missing", "missing"),
    ],
)
def test_a_damaged_weight_file_is_named_and_refused(weights, damage, word, state):
    path = weights / "parts/sd15-unet/weights.safetensors.gz"
    damage(path)
    with pytest.raises(LessonError, match=word) as refused:
        store.unfold("sd15")
    assert str(path) in str(refused.value)
    assert not list((weights.parent / "cache").rglob("*.safetensors"))
    states = store.verify()
    assert states.pop("sd15-unet") == state
    assert set(states.values()) == {"ok"}


def test_an_unknown_member_is_named(weights):
    with pytest.raises(LessonError, match=r"no member 'sd16': it ships sd15"):
        store.unfold("sd16")


def test_a_broken_table_is_named(weights):
    (weights / "manifest.json").write_text("{")
    with pytest.raises(LessonError, match=r"manifest\.json is damaged"):
        store.verify()


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_read_only_cache_gives_one_sentence(weights, monkeypatch, code):
    def refuse(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(store.tempfile, "mkdtemp", refuse)
    with pytest.raises(LessonError, match="LESSON_CACHE") as error:
        store.unfold("sd15")
    assert os.strerror(code) in str(error.value)


def test_a_cache_that_is_a_file_gives_one_sentence(weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LESSON_CACHE", str(tmp_path / "file"))
    with pytest.raises(LessonError, match="LESSON_CACHE"):
        store.unfold("sd15")


@pytest.mark.skipif(sys.platform == "win32", reason="needs rlimits")
def test_a_full_disk_gives_one_sentence_and_leaves_nothing(weights):
    code = """
        import resource
        from lessonlib.models import store
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # a write beyond fails half-way
        try:
            store.unfold("sd15")
        except store.LessonError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert result.stdout.startswith("The disk is full"), result.stderr
    assert list((weights.parent / "cache/zoo").iterdir()) == []


def test_processes_that_unfold_at_once_do_not_disturb_each_other(weights, tmp_path):
    code = """
        import sys, time, pathlib, torch, safetensors.torch
        from lessonlib.models import store
        pathlib.Path(sys.argv[1] + ".ready").touch()
        while not pathlib.Path(sys.argv[2]).exists():
            time.sleep(0.001)
        print(store.unfold("sd15"))
    """
    go = tmp_path / "go"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / f"racer{i}"), str(go)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    while len(list(tmp_path.glob("racer*.ready"))) < len(racers):
        assert all(racer.poll() is None for racer in racers)
        time.sleep(0.01)
    go.touch()
    folders = {racer.communicate()[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0]
    assert len(folders) == 1
    assert store._whole(store.Path(folders.pop()))
    assert len(list((tmp_path / "cache/zoo").iterdir())) == 1
