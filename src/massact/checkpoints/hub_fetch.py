"""Bring files of one revision into huggingface_hub's cache, and hold them to the hashes the Hub states."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from massact.checkpoints.files import companions, file_sha256, read_config
from massact.checkpoints.hub_cache import cache_root, cached_folder
from massact.checkpoints.hub_errors import ask, disk_full, http_errors, translated
from massact.checkpoints.ledger import Listed
from massact.checkpoints.reach import doubt
from massact.checkpoints.source import CheckpointStatus, SourceError

log = logging.getLogger("massact")
TIMEOUT_S = 10.0
# Waits before a file whose content is wrong is fetched a second, third and fourth time.
REFETCH_WAITS_S = (1.0, 5.0, 20.0)


@dataclass(frozen=True)
class Repository:
    """A repository, the server it is on, and the cache it is fetched to (None: huggingface_hub's own)."""

    repo_id: str
    endpoint: str
    cache: Path | None


def fetch(where: Repository, revision: str, names: Iterable[str], *, again: bool = False, needed: int = 0) -> Path:
    """The snapshot of a revision, with these files where the repository has them.

    Parameters
    ----------
    again
        Whether to ignore cached copies.
    needed
        Bytes to fetch, for the message of a full disk.

    Raises
    ------
    SourceError
        As the Hub, the network or the disk tells it.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    constants.HF_HUB_DISABLE_SHARED_BLOBS = True  # what repositories share could not be given back

    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        return Path(
            snapshot_download(
                where.repo_id,
                revision=revision,
                cache_dir=where.cache,
                endpoint=where.endpoint,
                allow_patterns=list(names),
                etag_timeout=TIMEOUT_S,
                force_download=again,
            )
        )
    except http_errors() as error:
        doubt(where.endpoint)
        full = disk_full(error, f"{where.repo_id} {revision}", cache_root(where.cache), needed)
        raise full or translated(error, where.repo_id, revision, where.endpoint) from None


def fetch_verified(
    where: Repository, revision: str, commit: str, files: Mapping[str, Listed]
) -> tuple[Path, dict[str, str]]:
    """Snapshot of a revision and the sha256 of its weight files, which are those stated.

    A file that comes short or with other content is fetched again, after ever longer waits; likewise one that another
    thread or process, done with the same content, takes out of the cache meanwhile.

    Parameters
    ----------
    files
        The weight files as the Hub lists them.

    Raises
    ------
    SourceError
        `corrupt` when a file stays wrong, and what `fetch` raises.
    """
    cached = cached_folder(where.repo_id, commit or revision, where.cache)
    absent = [name for name in files if cached is None or not (cached / name).is_file()]
    if absent:
        _ask_for_file(where, commit or revision, absent[0], revision)
    needed = sum(files[name].bytes for name in absent)
    wanted, again = (*files, *companions(files)), False
    waits = iter(REFETCH_WAITS_S)
    while True:
        try:
            folder = fetch(where, revision, wanted, again=again, needed=needed)
            _is_of(where, folder, commit, revision)
            found = {name: file_sha256(folder / name) for name in files}
            wrong = [name for name, file in files.items() if file.sha256 not in (None, found[name])]
            if not wrong:
                read_config(folder)
                return folder, found
            error = corrupt(where.repo_id, folder / wrong[0], revision, "than the Hub states")
            wanted, again = tuple(wrong), True
        except FileNotFoundError as gone:
            name = Path(gone.filename).name
            error = SourceError(CheckpointStatus.UNREACHABLE, f"{where.repo_id} {revision} came without {name}")
            wanted, again = (*files, *companions(files)), False
        except SourceError as caught:
            if caught.status is not CheckpointStatus.CORRUPT:
                raise
            error = caught
        wait = next(waits, None)
        if wait is None:
            raise error
        log.warning("%s; fetched again in %g s", error.what, wait)
        time.sleep(wait)


def corrupt(repo_id: str, path: Path, revision: str, than: str) -> SourceError:
    """The error for a file whose content is not what it should be."""
    return SourceError(
        CheckpointStatus.CORRUPT,
        f"{repo_id} {revision}: {path.name} has another sha256 {than}",
        f"delete {path.resolve()} and run it again",
    )


def _is_of(where: Repository, folder: Path, commit: str, revision: str) -> None:
    """The snapshot is that of the commit."""
    if folder.name != commit:
        raise SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{where.repo_id} {revision} is commit {commit} and came as {folder.name}",
            "run it again: the revision moved meanwhile",
        )


def _ask_for_file(where: Repository, commit: str, name: str, revision: str) -> None:
    """Ask whether a file is served now: huggingface_hub's own retries take from half a minute to half an hour."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(where.repo_id, name, revision=commit, endpoint=where.endpoint)
    ask(
        lambda: get_hf_file_metadata(url, timeout=TIMEOUT_S, endpoint=where.endpoint),
        where.repo_id,
        revision,
        where.endpoint,
    )
