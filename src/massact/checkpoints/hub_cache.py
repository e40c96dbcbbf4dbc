"""huggingface_hub's cache of one repository: its contents, who fetched them, and how weights are removed again."""

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
    """The folder for downloads."""
    from huggingface_hub import constants

    return cache if cache is not None else Path(constants.HF_HUB_CACHE)


def repository_folder(repo_id: str, cache: Path | None, kind: str = "model") -> Path:
    """The folder of a repository in the cache; `kind` is model or dataset."""
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
    """The blob that a file of a snapshot links to. Its name is its hash.

    Only one link is followed: the blob may itself be a link into a store that several repositories share.
    """
    return Path(os.path.normpath(path.parent / path.readlink())) if path.is_symlink() else path


def intact(path: Path, listed: Listed | None) -> bool | None:
    """Whether a cached file has the content that the Hub states; None if its hash is unknown.

    It is compared with LFS's sha256 or git's hash, from `listed` or else from the name of the blob. If the cache holds
    copies instead of links, only the listing has the hash, or at least the size.
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
    """Remove weights from a commit's snapshot, complete or partial, and their blobs unless another snapshot uses them.

    Returns False if a blob was kept because a process is fetching it.

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
    """Delete partial downloads of a blob by killed processes, including names that no process would resume.

    The caller holds the blob's lock. Partial downloads of other blobs are kept: they belong to other tools.
    """
    for path in (*blob.parent.glob(f"{blob.name}.*.incomplete"), blob.parent / f"{blob.name}.incomplete"):
        path.unlink(missing_ok=True)


def _linked(repository: Path, name: str, blob: Path) -> bool:
    """Whether a snapshot still links to this blob under this name."""
    with suppress(FileNotFoundError):
        links = [snapshot / name for snapshot in (repository / "snapshots").iterdir()]
        return any(blob_of(link) == blob for link in links if link.is_symlink())
    return False


@contextmanager
def _content_lock(repository: Path, etag: str) -> Iterator[bool]:
    """Hold the lock that huggingface_hub takes while it fetches a blob. Yields False if another process holds it."""
    from huggingface_hub.utils import WeakFileLock

    path = repository.parent / ".locks" / repository.name / f"{etag}.lock"
    if not path.is_file():
        yield True
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(WeakFileLock(path, timeout=_LOCK_WAIT_S))
        except TimeoutError:
            yield False
            return
        yield True


class FetchMarks:
    """Which processes fetched which commits' weights for a measurement: one file per process and commit.

    The marks are stored beside the snapshots. They outlive a killed process, and every process that uses the cache
    sees them, because one may still be reading weights that another has finished with.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fetching: list[str] = []

    @contextmanager
    def fetching(self, commit: str, cached: Callable[[], bool]) -> Iterator[None]:
        """Mark a commit before it is fetched, unless it was in the cache before any mark."""
        self._fetching.append(commit)
        with suppress(OSError), self._lock():  # a write error will be reported when the weights are stored
            if self.of(commit) or not cached():
                claims.take(self._own_mark(commit))
        try:
            yield
        finally:
            self._fetching.remove(commit)

    def of(self, commit: str) -> list[Path]:
        """The marks of a commit, including those of dead processes."""
        return sorted(self.folder.glob(f"{commit}.*"))

    def give_up(self, commit: str, then: Callable[[], bool]) -> None:
        """Remove this process's mark. If no other live process has one, call `then` and remove dead processes' marks.

        The marks are kept while a thread of this process fetches the commit, and if `then` returns False.
        """
        if not self.of(commit):
            return
        with suppress(OSError), self._lock():
            if commit in self._fetching:
                return
            if any(claims.elsewhere(mark) for mark in self.of(commit)):
                self._own_mark(commit).unlink(missing_ok=True)
            elif then():
                for mark in self.of(commit):
                    mark.unlink(missing_ok=True)

    def _own_mark(self, commit: str) -> Path:
        return self.folder / f"{commit}.{socket.gethostname()}-{os.getpid()}"

    @contextmanager
    def _lock(self) -> Iterator[None]:
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            yield
