"""The Hub path against a loopback server: the requests, the records, and the status of each failure."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest

from massact.checkpoints import CheckpointStatus, HubSource, SourceError
from massact.checkpoints.files import file_sha256
from massact.checkpoints.hub_cache import evict
from tests.hub import REPOSITORY, LoopbackHub, commit_of, serving, write_cache

STEPS = [0, 1, 2, 4]


def source(hub: LoopbackHub, cache: Path, **settings) -> HubSource:
    return HubSource(REPOSITORY, steps=STEPS, offline=False, endpoint=hub.url, cache=cache, **settings)


def refused(call, *arguments) -> SourceError:
    with pytest.raises(SourceError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return caught.value


@pytest.mark.usefixtures("online")
def test_the_revision_asked_and_the_commit_loaded_are_recorded(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        resolved = source(hub, tmp_path).resolve(2)
    assert resolved.revision_asked == "step2"
    assert resolved.revision_loaded == resolved.folder.name == commit_of(REPOSITORY, "step2")
    assert resolved.weights_sha256 == file_sha256(weights["step2"] / "model.safetensors")
    assert resolved.files == ("model.safetensors",)
    assert (resolved.folder / "tokenizer.json").is_file()


@pytest.mark.usefixtures("online")
def test_what_is_cached_is_not_fetched_again_and_serves_offline(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        first = source(hub, tmp_path).resolve(2)
        fetched = hub.fetched()
        assert source(hub, tmp_path).resolve(2) == first
        assert hub.fetched() == fetched
    assert HubSource(REPOSITORY, steps=STEPS, offline=True, cache=tmp_path).resolve(2) == first
    # The server is gone: the cache serves without being asked to.
    assert source(hub, tmp_path).resolve(2) == first


@pytest.mark.usefixtures("online")
def test_safetensors_are_chosen_and_the_other_copy_is_not_fetched(weights, tmp_path):
    both = shutil.copytree(weights["step2"], tmp_path / "both")
    (both / "pytorch_model.bin").write_bytes(b"another copy")
    (both / "optimizer").mkdir()
    (both / "optimizer" / "model.safetensors").write_bytes(b"optimiser state")
    with serving({REPOSITORY: {"step2": both}}) as hub:
        resolved = source(hub, tmp_path / "cache").resolve(2)
        assert hub.fetched().count("model.safetensors") == 1
        assert "pytorch_model.bin" not in hub.fetched()
    assert resolved.files == ("model.safetensors",)


@pytest.mark.usefixtures("online")
def test_the_tokenizer_comes_without_the_weights(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        tokenizer = source(hub, tmp_path).tokenizer(2)
        assert "model.safetensors" not in hub.fetched()
        assert source(hub, tmp_path).resolve(2).files
    assert tokenizer.decode(tokenizer("mercy")["input_ids"]) == "mercy"


@pytest.mark.usefixtures("online")
def test_a_missing_revision_and_a_missing_repository(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        error = refused(source(hub, tmp_path).resolve, 8)
        assert error.status is CheckpointStatus.REVISION_MISSING
        assert "step8" in error.what
        assert not error.fatal
        other = HubSource("EleutherAI/pythia-15m", steps=STEPS, offline=False, endpoint=hub.url, cache=tmp_path)
        error = refused(other.resolve, 0)
        assert error.fatal
        assert "pythia-15m" in error.what


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("absent", ["model.safetensors", "config.json"])
def test_a_revision_without_weights(weights, tmp_path, absent):
    bare = shutil.copytree(weights["step2"], tmp_path / "bare")
    (bare / absent).unlink()
    with serving({REPOSITORY: {"step2": bare}}) as hub:
        error = refused(source(hub, tmp_path / "cache").resolve, 2)
        assert not hub.fetched()
    assert error.status is CheckpointStatus.WEIGHTS_MISSING


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again_and_not_for_long(weights, tmp_path, status):
    with serving({REPOSITORY: weights}, fail={"/api/": status}, failures=2) as hub:
        assert source(hub, tmp_path).resolve(2).step == 2
    with serving({REPOSITORY: weights}, fail={"/api/": status}) as hub:
        error = refused(source(hub, tmp_path / "empty").resolve, 2)
        assert hub.count("GET", "/api/") == 3
    assert error.status is CheckpointStatus.UNREACHABLE
    with serving({REPOSITORY: weights}, fail={"/api/": status}) as hub:
        assert source(hub, tmp_path).resolve(2).step == 2  # from the cache


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("status", [429, 403, 502])
def test_files_that_are_not_served_are_not_waited_for(weights, tmp_path, status):
    began = time.perf_counter()
    with serving({REPOSITORY: weights}, fail={"/resolve/": status}) as hub:
        error = refused(source(hub, tmp_path).resolve, 2)
        assert not hub.fetched()
    assert error.status is CheckpointStatus.UNREACHABLE
    assert str(status) in error.what
    assert time.perf_counter() - began < 3


@pytest.mark.usefixtures("online")
def test_shards_are_fetched_with_their_index(weights, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = shutil.copytree(weights["step2"], tmp_path / "sharded", ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(weights["step2"], local_files_only=True).save_pretrained(
        folder, max_shard_size="10KB"
    )
    (folder / "pytorch_model.bin").write_bytes(b"another copy")
    with serving({REPOSITORY: {"step2": folder}}) as hub:
        here = source(hub, tmp_path / "cache")
        resolved = here.resolve(2)
        assert here.identify(2).weights_sha256 == resolved.weights_sha256
        assert "pytorch_model.bin" not in hub.fetched()
    assert len(resolved.files) > 1
    assert here.load(resolved).cfg.n_layers == 2


@pytest.mark.usefixtures("online")
def test_a_flipped_bit_is_fetched_again_once(weights, tmp_path):
    with serving({REPOSITORY: weights}, flip={"model.safetensors"}, spoil=1) as hub:
        resolved = source(hub, tmp_path).resolve(2)
        assert hub.fetched().count("model.safetensors") == 2
    assert resolved.weights_sha256 == file_sha256(weights["step2"] / "model.safetensors")


@pytest.mark.usefixtures("online")
def test_a_file_that_stays_flipped_is_corrupt_online_and_offline(weights, tmp_path):
    with serving({REPOSITORY: weights}, flip={"model.safetensors"}) as hub:
        error = refused(source(hub, tmp_path).resolve, 2)
    assert error.status is CheckpointStatus.CORRUPT
    assert "sha256" in error.what
    assert str(tmp_path) in error.remedy
    offline = HubSource(REPOSITORY, steps=STEPS, offline=True, cache=tmp_path)
    assert refused(offline.resolve, 2).status is CheckpointStatus.CORRUPT


@pytest.mark.usefixtures("online")
def test_a_truncated_file_is_corrupt(weights, tmp_path):
    with serving({REPOSITORY: weights}, truncate={"model.safetensors": 1000}) as hub:
        error = refused(source(hub, tmp_path).resolve, 2)
    assert error.status is CheckpointStatus.CORRUPT


@pytest.mark.usefixtures("online")
def test_a_missing_server_is_reported_within_seconds(tmp_path):
    with serving({}) as hub:
        pass
    began = time.perf_counter()
    for step in STEPS:
        error = refused(source(hub, tmp_path).resolve, step)
        assert error.status is CheckpointStatus.UNREACHABLE
        assert hub.url in error.what
    assert time.perf_counter() - began < 8


@pytest.mark.usefixtures("online")
def test_a_server_that_does_not_answer_in_time_is_unreachable(weights, tmp_path, monkeypatch):
    monkeypatch.setattr("massact.checkpoints.repository.TIMEOUT_S", 0.3)
    with serving({REPOSITORY: weights}, delay_s=0.6) as hub:
        error = refused(source(hub, tmp_path).resolve, 2)
    assert error.status is CheckpointStatus.UNREACHABLE


def test_offline_reads_a_cache_and_names_what_is_not_in_it(weights, tmp_path):
    write_cache(tmp_path, {REPOSITORY: {"step2": weights["step2"]}})
    offline = HubSource(REPOSITORY, steps=STEPS, cache=tmp_path)
    assert offline.offline  # the tests set HF_HUB_OFFLINE=1
    assert offline.resolve(2).revision_loaded == commit_of(REPOSITORY, "step2")
    assert offline.identify(2).files == {"model.safetensors": offline.resolve(2).weights_sha256}
    error = refused(offline.resolve, 4)
    assert error.status is CheckpointStatus.UNREACHABLE
    assert "HF_HUB_OFFLINE" in error.remedy
    assert refused(offline.tokenizer, 4).status is CheckpointStatus.UNREACHABLE


@pytest.mark.usefixtures("online")
def test_identity_costs_one_request_and_no_file(weights, tmp_path):
    with serving({REPOSITORY: weights}) as hub:
        identity = source(hub, tmp_path).identify(2)
        assert hub.count("GET", f"/api/models/{REPOSITORY}/revision/step2") == hub.count("GET") == 1
        resolved = source(hub, tmp_path).resolve(2)
    assert identity.weights_sha256 == resolved.weights_sha256
    assert identity.revision_loaded == resolved.revision_loaded


@pytest.mark.usefixtures("online")
def test_a_full_disk_is_not_called_a_network_error(weights, tmp_path, monkeypatch):
    real = huggingface_hub.snapshot_download

    def full(*arguments, local_files_only=False, **rest):
        if local_files_only:
            return real(*arguments, local_files_only=True, **rest)
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving({REPOSITORY: weights}) as hub:
        here = source(hub, tmp_path)
        monkeypatch.setattr("huggingface_hub.snapshot_download", full)
        error = refused(here.resolve, 2)
    assert error.status is CheckpointStatus.DISK_FULL
    assert error.fatal
    size = (weights["step2"] / "model.safetensors").stat().st_size
    assert f"{size} bytes needed" in error.what
    assert str(tmp_path) in error.what
    assert "free" in error.what
    assert "HF_HOME" in error.remedy


def test_hf_endpoint_is_read_from_the_environment(weights, tmp_path):
    code = f"""
