"""Releasing weights deletes the files that the sweep fetched, and no others."""

from massact.checkpoints.hub_cache import evict


def test_parts_of_other_downloads_stay(tmp_path):
    sha, other = "a" * 64, "b" * 64
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "commit"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    ours = [f"{sha}.incomplete", f"{sha}.1f.incomplete", sha]
    theirs = [f"{other}.incomplete", f"{other}.2e.incomplete", other, "notes.txt"]
    for name in (*ours, *theirs):
        (blobs / name).write_bytes(b"part")
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{sha}")
    assert evict(tmp_path, "commit", {"model.safetensors": sha})
    assert sorted(path.name for path in blobs.iterdir()) == sorted(theirs)
    assert not list(snapshot.iterdir())
