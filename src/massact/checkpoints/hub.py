"""Checkpoints on the Hugging Face Hub: one revision a step, verified against the hashes the Hub states."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from massact.checkpoints.files import (
    SMALL_FILES,
    choose_weights,
    combined_sha256,
    companions,
    file_sha256,
    folder_weights,
    read_config,
)
from massact.checkpoints.hub_errors import ask, http_errors, translated
from massact.checkpoints.reach import reachable
from massact.checkpoints.source import CheckpointStatus, Identity, Resolved, SourceError

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

log = logging.getLogger("massact")
PUBLIC_ENDPOINT = "https://huggingface.co"
TIMEOUT_S = 10.0
_TRUE = ("1", "true", "yes", "on")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class HubSource:
    """Revisions `step{N}` of one repository.

    Parameters
    ----------
    repo_id
        e.g. EleutherAI/pythia-70m.
    steps
        The steps whose revisions it should have.
    offline
        Use the local cache alone; None reads HF_HUB_OFFLINE.
    endpoint
        The server; None reads HF_ENDPOINT, else the public Hub.
    cache
        The cache folder; None is huggingface_hub's own (HF_HOME).

    A server that does not answer does not matter where the cache holds what is asked for.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        steps: Sequence[int],
        offline: bool | None = None,
        endpoint: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self.repo_id = repo_id
        self.endpoint = (endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC_ENDPOINT).rstrip("/")
        self.offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE if offline is None else offline
        self.cache = cache
        self._steps = sorted(steps)

    def steps(self) -> list[int]:
        """Steps it should have, ascending."""
        return list(self._steps)

    def identify(self, step: int) -> Identity:
        """Commit and hashes of a step's weights as the Hub states them; from the cache where it cannot be asked.

        Weight files without a stated hash (not stored by LFS) are downloaded and hashed.
        """
        revision = f"step{step}"
        if not self.offline:
            try:
                info = self._info(revision)
                stated = self._stated(info, revision)
                if all(stated.values()):
                    hashes = {name: sha or "" for name, sha in stated.items()}
                    return Identity(step, revision, info.sha or "", combined_sha256(hashes), hashes)
            except SourceError as error:
                self._raise_unless_cached(error, revision)
        resolved = self.resolve(step)
        hashes = {name: file_sha256(resolved.folder / name) for name in resolved.files}
        return Identity(step, revision, resolved.revision_loaded, resolved.weights_sha256, hashes)

    def resolve(self, step: int) -> Resolved:
        """Bring one revision into the cache and verify its weights.

        Raises
        ------
        SourceError
            Every status but `load_failed` as the Hub or the cache tells it; `load_failed` when the cache cannot be
            written. `fatal` when the repository itself does not exist.
        """
        revision = f"step{step}"
        if not self.offline:
            try:
                return self._downloaded(step, revision)
            except SourceError as error:
                self._raise_unless_cached(error, revision)
        return self._from_cache(step, revision)

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype, device)

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step; its weights are not fetched."""
        from massact.checkpoints.bridge import load_tokenizer

        revision = f"step{step}"
        folder = self._cached_folder(revision)
        if not self.offline and (folder is None or not (folder / "tokenizer.json").is_file()):
            folder = self._fetch(revision, SMALL_FILES)
        if folder is None:
            raise self._not_cached(revision)
        return load_tokenizer(folder)

    def _downloaded(self, step: int, revision: str) -> Resolved:
        info = self._info(revision)
        stated = self._stated(info, revision)
        cached = self._cached_folder(info.sha or revision)
        absent = [name for name in stated if cached is None or not (cached / name).is_file()]
        if absent:
            self._ask_for_file(info.sha or revision, absent[0], revision)
        folder = self._fetch(revision, (*stated, *companions(stated)))
        if folder.name != info.sha:
            raise SourceError(
                CheckpointStatus.CORRUPT,
                f"{self.repo_id} {revision} is commit {info.sha} and came as {folder.name}",
                "run it again: the revision moved meanwhile",
            )
        absent = [name for name in stated if not (folder / name).is_file()]
        if absent:
            raise SourceError(CheckpointStatus.UNREACHABLE, f"{self.repo_id} {revision} came without {absent[0]}")
        read_config(folder)
        found = {name: file_sha256(folder / name) for name in stated}
        for name in [name for name, sha in stated.items() if sha is not None and found[name] != sha]:
            self._fetch(revision, (name,), again=True)
            found[name] = file_sha256(folder / name)
            if found[name] != stated[name]:
                raise self._corrupt(folder / name, revision, "than the Hub states")
        return Resolved(step, revision, folder.name, folder, combined_sha256(found), tuple(stated))

    def _from_cache(self, step: int, revision: str) -> Resolved:
        folder = self._cached_folder(revision)
        if folder is None:
            raise self._not_cached(revision)
        weights = folder_weights(folder)
        hashes = {name: file_sha256(folder / name) for name in weights}
        for name, sha in hashes.items():
            stored_as = (folder / name).resolve().name  # the cache names an LFS file after its hash
            if _SHA256.fullmatch(stored_as) and stored_as != sha:
                raise self._corrupt(folder / name, revision, "than its name in the cache says")
        return Resolved(step, revision, folder.name, folder, combined_sha256(hashes), weights)

    def _cached_folder(self, revision: str) -> Path | None:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(
                snapshot_download(
                    self.repo_id,
                    revision=revision,
                    cache_dir=self.cache,
                    local_files_only=True,
                    allow_patterns=["config.json"],
                )
            )
        except LocalEntryNotFoundError:
            return None

    def _raise_unless_cached(self, error: SourceError, revision: str) -> None:
        """Pass over an error that does not matter, since the cache has what was asked for."""
        folder = self._cached_folder(revision) if error.status is CheckpointStatus.UNREACHABLE else None
        if folder is None or not choose_weights(path.name for path in folder.iterdir() if path.is_file()):
            raise error
        log.warning("%s %s is read from the cache: %s", self.repo_id, revision, error.what)

    def _info(self, revision: str) -> ModelInfo:
        """What the Hub says of a revision."""
        from huggingface_hub import HfApi

        if not reachable(self.endpoint):
            raise SourceError(CheckpointStatus.UNREACHABLE, f"{self.repo_id}: no answer from {self.endpoint}")
        api = HfApi(endpoint=self.endpoint)

        def info() -> ModelInfo:
            return api.model_info(self.repo_id, revision=revision, files_metadata=True, timeout=TIMEOUT_S)

        return ask(info, self.repo_id, revision, self.endpoint)

    def _ask_for_file(self, commit: str, name: str, revision: str) -> None:
        """Ask whether a file is served now: huggingface_hub's own retries take from half a minute to half an hour."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(self.repo_id, name, revision=commit, endpoint=self.endpoint)
        ask(
            lambda: get_hf_file_metadata(url, timeout=TIMEOUT_S, endpoint=self.endpoint),
            self.repo_id,
            revision,
            self.endpoint,
        )

    def _stated(self, info: ModelInfo, revision: str) -> dict[str, str | None]:
        """Weight files of a revision with the sha256 the Hub states, None where it states none."""
        files = {s.rfilename: s.lfs.sha256 if s.lfs else None for s in info.siblings or []}
        weights = choose_weights(files)
        if not weights or "config.json" not in files:
            raise SourceError(
                CheckpointStatus.WEIGHTS_MISSING,
                f"{self.repo_id} {revision} has no config.json or no whole set of weights",
            )
        return {name: files[name] for name in weights}

    def _fetch(self, revision: str, names: Iterable[str], *, again: bool = False) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars

        if not sys.stderr.isatty():
            disable_progress_bars()
        try:
            return Path(
                snapshot_download(
                    self.repo_id,
                    revision=revision,
                    cache_dir=self.cache,
                    endpoint=self.endpoint,
                    allow_patterns=list(names),
                    etag_timeout=TIMEOUT_S,
                    force_download=again,
                )
            )
        except http_errors() as error:
            raise translated(error, self.repo_id, revision, self.endpoint) from None

    def _corrupt(self, path: Path, revision: str, than: str) -> SourceError:
        return SourceError(
            CheckpointStatus.CORRUPT,
            f"{self.repo_id} {revision}: {path.name} has another sha256 {than}",
            f"delete {path.resolve()} and run it again",
        )

    def _not_cached(self, revision: str) -> SourceError:
        return SourceError(
            CheckpointStatus.UNREACHABLE,
            f"{self.repo_id} {revision} is not in the local cache, and HF_HUB_OFFLINE forbids fetching it",
            "unset HF_HUB_OFFLINE, or set HF_HOME to a filled cache",
        )
