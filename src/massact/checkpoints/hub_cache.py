"""huggingface_hub's cache of one repository: what is in it, who fetched it, and taking weights out again."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from massact import claims
from massact.checkpoints.files import file_sha256, git_blob_sha1
from massact.checkpoints.ledger import Listed

_LOCK_WAIT_S = 0.05
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


def cache_root(cache: Path | None) -> Path:
    """The folder that downloads go to."""
    from huggingface_hub import constants

    return cache if cache is not None else Path(constants.HF_HUB_CACHE)


def repository_folder(repo_id: str, cache: Path | None, kind: str = "model") -> Path:
    """Where the cache keeps a repository; `kind` is model or dataset."""
    return cache_root(cache) / f"{kind}s--{repo_id.replace('/', '--')}"


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


def blob_of(path: Path) -> Path:
    """The content that a file of a snapshot links to, which is named after its hash.

    One link is followed and no more: the content may itself be a link, into a store that repositories share.
    """
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path


def intact(path: Path, listed: Listed | None) -> bool | None:
    """Whether a cached file has the content that the Hub states; None where its hash is not known.

    It is held to LFS's sha256 or git's hash, as `listed` says or else as the name under which the cache keeps it.
    Where the cache holds copies and no links, only the listing knows the hash, or at least the size.
    """
    stored_as = blob_of(path).name
    sha256 = listed.sha256 if listed is not None else None
    if sha256 is None and (listed is None or not listed.blob) and _SHA256.fullmatch(stored_as):
        sha256 = stored_as
    if sha256 is not None:
        return file_sha256(path) == sha256
    blob = listed.blob if listed is not None else ""
    if not blob and _GIT_SHA1.fullmatch(stored_as):
        blob = stored_as
    content = path.read_bytes()
    if blob:
        return git_blob_sha1(content) == blob
    return None if listed is None or len(content) == listed.bytes else False


def evict(repository: Path, commit: str, files: Mapping[str, str]) -> bool:
    """Take weights out of a commit's snapshot, whole or partly fetched, and their contents unless another snapshot has
    them; False when a content stayed because it is being fetched just now.

    Parameters
    ----------
    files
        Name -> sha256.
    """
    snapshot, done = repository / "snapshots" / commit, True
    for name, sha in files.items():
        link = snapshot / name
        blob = blob_of(link) if link.is_symlink() else repository / "blobs" / sha
        with _content_lock(repository, blob.name) as ours:
            link.unlink(missing_ok=True)
            if not ours:
                done = False
                continue
            _clear_partial(blob)
            if not _linked(repository, name, blob):
                blob.unlink(missing_ok=True)
    return done


def _clear_partial(blob: Path) -> None:
    """Delete what killed processes left of a content half-fetched, also under names that no process takes up again.

    Its lock is held. Parts of other contents stay: they are of other tools' downloads.
    """
    for path in (*blob.parent.glob(f"{blob.name}.*.incomplete"), blob.parent / f"{blob.name}.incomplete"):
        path.unlink(missing_ok=True)


def _linked(repository: Path, name: str, blob: Path) -> bool:
    """Whether a snapshot still has this content under this name."""
    with suppress(FileNotFoundError):
        links = [snapshot / name for snapshot in (repository / "snapshots").iterdir()]
        return any(blob_of(link) == blob for link in links if link.is_symlink())
    return False


@contextmanager
def _content_lock(repository: Path, etag: str) -> Iterator[bool]:
    """Hold huggingface_hub's own lock of a content, which it holds while it fetches it; False when somebody does."""
    from huggingface_hub.utils import WeakFileLock

    path = repository.parent / ".locks" / repository.name / f"{etag}.lock"
    if not path.is_file():
        yield True
        return
    with ExitStack() as held:
        try:
            held.enter_context(WeakFileLock(path, timeout=_LOCK_WAIT_S))
        except TimeoutError:
            yield False
            return
        yield True


class FetchMarks:
    """Which commits' weights were fetched to be measured, and by which processes: one file for each of both.

    They lie beside the snapshots, so that they outlive a killed process and every process that uses the cache sees
    them: what one has done with, another may still be reading.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fetching: list[str] = []

    @contextmanager
    def fetching(self, commit: str, cached: Callable[[], bool]) -> Iterator[None]:
        """Mark a commit that is about to be fetched, unless it was in the cache before anybody marked it."""
        self._fetching.append(commit)
        with suppress(OSError), self._lock():  # a disk that refuses says so when the weights come
            if self.of(commit) or not cached():
                claims.take(self._mine(commit))
        try:
            yield
        finally:
            self._fetching.remove(commit)

    def of(self, commit: str) -> list[Path]:
        """The marks of a commit, those of processes that have died among them."""
        return sorted(self.folder.glob(f"{commit}.*"))

    def give_up(self, commit: str, then: Callable[[], bool]) -> None:
        """Take this process's mark away; with no other living process at it, `then` first, and the dead's marks too.

        The marks stay while a thread of this process fetches the commit, and when `then` says that it is not done.
        """
        if not self.of(commit):
            return
        with suppress(OSError), self._lock():
            if commit in self._fetching:
                return
            if any(claims.elsewhere(mark) for mark in self.of(commit)):
                self._mine(commit).unlink(missing_ok=True)
            elif then():
                for mark in self.of(commit):
                    mark.unlink(missing_ok=True)

    def _mine(self, commit: str) -> Path:
        return self.folder / f"{commit}.{socket.gethostname()}-{os.getpid()}"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from huggingface_hub.utils import WeakFileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.folder / "lock"):
            yield
