"""Files of a Hub dataset at a pinned commit: fetched once, every one checked against the hash the Hub states."""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from massact.checkpoints import hub_fetch
from massact.checkpoints.files import file_sha256
from massact.checkpoints.hub_cache import blob_of, cache_root, repository_folder
from massact.checkpoints.hub_errors import ask, disk_full, http_errors, translated
from massact.checkpoints.ledger import Ledger, Listed, listing
from massact.checkpoints.reach import PUBLIC_ENDPOINT, endpoint_named, hub_is_offline, reachable
from massact.checkpoints.source import CheckpointStatus, SourceError

log = logging.getLogger("massact")
_SHA256, _GIT_SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubDataset:
    """A dataset at a commit, the server it is on, and where it is kept.

    Attributes
    ----------
    cache
        The cache folder; None is huggingface_hub's own (HF_HOME).
    ledger
        A file that remembers what the commit holds, so that the Hub is asked once.
    offline
        Whether the cache alone may be used.
    """

    name: str
    commit: str
    ledger: Path
    endpoint: str = PUBLIC_ENDPOINT
    offline: bool = False
    cache: Path | None = None

    @classmethod
    def from_environment(cls, name: str, commit: str, ledger: Path) -> HubDataset:
        """As HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME say."""
        endpoint = endpoint_named()
        offline = hub_is_offline()
        return cls(name, commit, ledger, endpoint, offline)

    @property
    def snapshot(self) -> Path:
        """Where huggingface_hub keeps the files of this commit."""
        return repository_folder(self.name, self.cache, "dataset") / "snapshots" / self.commit


@dataclass(frozen=True)
class Fetched:
    """A folder of the dataset on this disk; `downloaded` of its `files` came just now, the others were there."""

    folder: Path
    files: int
    downloaded: int


def fetch_folder(dataset: HubDataset, prefix: str) -> Fetched:
    """Bring the files below `prefix` into the cache, and hold each to its hash.

    A file with other content is fetched again, after ever longer waits. With everything in the cache nothing is asked.

    Returns
    -------
    Fetched
        With no files when the dataset has none below `prefix`.

    Raises
    ------
    SourceError
        The Hub cannot be had, a file stays wrong, or the disk is full.
    """
    files = {name: listed for name, listed in _listing(dataset).items() if name.startswith(f"{prefix}/")}
    folder, waits, came = dataset.snapshot / prefix, iter(hub_fetch.REFETCH_WAITS_S), set[str]()
    while True:
        absent = [name for name in files if not (dataset.snapshot / name).is_file()]
        wrong = [name for name in files if name not in absent and not _intact(dataset.snapshot / name, files[name])]
        if not absent and not wrong:
            return Fetched(folder, len(files), len(came))
        if dataset.offline:
            raise _unusable(dataset, absent, wrong)
        bad = [*wrong, *absent]
        if came.issuperset(bad):
            wait = next(waits, None)
            if wait is None:
                raise _unusable(dataset, absent, wrong)
            log.warning("%s came with other content than the Hub states; fetched again in %g s", bad[0], wait)
            time.sleep(wait)
        elif wrong:
            log.warning("%s in the cache has other content than the Hub states; fetched again", wrong[0])
        _download(dataset, absent, wrong, files)
        came.update(absent, wrong)


def _listing(dataset: HubDataset) -> Mapping[str, Listed]:
    """Every file of the commit, from the ledger or the Hub; offline without a ledger, what the cache holds."""
    ledger = Ledger(dataset.ledger)
    known = ledger.get(dataset.commit)
    if known is not None:
        return known
    if dataset.offline:
        return _cached(dataset)
    from huggingface_hub import HfApi

    _check_reachable(dataset)
    api = HfApi(endpoint=dataset.endpoint)
    info = ask(
        lambda: api.dataset_info(
            dataset.name, revision=dataset.commit, files_metadata=True, timeout=hub_fetch.TIMEOUT_S
        ),
        dataset.name,
        dataset.commit,
        dataset.endpoint,
    )
    if info.sha != dataset.commit:
        raise SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{dataset.name} {dataset.commit} is answered with commit {info.sha}",
            "set published.commit to all 40 digits of a commit",
        )
    files = listing(info.siblings or ())
    ledger.put(dataset.commit, files)
    ledger.save()
    return files


