"""Weights are read from exactly the files that were hashed, in the same way for every checkpoint, and completely."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from massact.checkpoints import CheckpointStatus, FolderSource, SourceError, load_bridge
from massact.checkpoints.weights import CheckpointLoader
from massact.extract import measure
from tests.models import tiny_model
from tests.users import unprivileged

INDEX = "model.safetensors.index.json"
TOKENS = torch.arange(18).reshape(2, 9)


@pytest.fixture
def family(tmp_path) -> Path:
    """Three checkpoints in one file each."""
    for step in range(3):
        tiny_model(seed=step).save_pretrained(tmp_path / "family" / f"step{step}")
    return tmp_path / "family"


@pytest.fixture
def sharded(tmp_path) -> Path:
    """The same in shards."""
    for step in range(3):
        tiny_model(seed=step).save_pretrained(tmp_path / "sharded" / f"step{step}", max_shard_size="15KB")
    return tmp_path / "sharded"


def rewrite(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


def remap(folder: Path, change) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps({**index, "weight_map": change(index["weight_map"])}))


def outcomes(family: Path, order) -> dict[int, object]:
    """Medians, or the status, of steps loaded one after the other."""
    source, loader, results = FolderSource(family), CheckpointLoader(), {}
    for step in order:
        try:
            model = loader.load(loader.prepare(source.resolve(step)))
            results[step] = measure(model, TOKENS).median.tolist()
        except SourceError as error:
            assert "\n" not in str(error)
            results[step] = error.status
    return results


def both_places(family: Path, step: int) -> object:
    """What a step comes to, the same as the first and as the last checkpoint."""
    first, last = outcomes(family, [step, 2]), outcomes(family, [2, step])
    assert first == last
    return first[step]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: {name: f"../step2/{shard}" for name, shard in m.items()},
        lambda m: {**m, next(iter(m)): "../step2/model-00001-of-00003.safetensors"},
        lambda m: dict.fromkeys(m, "/etc/passwd"),
        lambda m: dict.fromkeys(m, next(iter(m.values()))),
        lambda m: dict(list(m.items())[1:]),
        lambda m: {**m, "more": next(iter(m.values()))},
        lambda m: dict(zip(m, reversed(list(m.values())), strict=True)),
    ],
)
def test_an_index_that_contradicts_the_shards_is_refused(sharded, change):
    remap(sharded / "step0", change)
    assert both_places(sharded, 0) is CheckpointStatus.LOAD_FAILED
    with pytest.raises(SourceError):
        load_bridge(sharded / "step0")


def test_shards_give_the_numbers_of_one_file_and_their_index_is_in_the_identity(family, sharded):
    assert outcomes(family, range(3)) == outcomes(sharded, range(3))
    before = FolderSource(sharded).identify(0)
    index = json.loads((sharded / "step0" / INDEX).read_text())
    (sharded / "step0" / INDEX).write_text(json.dumps(index, indent=7))
    after = FolderSource(sharded).identify(0)
    assert before.weights_sha256 == after.weights_sha256
    assert before.config_id != after.config_id


def test_two_whole_sets_of_shards_and_a_tensor_in_two_shards_are_refused(sharded):
    first = sorted((sharded / "step0").glob("model-*"))[0]
    shutil.copyfile(first, sharded / "step0" / "model-00001-of-00001.safetensors")
    assert both_places(sharded, 0) is CheckpointStatus.LOAD_FAILED
    one, two, *_ = sorted((sharded / "step1").glob("model-*"))
    save_file({**load_file(two), **load_file(one)}, two)
    assert both_places(sharded, 1) is CheckpointStatus.CORRUPT


def test_old_torch_files_that_are_no_zip_archives_are_read(family, tmp_path):
    state = tiny_model(seed=0).state_dict()
    for zipped in (True, False):
        folder = shutil.copytree(family, tmp_path / str(zipped)) / "step0"
        (folder / "model.safetensors").unlink()
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
        assert both_places(folder.parent, 0) == outcomes(family, [0])[0]


@pytest.mark.parametrize(
    "content", [[torch.ones(2)], torch.ones(2), "text", {"model": {}}, {"a": 1}, {1: torch.ones(1)}]
)
def test_a_torch_file_without_named_tensors_is_corrupt_without_advice_to_delete_it(family, content):
    (family / "step0" / "model.safetensors").unlink()
    torch.save(content, family / "step0" / "pytorch_model.bin")
    with pytest.raises(SourceError) as caught:
        outcome = CheckpointLoader()
        outcome.load(outcome.prepare(FolderSource(family).resolve(0)))
    assert caught.value.status is CheckpointStatus.CORRUPT
    assert "delete" not in caught.value.remedy


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_file_without_read_permission_is_unreadable(family, name):
    folder = Path(tempfile.mkdtemp()) / "family"
    shutil.copytree(family, folder)
    folder.parent.chmod(0o755)
    (folder / "step0" / name).chmod(0)
    try:
        with unprivileged(), pytest.raises(SourceError) as caught:
            FolderSource(folder).identify(0)
    finally:
        shutil.rmtree(folder.parent)
    assert caught.value.status is CheckpointStatus.UNREADABLE
    assert caught.value.remedy == f"chmod u+r {folder / 'step0' / name}"


NORM = "gpt_neox.layers.1.input_layernorm.weight"


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {n: v.to(torch.int8) for n, v in t.items()},
        lambda t: {**t, NORM: t[NORM].to(torch.uint8)},
        lambda t: {**t, NORM: t[NORM].to(torch.float8_e4m3fn)},
        lambda t: {**t, NORM: t[NORM].to(torch.complex64)},
        lambda t: {**t, "gpt_neox.layers.2.input_layernorm.weight": torch.ones(16)},
        lambda t: {**t, "something.else": torch.ones(16)},
        lambda t: {n: v for n, v in t.items() if n != NORM},
        lambda t: {**t, NORM: torch.ones(17)},
        lambda t: {**t, "embed_out.weight": torch.ones(300, 17)},
    ],
)
def test_weights_that_contradict_the_configuration_are_refused_at_any_place(family, change):
    rewrite(family / "step0", change)
    assert both_places(family, 0) is CheckpointStatus.LOAD_FAILED


@pytest.mark.parametrize("layers", [1, 3, 10**9])
def test_another_number_of_layers_than_the_weights_have_is_refused(family, layers):
    path = family / "step0" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": layers}))
    assert both_places(family, 0) is CheckpointStatus.LOAD_FAILED


def test_buffers_of_old_files_do_no_harm(family):
    before = outcomes(family, [0])[0]
    prefix = "gpt_neox.layers.0.attention."
    old = {"bias": torch.ones(4).bool(), "masked_bias": torch.ones(1), "rotary_emb.inv_freq": torch.ones(2)}
    rewrite(family / "step0", lambda t: {**t, **{prefix + name: value for name, value in old.items()}})
    assert both_places(family, 0) == before


def test_a_checkpoint_without_its_unembedding_is_measured_with_a_warning(family, caplog):
    before = outcomes(family, [0])[0]
    rewrite(family / "step0", lambda t: {n: v for n, v in t.items() if n not in ("embed_out.weight", "lm_head.weight")})
    assert both_places(family, 0) == before
    assert caplog.text.count("no unembedding") == 2
    model = load_bridge(family / "step0").original_model
    assert np.isnan(model.get_output_embeddings().weight.detach().numpy()).all()  # and never random numbers


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "compressed-tensors"])
def test_a_missing_quantisation_library_is_a_status(family, method):
    path = family / "step0" / "config.json"
    quantised = {"quant_method": method, "bits": 4, "load_in_8bit": True}
    path.write_text(json.dumps({**json.loads(path.read_text()), "quantization_config": quantised}))
    assert both_places(family, 0) is CheckpointStatus.LOAD_FAILED


def test_files_that_change_while_they_are_read_are_not_measured(family):
    source, loader = FolderSource(family), CheckpointLoader()
    prepared = loader.prepare(source.resolve(0))
    path = family / "step0" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_eps": 0.5}))
    with pytest.raises(SourceError, match="changed while it was read"):
        loader.load(prepared)
