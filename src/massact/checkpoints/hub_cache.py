"""huggingface_hub's cache of one repository: what is in it, and taking one revision's weights out again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def cache_root(cache: Path | None) -> Path:
    """The folder that downloads go to."""
    from huggingface_hub import constants

    return cache if cache is not None else Path(constants.HF_HUB_CACHE)


def cached_folder(repo_id: str, revision: str, cache: Path | None) -> Path | None:
    """The snapshot of a revision (name or commit) in the cache, whether or not it is complete."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repo_id, revision=revision, cache_dir=cache, local_files_only=True, allow_patterns=["config.json"]
            )
        )
    except LocalEntryNotFoundError:
        return None


def evict(snapshot: Path, files: Sequence[str]) -> int:
    """Take files out of a snapshot, and their contents where no other snapshot has them; returns bytes freed."""
    repository = snapshot.parent.parent
    freed = 0
    for name in files:
        link = snapshot / name
        blob = link.resolve()
        with suppress(FileNotFoundError):
            link.unlink()
        if blob.parent == (repository / "blobs").resolve() and not _linked(repository, name, blob):
            with suppress(FileNotFoundError):
                size = blob.stat().st_size
                blob.unlink()
                freed += size
    return freed


def _linked(repository: Path, name: str, blob: Path) -> bool:
    """Whether a snapshot still has this content under this name."""
    return any((snapshot / name).resolve() == blob for snapshot in (repository / "snapshots").iterdir())


class FetchMarks:
    """Which commits' weights were fetched to be measured and may go afterwards: one empty file each, so that they
    outlive a killed process. Without a folder they are remembered in memory alone.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._here: set[str] = set()

    def __contains__(self, commit: str) -> bool:
        return commit in self._here or (self.folder is not None and (self.folder / commit).is_file())

    def add(self, commit: str) -> None:
        """Mark a commit; a disk that refuses costs room in the cache, not results."""
        self._here.add(commit)
        if self.folder is not None:
            with suppress(OSError):
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / commit).touch()

    def remove(self, commit: str) -> None:
        """Take a mark away."""
        self._here.discard(commit)
        if self.folder is not None:
            with suppress(OSError):
                (self.folder / commit).unlink()


def weights_in(snapshot: Path) -> list[str]:
    """Names of the weight files in a snapshot, whether or not they are a whole set."""
    return sorted(path.name for path in snapshot.iterdir() if path.suffix in (".safetensors", ".bin"))
