"""Files of a Hub dataset, fetched once and checked against the hashes that the Hub states."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from massact.checkpoints import hub_fetch
from massact.checkpoints.hub_cache import cache_root, intact
from massact.checkpoints.ledger import Ledger, Listed
from massact.checkpoints.reach import PUBLIC_ENDPOINT, endpoint_named, hub_is_offline
from massact.checkpoints.repository import Repository
from massact.checkpoints.source import CheckpointStatus, SourceError
from massact.disk import free_bytes

log = logging.getLogger("massact")
_GIT_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubDataset:
    """A dataset at a revision, its server, and its place on this disk.

    Attributes
    ----------
    revision
        A commit, or a branch. The Hub is asked for a branch's commit each time.
    cache
        The cache folder; None: huggingface_hub's own (HF_HOME).
    ledger
        A file with the listings of commits, so that the Hub is asked once.
    offline
        Whether only the cache may be used.
    """

    name: str
    revision: str
    ledger: Path
    endpoint: str = PUBLIC_ENDPOINT
    offline: bool = False
    cache: Path | None = None

    @classmethod
    def from_environment(cls, name: str, revision: str, records: Path) -> HubDataset:
        """From HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME; the ledger is stored beside the records."""
        ledger = records / "hub" / f"datasets--{name.replace('/', '--')}.json"
        return cls(name, revision, ledger, endpoint_named(), hub_is_offline())

    @property
    def repository(self) -> Repository:
        """Its repository on the Hub and in the cache."""
        return Repository(self.name, self.endpoint, self.cache, "dataset")

    def snapshot(self, commit: str) -> Path:
        """The folder of a commit in huggingface_hub's cache."""
        return self.repository.folder / "snapshots" / commit


@dataclass(frozen=True)
class Fetched:
    """A commit's snapshot on this disk and the selected files in it; `downloaded` counts those fetched by this call."""

    commit: str
    snapshot: Path
    names: tuple[str, ...]
    downloaded: int


def fetch_files(dataset: HubDataset, selects: Callable[[str], bool]) -> Fetched:
    """Fetch files into the cache, and check each against its hash.

    A file with other content is fetched again, after increasing waits. If the cache holds everything of a commit, no
    request is sent.

    Parameters
    ----------
    selects
        Selects files by name.

    Returns
    -------
    Fetched
        Without names if the dataset has no such files.

    Raises
    ------
    SourceError
        The Hub is unavailable, a file stays wrong, or the disk is full.
    """
    commit, listed = _listing(dataset)
    snapshot = dataset.snapshot(commit)
    files = {name: file for name, file in sorted(listed.items()) if selects(name)}
    waits, downloads = iter(hub_fetch.REFETCH_WAITS_S), set[str]()
    while True:
        absent = [name for name in files if not (snapshot / name).is_file()]
        wrong = [name for name in files if name not in absent and intact(snapshot / name, files[name]) is False]
        if not absent and not wrong:
            return Fetched(commit, snapshot, tuple(files), len(downloads))
        if dataset.offline:
            raise _unusable(dataset, snapshot, absent, wrong)
        bad = [*wrong, *absent]
        if downloads.issuperset(bad):
            wait = next(waits, None)
            if wait is None:
                raise _unusable(dataset, snapshot, absent, wrong)
            log.warning("%s came with other content than the Hub states; fetching it again in %g s", bad[0], wait)
            time.sleep(wait)
        elif wrong:
            log.warning("%s in the cache has other content than the Hub states; fetching it again", wrong[0])
        _download(dataset, commit, absent, wrong, files)
        downloads.update(bad)


def _listing(dataset: HubDataset) -> tuple[str, Mapping[str, Listed]]:
    """The commit and its files, from the ledger or the Hub; offline without a ledger, the files in the cache."""
    ledger = Ledger(dataset.ledger)
    commit = _commit_known(dataset)
    known = ledger.get(commit)
    if known is not None:
        return commit, known
    if dataset.offline:
        return commit, _cached(dataset, commit)
    commit, files = dataset.repository.info(dataset.revision)
    if _GIT_SHA1.fullmatch(dataset.revision) and commit != dataset.revision:
        raise SourceError(
            CheckpointStatus.UNREACHABLE,
            f"the Hub resolves {dataset.name} {dataset.revision} to commit {commit}",
            "give all 40 digits of a commit of this dataset",
        )
    ledger.put(commit, files)
    ledger.save()
    return commit, files


def _commit_known(dataset: HubDataset) -> str:
    """The commit, if no request is needed: the revision itself, or offline a branch's last commit; else empty."""
    if _GIT_SHA1.fullmatch(dataset.revision):
        return dataset.revision
    ref = dataset.repository.folder / "refs" / dataset.revision
    return ref.read_text().strip() if dataset.offline and ref.is_file() else ""


def _cached(dataset: HubDataset, commit: str) -> Mapping[str, Listed]:
    root = dataset.snapshot(commit)
    paths = [path for path in root.rglob("*") if path.is_file()] if commit and root.is_dir() else []
    if not paths:
        raise _unusable(dataset, root, [""], [])
    log.warning("%s: read from the cache only; it may be incomplete", dataset.name)
    return {path.relative_to(root).as_posix(): Listed(path.stat().st_size, None) for path in paths}


def _download(
    dataset: HubDataset, commit: str, absent: list[str], wrong: list[str], files: Mapping[str, Listed]
) -> None:
    """Fetch these files if there is space for them. A server that is down or failing is reported within seconds."""
    repository, names = dataset.repository, [*absent, *wrong]
    needed, root = sum(files[name].bytes for name in names), cache_root(dataset.cache)
    if needed > free_bytes(root):
        raise SourceError(
            CheckpointStatus.DISK_FULL,
            f"{dataset.name} cannot be stored in {root} ({needed} bytes needed, {free_bytes(root)} free)",
            "free space there, or set HF_HOME to another disk",
            fatal=True,
        )
    repository.check_reachable()
    repository.ask_for_file(commit, names[0], commit)
    try:
        for names, again in ((absent, False), (wrong, True)):
            if names:
                # By the requested name, so that the cache knows the branch when the Hub is unreachable.
                snapshot = repository.fetch(dataset.revision, names, again=again, needed=needed)
                repository.check_commit(snapshot, dataset.revision, commit)
    except SourceError as error:
        if error.status is not CheckpointStatus.CORRUPT:
            raise
        log.warning("%s", error.what)


def _unusable(dataset: HubDataset, snapshot: Path, absent: list[str], wrong: list[str]) -> SourceError:
    if wrong:
        path = (snapshot / wrong[0]).resolve()
        return SourceError(
            CheckpointStatus.CORRUPT,
            f"dataset {dataset.name}: {wrong[0]} has other content than the Hub states",
            f"delete {path} and run it again when the Hub is reachable",
        )
    if dataset.offline:
        which = f"{len(absent)} files of dataset {dataset.name} are" if absent[0] else f"dataset {dataset.name} is"
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{which} not in the local cache, and HF_HUB_OFFLINE forbids fetching",
            "unset HF_HUB_OFFLINE, or set HF_HOME to a filled cache",
        )
    return SourceError(CheckpointStatus.UNREACHABLE, f"the download of dataset {dataset.name} lacks {absent[0]}")