import json, sys
from massact.checkpoints import HubSource
resolved = HubSource({REPOSITORY!r}, steps=[2]).resolve(2)
heavy = [name for name in ("torch", "transformers", "transformer_lens") if name in sys.modules]
sys.stdout.write(json.dumps([resolved.revision_loaded, str(resolved.folder), heavy]))
"""
    with serving({REPOSITORY: weights}) as hub:
        environment = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
        environment |= {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 0, done.stderr
    commit, folder, heavy = json.loads(done.stdout)
    assert commit == commit_of(REPOSITORY, "step2")
    assert folder.startswith(str(tmp_path))
    assert heavy == []


def share_contents(cache) -> None:
    """Move large contents into a store across repositories, named by another hash, as huggingface_hub does with Xet."""
    for blob in [p for p in cache.glob("models--*/blobs/*") if len(p.name) == 64]:
        shared = cache / "blobs" / blob.name[::-1][:2] / blob.name[::-1]
        shared.parent.mkdir(parents=True, exist_ok=True)
        blob.rename(shared)
        blob.symlink_to(shared)


def test_contents_that_repositories_share_are_read_and_not_taken_from_the_others(weights, tmp_path):
    cache = write_cache(tmp_path / "hf", {REPOSITORY: weights})
    share_contents(cache)
    source = HubSource(REPOSITORY, steps=[2], offline=True, cache=cache)
    resolved = source.resolve(2)
    assert resolved.weights_sha256 == file_sha256(weights["step2"] / "model.safetensors")
    repository = resolved.folder.parent.parent
    assert evict(repository, resolved.revision_loaded, {"model.safetensors": resolved.weights_sha256})
    assert not source.cached(2)
    assert not (repository / "blobs" / resolved.weights_sha256).is_symlink()
    assert len(list(cache.glob("blobs/*/*"))) == 3


def changed(folder: Path, name: str, one: str, other: str) -> bytes:
    """A file with a few bytes changed, as long as before."""
    content = (folder / name).read_text()
    assert one in content
    assert len(one) == len(other)
    return content.replace(one, other).encode()


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    ("name", "one", "other"), [("config.json", "1e-05", "1e-01"), ("tokenizer.json", '"added', '"Added')]
)
def test_small_files_are_checked_against_the_hubs_hash(weights, tmp_path, name, one, other):
    wrong = {name: changed(weights["step2"], name, one, other)}
    with serving({REPOSITORY: weights}, instead=wrong) as hub:
        here = source(hub, tmp_path)
        for call in (here.resolve, here.small_files):
            error = refused(call, 2)
            assert error.status is CheckpointStatus.CORRUPT
            assert name in error.what
        assert not here.offline
    offline = HubSource(REPOSITORY, steps=STEPS, offline=True, cache=tmp_path)
    assert refused(offline.small_files, 2).status is CheckpointStatus.CORRUPT
    with serving({REPOSITORY: weights}) as hub:  # a correct hub repairs the cache
        assert (source(hub, tmp_path).small_files(2) / name).read_bytes() == (weights["step2"] / name).read_bytes()
        resolved = source(hub, tmp_path).resolve(2)
        assert resolved.config_id == source(hub, tmp_path).identify(2).config_id


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_cache_of_copies_without_links_is_checked_against_the_hubs_hashes(weights, tmp_path, name):
    ledger = tmp_path / "ledger.json"
    with serving({REPOSITORY: weights}) as hub:
        source(hub, tmp_path, ledger=ledger).identify_many([2])
        folder = source(hub, tmp_path, ledger=ledger).resolve(2).folder
    for path in folder.iterdir():
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    shutil.rmtree(folder.parent.parent / "blobs")
    offline = HubSource(REPOSITORY, steps=STEPS, offline=True, cache=tmp_path, ledger=ledger)
    assert offline.resolve(2).folder == folder
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    assert refused(offline.resolve, 2).status is CheckpointStatus.CORRUPT
    with serving({REPOSITORY: weights}) as hub:
        again = source(hub, tmp_path, ledger=ledger).resolve(2)
    assert (again.folder / name).read_bytes() == (weights["step2"] / name).read_bytes()


def test_deletion_is_advised_only_for_what_massact_fetched(weights, tmp_path):
    cache = write_cache(tmp_path, {REPOSITORY: {"step2": weights["step2"]}})
    offline = HubSource(REPOSITORY, steps=STEPS, offline=True, cache=cache)
    blob = (offline.resolve(2).folder / "model.safetensors").resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.write_bytes(content)
    assert "delete" not in refused(offline.resolve, 2).remedy
    marks = cache / f"models--{REPOSITORY.replace('/', '--')}" / "massact"
    marks.mkdir()
    (marks / f"{commit_of(REPOSITORY, 'step2')}.host-1").touch()
    assert str(blob) in refused(offline.resolve, 2).remedy
