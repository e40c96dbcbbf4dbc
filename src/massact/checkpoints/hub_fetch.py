"""Bring the weights of one revision into huggingface_hub's cache, and hold them to the hashes the Hub states."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from massact.checkpoints.files import companions, file_sha256, read_config
from massact.checkpoints.hub_cache import cached_folder
from massact.checkpoints.ledger import Listed
from massact.checkpoints.repository import Repository
from massact.checkpoints.source import CheckpointStatus, SourceError

log = logging.getLogger("massact")
# Waits before a file whose content is wrong is fetched a second, third and fourth time.
REFETCH_WAITS_S = (1.0, 5.0, 20.0)


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
        `corrupt` when a file stays wrong, and what `Repository.fetch` raises.
    """
    cached = cached_folder(where.repo_id, commit or revision, where.cache)
    absent = [name for name in files if cached is None or not (cached / name).is_file()]
    if absent:
        where.ask_for_file(commit or revision, absent[0], revision)
    needed = sum(files[name].bytes for name in absent)
    wanted, again = (*files, *companions(files)), False
    waits = iter(REFETCH_WAITS_S)
    while True:
        try:
            folder = where.fetch(revision, wanted, again=again, needed=needed)
            where.check_commit(folder, revision, commit)
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
