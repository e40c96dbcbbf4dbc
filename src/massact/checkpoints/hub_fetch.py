"""Fetch files of one revision into huggingface_hub's cache, and check them against the hashes that the Hub states."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path

from massact.checkpoints.files import unreadable
from massact.checkpoints.hub_cache import cached_folder, intact
from massact.checkpoints.ledger import Listed
from massact.checkpoints.repository import Repository
from massact.checkpoints.source import CheckpointStatus, SourceError

log = logging.getLogger("massact")
_LARGE = (".safetensors", ".bin")
# Waits before the second, third and fourth download of a file with wrong content.
REFETCH_WAITS_S = (1.0, 5.0, 20.0)


def fetch_verified(where: Repository, revision: str, commit: str, files: Mapping[str, Listed]) -> Path:
    """Snapshot of a revision with these files, each with the content that the Hub states.

    A truncated file or one with other content is fetched again, after increasing waits. So is a file that another
    thread or process removes from the cache in the meantime, having finished with the same content.

    Parameters
    ----------
    files
        The files to fetch, as the Hub lists them, the largest first.

    Raises
    ------
    SourceError
        `corrupt` when a file stays wrong; other errors as in `Repository.fetch`.
    """
    cached = cached_folder(where.repo_id, commit or revision, where.cache)
    absent = [name for name in files if cached is None or not (cached / name).is_file()]
    if absent:
        where.ask_for_file(commit or revision, absent[0], revision)
    needed = sum(files[name].bytes for name in absent if name.endswith(_LARGE))
    names, again = tuple(files), False
    waits = iter(REFETCH_WAITS_S)
    while True:
        try:
            folder = where.fetch(revision, names, again=again, needed=needed)
            where.check_commit(folder, revision, commit)
            wrong = [name for name, file in files.items() if intact(folder / name, file) is False]
            if not wrong:
                return folder
            error = corrupt(where.repo_id, folder / wrong[0], revision, "than the Hub states")
            for name in wrong:
                if not (folder / name).is_symlink():  # a copy would block the new download
                    (folder / name).unlink(missing_ok=True)
            names, again = tuple(wrong), True
        except FileNotFoundError as gone:
            name = Path(gone.filename).name
            error = SourceError(
                CheckpointStatus.UNREACHABLE, f"the download of {where.repo_id} {revision} lacks {name}"
            )
            names, again = tuple(files), False
        except PermissionError as refused:
            raise unreadable(Path(refused.filename), refused) from None
        except SourceError as caught:
            if caught.status is not CheckpointStatus.CORRUPT:
                raise
            error = caught
        wait = next(waits, None)
        if wait is None:
            raise error
        log.warning("%s; fetching it again in %g s", error.what, wait)
        time.sleep(wait)


def corrupt(repo_id: str, path: Path, revision: str, than: str, *, ours: bool = True) -> SourceError:
    """The error for a file whose content is not what it should be.

    Parameters
    ----------
    ours
        Whether massact fetched it. Users are never told to delete other files.
    """
    kind = "sha256" if path.name.endswith(_LARGE) else "content"
    return SourceError(
        CheckpointStatus.CORRUPT,
        f"{repo_id} {revision}: {path.name} has another {kind} {than}",
        f"delete {path.resolve()} and run it again"
        if ours
        else "run it again without HF_HUB_OFFLINE, to fetch it again",
    )
