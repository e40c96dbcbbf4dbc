import hashlib

import numpy as np
import pytest
import torch

from massact.checkpoints import CheckpointStatus, HubSource, SourceError
from massact.checkpoints.hub import reachable
from massact.extract import measure
from tests.hub import serving, write_cache, write_checkpoint
from tests.models import tiny

REPO = "EleutherAI/pythia-tiny"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return {f"step{s}": write_checkpoint(root / f"step{s}", tiny(), seed=s) for s in (0, 1, 2)}


@pytest.fixture
def hub(folders, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with serving({REPO: dict(folders)}) as served:
        yield served


def source(hub, steps=(0, 1, 2)):
    return HubSource(REPO, steps=list(steps), endpoint=hub.url, offline=False)


def test_the_revision_asked_for_is_the_one_loaded(hub, folders):
    resolved = source(hub).resolve(1)
    assert resolved.revision_asked == "step1"
    assert resolved.revision_loaded == hub.commit(REPO, "step1") == resolved.folder.name
    weights = (folders["step1"] / "model.safetensors").read_bytes()
    assert resolved.weights_sha256 == hashlib.sha256(weights).hexdigest()
    from transformers import GPTNeoXForCausalLM

    tokens = torch.randint(0, 300, (2, 8), generator=torch.Generator().manual_seed(0))
    bridge = source(hub).load(resolved)
    plain = GPTNeoXForCausalLM.from_pretrained(folders["step1"], dtype=torch.float32)
    assert np.array_equal(measure(bridge, tokens).top, measure(plain, tokens).top)


def test_what_is_in_the_cache_is_not_fetched_again(hub):
    source(hub).resolve(0)
    fetched = hub.requests["file"]
    source(hub).resolve(0)
    assert hub.requests["file"] == fetched


def test_a_flipped_bit_is_found_removed_and_fetched_anew(hub):
    hub.flipped.add("model.safetensors")
    with pytest.raises(SourceError, match="another sha256") as caught:
        source(hub).resolve(2)
    assert caught.value.status is CheckpointStatus.CORRUPT
    hub.flipped.clear()
    assert source(hub).resolve(2).revision_asked == "step2"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(404, CheckpointStatus.REVISION_MISSING), (500, CheckpointStatus.UNREACHABLE), (403, CheckpointStatus.UNREACHABLE)],
)
def test_what_the_server_refuses_has_a_status(hub, status, expected):
    hub.status["step1"] = status
    if status == 404:
        hub.repositories[REPO] = {k: v for k, v in hub.repositories[REPO].items() if k != "step1"}
        hub.status.clear()
    with pytest.raises(SourceError) as caught:
        source(hub).resolve(1)
    assert caught.value.status is expected
    assert caught.value.exit_code == 3
    assert source(hub).resolve(0).step == 0


def test_a_revision_without_weights(hub, folders, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.json").write_text((folders["step0"] / "config.json").read_text())
    hub.repositories[REPO]["step2"] = bare
    with pytest.raises(SourceError) as caught:
        source(hub).resolve(2)
    assert caught.value.status is CheckpointStatus.WEIGHTS_MISSING


def test_audit_reads_hashes_without_a_download(hub, folders):
    from massact.checkpoints import audit_table, suspects

    hub.repositories[REPO]["step2"] = folders["step1"]
    table = audit_table(source(hub))
    assert table["duplicate_of"].tolist() == [-1, -1, 1]
    assert suspects(table) == ["step 2 has the weights of step 1"]
    assert hub.requests["file"] == 0


def test_no_server_is_told_in_seconds():
    assert not reachable("http://127.0.0.1:9")
    with pytest.raises(SourceError, match="no answer") as caught:
        HubSource(REPO, steps=[0], endpoint="http://127.0.0.1:9", offline=False).resolve(0)
    assert caught.value.fatal


def test_offline_the_cache_alone_serves(folders, tmp_path, monkeypatch):
    import huggingface_hub.constants as constants

    write_cache(tmp_path, REPO, "step1", folders["step1"])
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    offline = HubSource(REPO, steps=[0, 1], offline=True)
    assert offline.resolve(1).step == 1
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        offline.resolve(0)
