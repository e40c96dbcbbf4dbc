import pytest

from massact.checkpoints import CheckpointStatus, FolderSource, SourceError, audit_table, suspects
from tests.models import tiny_model


@pytest.fixture
def family(tmp_path):
    for step, seed in [(0, 0), (1, 0), (16, 1), (32, 1)]:
        tiny_model(seed=seed).save_pretrained(tmp_path / f"step{step}")
    (tmp_path / "notes").mkdir()
    return tmp_path


def test_steps_ascend_and_resolve_to_hashes(family):
    source = FolderSource(family)
    assert source.steps() == [0, 1, 16, 32]
    hashes = [source.resolve(step).weights_sha256 for step in source.steps()]
    assert hashes[0] == hashes[1] != hashes[2]


def test_duplicates_are_suspect_but_step_0_and_1_may_be_twins(family):
    assert suspects(audit_table(FolderSource(family))) == ["step 32 has the weights of step 16"]


def test_missing_folders_and_weights_have_their_status(family):
    (family / "step16" / "model.safetensors").unlink()
    for step, status in [(7, CheckpointStatus.REVISION_MISSING), (16, CheckpointStatus.WEIGHTS_MISSING)]:
        with pytest.raises(SourceError) as caught:
            FolderSource(family).resolve(step)
        assert caught.value.status is status


def test_a_torn_weight_file_fails_to_load_by_name(family):
    file = family / "step0" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:200])
    source = FolderSource(family)
    with pytest.raises(SourceError, match="step0 does not load"):
        source.load(source.resolve(0))
