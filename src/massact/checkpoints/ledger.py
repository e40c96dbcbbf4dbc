"""What commits of Hub repositories hold, remembered on disk: a commit never changes, so it is asked for once.

Which commit a revision was when it was last asked about is remembered too, for when nobody can be asked.
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
    """One file of a commit: size in bytes, sha256 where the Hub states one, git's hash of it or of its pointer."""

    bytes: int
    sha256: str | None
    blob: str = ""


def listing(siblings: Iterable[Any]) -> dict[str, Listed]:
    """Files by name, from what huggingface_hub says of a commit's files."""
    return {
        s.rfilename: Listed(int(s.size or 0), s.lfs.sha256 if s.lfs else None, str(s.blob_id or "")) for s in siblings
    }


class Ledger:
    """Listings by commit, in one JSON file a repository; without a path nothing is remembered.

    A file that cannot be read is as good as none: everything in it can be asked for again.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._listings: dict[str, dict[str, Listed]] = {}
        self._commits: dict[str, str] = {}
        if path is not None and path.is_file():
            self._listings, self._commits = _read(path)

    def get(self, commit: str) -> dict[str, Listed] | None:
        """Files of a commit by name, or None when it has not been listed."""
        return self._listings.get(commit)

    def put(self, commit: str, files: Mapping[str, Listed]) -> None:
        """Remember the files of a commit, until `save` in memory alone."""
        with self._lock:
            self._listings[commit] = dict(files)

    def commit(self, revision: str) -> str | None:
        """The commit that a revision last was."""
        return self._commits.get(revision)

    def note(self, revision: str, commit: str) -> None:
        """Remember which commit a revision is, until `save` in memory alone."""
        with self._lock:
            self._commits[revision] = commit

    def save(self) -> None:
        """Write all listings, whole or not at all; a disk that refuses costs requests, not results."""
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
