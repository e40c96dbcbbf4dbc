"""Duplicates and gaps, found without a download."""

from __future__ import annotations

import shutil

import pytest

from massact.checkpoints import CheckpointStatus, FolderSource, HubSource, SourceError, audit_table, suspects
from massact.checkpoints.audit import COLUMNS
from tests.checkpoints.conftest import REPOSITORY
from tests.hub import serving


@pytest.fixture
def family(weights, tmp_path):
    root = tmp_path / "family"
    for name, folder in weights.items():
        shutil.copytree(folder, root / name)
    return root


def test_a_family_whose_first_update_changes_nothing_is_not_suspect(family):
    table = audit_table(FolderSource(family))
    assert tuple(table.columns) == COLUMNS
    assert table["step"].tolist() == [0, 1, 2, 4]
    assert table["duplicate_of"].tolist() == [-1, 0, -1, -1]
    assert suspects(table) == []


def test_a_copied_step_and_a_step_without_weights_are_suspect(family):
    shutil.copytree(family / "step2", family / "step8")
    (family / "step4" / "model.safetensors").unlink()
    table = audit_table(FolderSource(family))
    assert table["status"].tolist() == ["ok", "ok", "ok", "weights_missing", "ok"]
    four, eight = suspects(table)
    assert four.startswith("step 4: weights_missing")
    assert eight == "step 8: has the weights of step 2"


def sharded(folder, *, first: bytes, second: bytes):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text("{}")
    (folder / "model-00001-of-00002.safetensors").write_bytes(first)
    (folder / "model-00002-of-00002.safetensors").write_bytes(second)
    return folder


@pytest.mark.usefixtures("online")
def test_one_shard_of_another_step_is_found_on_the_hub_without_a_download(tmp_path):
    repository = "EleutherAI/pythia-12b"
    served = {
        "step49000": sharded(tmp_path / "a", first=b"a1", second=b"a2"),
        "step50000": sharded(tmp_path / "b", first=b"c1", second=b"b2"),
        "step143000": sharded(tmp_path / "c", first=b"c1", second=b"c2"),
    }
    with serving({repository: served}) as hub:
        source = HubSource(
            repository,
            steps=[49000, 50000, 51000, 143000],
            offline=False,
            endpoint=hub.url,
            cache=tmp_path / "hub",
        )
        table = audit_table(source)
        assert not hub.fetched()
        assert hub.count("GET") == 4
    assert table["status"].tolist() == ["ok", "ok", "revision_missing", "ok"]
    known, missing, shared = suspects(table)
    assert known.startswith("step 50000: ")
    assert "206" in known
    assert "revision_missing" in missing
    assert shared == "step 143000: shares model-00001-of-00002.safetensors with step 50000"


@pytest.mark.usefixtures("online")
def test_a_hub_that_cannot_be_had_at_all_is_an_error(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        other = HubSource("EleutherAI/pythia-15m", steps=[0, 1], offline=False, endpoint=hub.url, cache=tmp_path)
        with pytest.raises(SourceError, match="pythia-15m"):
            audit_table(other)
    gone = HubSource(REPOSITORY, steps=[0, 1], offline=True, cache=tmp_path)
    with pytest.raises(SourceError) as caught:
        audit_table(gone)
    assert caught.value.status is CheckpointStatus.UNREACHABLE
