from __future__ import annotations

import shutil

import pytest

from massact.checkpoints import CheckpointStatus, FolderSource, SourceError
from massact.checkpoints.files import choose_weights, combined_sha256, file_sha256


@pytest.fixture
def family(weights, tmp_path):
    root = tmp_path / "family"
    for name, folder in weights.items():
        shutil.copytree(folder, root / name)
    return root


def status(call, *arguments) -> CheckpointStatus:
    with pytest.raises(SourceError) as caught:
        call(*arguments)
    assert caught.value.remedy
    return caught.value.status


def test_steps_are_the_step_folders_ascending(family):
    for name in ("step16.partial", "step", "step-1", "step007", "other"):
        (family / name).mkdir()
    (family / "step8").write_text("a file")
    assert FolderSource(family).steps() == [0, 1, 2, 4]


@pytest.mark.parametrize("name", ["checkpoint-{}", "global_step{}", "step-{}", "step_{:06d}", "iter_{:07d}", "ckpt{}"])
def test_checkpoints_are_known_by_the_names_that_trainings_give_them(name, weights, tmp_path):
    for step in (0, 1000, 25):
        shutil.copytree(weights["step2"], tmp_path / name.format(step))
    (tmp_path / name.format(7)).mkdir()  # holds no model
    source = FolderSource(tmp_path)
    assert source.steps() == [0, 25, 1000]
    assert source.resolve(25).folder == tmp_path / name.format(25)
    assert source.identify(1000).revision_asked == name.format(1000)
    assert status(source.resolve, 7) is CheckpointStatus.REVISION_MISSING


def test_two_folders_of_one_step_are_refused(weights, tmp_path):
    for name in ("checkpoint-2", "step2", "step4"):
        shutil.copytree(weights["step2"], tmp_path / name)
    assert status(FolderSource(tmp_path).steps) is CheckpointStatus.LOAD_FAILED


def test_a_folder_that_is_one_checkpoint_has_one_step(weights, tmp_path):
    for folder, state, step in (
        ("final", "", 0),
        ("checkpoint-500", "", 500),
        ("best", '{"global_step": 750}', 750),
        ("damaged", '{"global_step": -1', 0),
    ):
        shutil.copytree(weights["step2"], tmp_path / folder)
        if state:
            (tmp_path / folder / "trainer_state.json").write_text(state)
        source = FolderSource(tmp_path / folder)
        assert source.steps() == [step]
        assert source.resolve(step).folder == tmp_path / folder
        assert source.resolve(step).revision_asked == folder


def test_a_final_model_beside_checkpoints_is_left_aside(weights, tmp_path):
    shutil.copytree(weights["step4"], tmp_path / "run")
    shutil.copytree(weights["step2"], tmp_path / "run" / "checkpoint-2")
    assert FolderSource(tmp_path / "run").steps() == [2]


def test_an_adapter_is_refused_with_the_way_to_merge_it(tmp_path):
    (tmp_path / "checkpoint-10").mkdir()
    (tmp_path / "checkpoint-10" / "adapter_config.json").write_text("{}")
    (tmp_path / "checkpoint-10" / "adapter_model.safetensors").write_bytes(b"")
    source = FolderSource(tmp_path)
    assert source.steps() == [10]
    with pytest.raises(SourceError, match="holds an adapter") as caught:
        source.resolve(10)
    assert "merge_and_unload" in caught.value.remedy


def test_a_step_resolves_to_its_files_and_their_hash(family):
    resolved = FolderSource(family).resolve(2)
    assert (resolved.revision_asked, resolved.revision_loaded) == ("step2", "local")
    assert resolved.files == ("model.safetensors",)
    assert resolved.weights_sha256 == file_sha256(family / "step2" / "model.safetensors")
    assert FolderSource(family).resolve(0).weights_sha256 == FolderSource(family).resolve(1).weights_sha256


def test_a_source_loads_what_it_resolves(family):
    source = FolderSource(family)
    bridge = source.load(source.resolve(2))
    assert (bridge.cfg.n_layers, bridge.cfg.d_model) == (2, 16)
    assert source.tokenizer(2).decode([0]) == "<|endoftext|>"


def test_missing_names_are_named(family):
    assert status(FolderSource(family).resolve, 8) is CheckpointStatus.REVISION_MISSING
    (family / "step2" / "model.safetensors").unlink()
    assert status(FolderSource(family).resolve, 2) is CheckpointStatus.WEIGHTS_MISSING
    (family / "step4" / "config.json").unlink()
    assert status(FolderSource(family).resolve, 4) is CheckpointStatus.WEIGHTS_MISSING
    assert status(FolderSource(family / "nowhere").steps) is CheckpointStatus.UNREACHABLE


def test_shards_have_one_hash_that_each_of_them_changes(family, weights):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(weights["step2"], local_files_only=True)
    folder = family / "step2"
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    source = FolderSource(family)
    resolved = source.resolve(2)
    assert len(resolved.files) > 1
    hashes = {name: file_sha256(folder / name) for name in resolved.files}
    assert resolved.weights_sha256 == combined_sha256(hashes)
    assert combined_sha256({**hashes, resolved.files[0]: "0" * 64}) != resolved.weights_sha256
    assert source.load(resolved).cfg.n_layers == 2
    (folder / resolved.files[-1]).unlink()
    assert status(source.resolve, 2) is CheckpointStatus.WEIGHTS_MISSING


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["pytorch_model.bin"], ("pytorch_model.bin",)),
        (["pytorch_model.bin", "model.safetensors"], ("model.safetensors",)),
        (["model-00001-of-00001.safetensors", "model.safetensors.index.json"], ("model-00001-of-00001.safetensors",)),
        (
            ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "pytorch_model.bin"],
            ("pytorch_model.bin",),
        ),
        (["model-00001-of-00001.safetensors"], ()),
        (["model-00000-of-00000.safetensors", "model.safetensors.index.json"], ()),
        (["tf_model.h5", "optimizer/model.safetensors", "training_args.bin"], ()),
    ],
)
def test_one_whole_copy_of_the_weights_is_chosen(names, chosen):
    assert choose_weights(names) == chosen


def test_every_status_but_ok_has_a_remedy():
    assert [s for s in CheckpointStatus if not s.remedy] == [CheckpointStatus.OK]