def _cached(dataset: HubDataset) -> Mapping[str, Listed]:
    root = dataset.snapshot
    paths = [path for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    if not paths:
        raise _unusable(dataset, [""], [])
    log.warning("%s: read from the cache alone; whether it is complete is not known", dataset.name)
    return {path.relative_to(root).as_posix(): Listed(path.stat().st_size, None) for path in paths}


def _download(dataset: HubDataset, absent: list[str], wrong: list[str], files: Mapping[str, Listed]) -> None:
    """Fetch these files; a server that is gone or broken is told within seconds, not after a library's retries."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    _check_reachable(dataset)
    names = [*absent, *wrong]
    url = hf_hub_url(dataset.name, names[0], repo_type="dataset", revision=dataset.commit, endpoint=dataset.endpoint)
    ask(
        lambda: get_hf_file_metadata(url, timeout=hub_fetch.TIMEOUT_S, endpoint=dataset.endpoint),
        dataset.name,
        dataset.commit,
        dataset.endpoint,
    )
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        for wanted, again in ((absent, False), (wrong, True)):
            if wanted:
                snapshot_download(
                    dataset.name,
                    repo_type="dataset",
                    revision=dataset.commit,
                    cache_dir=dataset.cache,
                    endpoint=dataset.endpoint,
                    allow_patterns=wanted,
                    etag_timeout=hub_fetch.TIMEOUT_S,
                    force_download=again,
                )
    except http_errors() as error:
        needed = sum(files[name].bytes for name in names)
        full = disk_full(error, f"{dataset.name} {dataset.commit}", cache_root(dataset.cache), needed)
        found = full or translated(error, dataset.name, dataset.commit, dataset.endpoint)
        if found.status is not CheckpointStatus.CORRUPT:
            raise found from None
        log.warning("%s", found.what)


def _intact(path: Path, listed: Listed) -> bool:
    """Whether a cached file has the content the Hub states: by LFS's sha256 or git's blob hash, which names it."""
    stored_as = blob_of(path).name
    if listed.sha256 or _SHA256.fullmatch(stored_as):
        return file_sha256(path) == (listed.sha256 or stored_as)
    content = path.read_bytes()
    if _GIT_SHA1.fullmatch(stored_as):
        return git_blob_sha1(content) == stored_as
    return len(content) == listed.bytes  # a file system without links


def git_blob_sha1(content: bytes) -> str:
    """The name git gives a file's content.

    >>> git_blob_sha1(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _check_reachable(dataset: HubDataset) -> None:
    if not reachable(dataset.endpoint):
        raise SourceError(CheckpointStatus.UNREACHABLE, f"dataset {dataset.name}: no answer from {dataset.endpoint}")


def _unusable(dataset: HubDataset, absent: list[str], wrong: list[str]) -> SourceError:
    if wrong:
        path = (dataset.snapshot / wrong[0]).resolve()
        return SourceError(
            CheckpointStatus.CORRUPT,
            f"dataset {dataset.name}: {wrong[0]} has other content than the Hub states",
            f"delete {path} and run it again with the Hub in reach",
        )
    if dataset.offline:
        which = f"{len(absent)} files of dataset {dataset.name} are" if absent[0] else f"dataset {dataset.name} is"
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{which} not in the local cache, and HF_HUB_OFFLINE forbids fetching",
            "unset HF_HUB_OFFLINE, or set HF_HOME to a filled cache",
        )
    return SourceError(CheckpointStatus.UNREACHABLE, f"dataset {dataset.name} came without {absent[0]}")
