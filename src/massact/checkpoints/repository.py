"""One repository of the Hub: its listing, whether its server answers, and downloads into the cache."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from massact.checkpoints.hub_cache import cache_root, repository_folder
from massact.checkpoints.hub_errors import ask, disk_full, http_errors, translated
from massact.checkpoints.ledger import Listed, listing
from massact.checkpoints.reach import doubt, reachable
from massact.checkpoints.source import CheckpointStatus, SourceError

TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Repository:
    """A repository, its server, and the cache for its files (None: huggingface_hub's own, HF_HOME).

    `kind` is model or dataset. Every method raises SourceError for an error of the Hub, the network or the disk.
    """

    repo_id: str
    endpoint: str
    cache: Path | None
    kind: str = "model"

    @property
    def folder(self) -> Path:
        """Its folder in the cache."""
        return repository_folder(self.repo_id, self.cache, self.kind)

    def check_reachable(self) -> None:
        """Fail within seconds if the server is down, before a library starts to retry."""
        if not reachable(self.endpoint):
            raise SourceError(CheckpointStatus.UNREACHABLE, f"{self.repo_id}: no answer from {self.endpoint}")

    def info(self, revision: str) -> tuple[str, dict[str, Listed]]:
        """Commit and files of a revision, as the Hub states them now."""
        from huggingface_hub import HfApi

        self.check_reachable()
        api = HfApi(endpoint=self.endpoint)
        info: Any = ask(
            lambda: api.repo_info(
                self.repo_id, revision=revision, repo_type=self.kind, files_metadata=True, timeout=TIMEOUT_S
            ),
            self.repo_id,
            revision,
            self.endpoint,
        )
        return info.sha or "", listing(info.siblings or ())

    def ask_for_file(self, commit: str, name: str, revision: str) -> None:
        """Check that a file is served now: huggingface_hub's own retries take from half a minute to half an hour."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(self.repo_id, name, repo_type=self.kind, revision=commit, endpoint=self.endpoint)
        ask(
            lambda: get_hf_file_metadata(url, timeout=TIMEOUT_S, endpoint=self.endpoint),
            self.repo_id,
            revision,
            self.endpoint,
        )

    def fetch(self, revision: str, names: Iterable[str], *, again: bool = False, needed: int = 0) -> Path:
        """The snapshot of a revision, with those of these files that the repository has.

        Parameters
        ----------
        again
            Whether to ignore cached copies.
        needed
            Bytes to fetch, for the message about a full disk.
        """
        from huggingface_hub import constants, snapshot_download
        from huggingface_hub.utils import disable_progress_bars

        constants.HF_HUB_DISABLE_SHARED_BLOBS = True  # content shared by repositories could not be deleted
        if not sys.stderr.isatty():
            disable_progress_bars()
        try:
            return Path(
                snapshot_download(
                    self.repo_id,
                    repo_type=self.kind,
                    revision=revision,
                    cache_dir=self.cache,
                    endpoint=self.endpoint,
                    allow_patterns=list(names),
                    etag_timeout=TIMEOUT_S,
                    force_download=again,
                )
            )
        except http_errors() as error:
            doubt(self.endpoint)
            full = disk_full(error, f"{self.repo_id} {revision}", cache_root(self.cache), needed)
            raise full or translated(error, self.repo_id, revision, self.endpoint) from None

    def check_commit(self, snapshot: Path, revision: str, commit: str) -> None:
        """Check that a snapshot is the commit that was requested."""
        if snapshot.name != commit:
            raise SourceError(
                CheckpointStatus.UNREACHABLE,
                f"{self.repo_id} {revision} is commit {commit}, but commit {snapshot.name} was downloaded",
                "run it again: the revision moved during the download",
            )
