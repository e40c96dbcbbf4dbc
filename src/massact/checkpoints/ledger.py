"""A cache on disk of the file listings of Hub commits. A commit never changes, so each is requested once.

The last known commit of each revision is kept too, for use offline.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massact.disk import write_text
from massact.errors import OutputError, StorageError


@dataclass(frozen=True)
class Listed:
    """One file of a commit: size in bytes, sha256 if the Hub states one, git's hash of it or of its LFS pointer."""

    bytes: int
    sha256: str | None
    blob: str = ""


def listing(siblings: Iterable[Any]) -> dict[str, Listed]:
    """Files by name, from huggingface_hub's description of a commit."""
    return {
        s.rfilename: Listed(int(s.size or 0), s.lfs.sha256 if s.lfs else None, str(s.blob_id or "")) for s in siblings
    }


class Ledger:
    """Listings by commit, in one JSON file per repository. Without a path nothing is kept.

    A file that cannot be read is ignored: all its content can be requested again.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._listings: dict[str, dict[str, Listed]] = {}
        self._commits: dict[str, str] = {}
        if path is not None and path.is_file():
            self._listings, self._commits = _read(path)

    def get(self, commit: str) -> dict[str, Listed] | None:
        """Files of a commit by name; None if the ledger does not have it."""
        return self._listings.get(commit)

    def put(self, commit: str, files: Mapping[str, Listed]) -> None:
        """Remember the files of a commit, in memory until `save`."""
        with self._lock:
            self._listings[commit] = dict(files)

    def commit(self, revision: str) -> str | None:
        """The last known commit of a revision."""
        return self._commits.get(revision)

    def note(self, revision: str, commit: str) -> None:
        """Remember the commit of a revision, in memory until `save`."""
        with self._lock:
            self._commits[revision] = commit

    def save(self) -> None:
        """Write all listings atomically. A write that fails costs requests later, but no results."""
        if self.path is None:
            return
        with self._lock:
            listings = {
                c: {n: [f.bytes, f.sha256, f.blob] for n, f in files.items()} for c, files in self._listings.items()
            }
            content = {"listings": listings, "commits": dict(self._commits)}
        with suppress(OutputError, StorageError):
            write_text(self.path, json.dumps(content, sort_keys=True))


def _read(path: Path) -> tuple[dict[str, dict[str, Listed]], dict[str, str]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        listings = {
            commit: {name: Listed(int(size), sha, blob) for name, (size, sha, blob) in files.items()}
            for commit, files in content["listings"].items()
        }
        return listings, {str(revision): str(commit) for revision, commit in content["commits"].items()}
    except (OSError, ValueError, TypeError, AttributeError, KeyError):
        return {}, {}
