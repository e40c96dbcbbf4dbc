"""Checkpoints on the Hugging Face Hub: one revision a step, verified against the hashes the Hub states."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.source import CheckpointStatus, Resolved, SourceError, combined_sha256, file_sha256, weight_files

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

PUBLIC_ENDPOINT = "https://huggingface.co"
REACH_TIMEOUT_S = 3.0
INFO_TIMEOUT_S = 20.0
_SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_TRUE = ("1", "true", "yes", "on")


class HubSource:
    """Revisions `step{N}` of one repository.

    Parameters
    ----------
    repository
        e.g. EleutherAI/pythia-70m.
    steps
        The revisions it should have.
    endpoint
        The server; None reads HF_ENDPOINT, else the public Hub.
    offline
        Use the local cache alone; None reads HF_HUB_OFFLINE.
    """

    def __init__(
        self, repository: str, *, steps: list[int], endpoint: str | None = None, offline: bool | None = None
    ) -> None:
        self.repository = repository
        self.endpoint = endpoint or os.environ.get("HF_ENDPOINT") or PUBLIC_ENDPOINT
        self.offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in _TRUE if offline is None else offline
        self._steps = sorted(steps)

    def steps(self) -> list[int]:
        """Steps it should have, ascending."""
        return list(self._steps)

    def resolve(self, step: int) -> Resolved:
        """Bring one revision into the cache and verify its weights.

        Raises
        ------
        SourceError
            unreachable (fatal: the model's other steps are not tried), revision_missing, weights_missing, or corrupt.
        """
        revision = f"step{step}"
        if self.offline:
            return self._from_cache(step, revision)
        if not reachable(self.endpoint):
            raise SourceError(
                CheckpointStatus.UNREACHABLE, f"{self.repository}: no answer from {self.endpoint}", fatal=True
            )
        commit, stated = self._stated(revision)
        folder = self._fetch(revision, commit, [*_SMALL_FILES, *stated])
        if folder.name != commit:
            raise SourceError(
                CheckpointStatus.CORRUPT, f"{self.repository} {revision}: asked for {commit}, got {folder.name}"
            )
        found = {name: file_sha256(folder / name) for name in stated}
        for name, sha in stated.items():
            if sha is not None and found[name] != sha:
                (folder / name).resolve().unlink()
                raise SourceError(
                    CheckpointStatus.CORRUPT,
                    f"{self.repository} {revision}: {name} has another sha256 than the Hub states (removed)",
                    "run it again to fetch it anew",
                )
        return Resolved(step, revision, commit, folder, combined_sha256(found))

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype=dtype, device=device)

    def weight_hashes(self, step: int) -> tuple[str, str]:
        """Commit and combined hash of a step's weights as the Hub states them, without a download."""
        commit, stated = self._stated(f"step{step}")
        return commit, combined_sha256({name: sha or "" for name, sha in stated.items()})

    def _from_cache(self, step: int, revision: str) -> Resolved:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = Path(snapshot_download(self.repository, revision=revision, local_files_only=True))
        except LocalEntryNotFoundError:
            raise SourceError(
                CheckpointStatus.UNREACHABLE,
                f"{self.repository} {revision} is not in the local cache, and HF_HUB_OFFLINE forbids fetching it",
                "unset HF_HUB_OFFLINE, or set HF_HOME to a filled cache",
            ) from None
        files = weight_files(folder)
        if not files:
            raise SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{self.repository} {revision}: no weights in the cache")
        sha = combined_sha256({path.name: file_sha256(path) for path in files})
        return Resolved(step, revision, folder.name, folder, sha)

    def _stated(self, revision: str) -> tuple[str, dict[str, str | None]]:
        """Commit of a revision, and its weight files with the sha256 the Hub states (None where it states none)."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

        try:
            info = HfApi(endpoint=self.endpoint).model_info(
                self.repository, revision=revision, files_metadata=True, timeout=INFO_TIMEOUT_S
            )
        except (RevisionNotFoundError, RepositoryNotFoundError):
            raise SourceError(
                CheckpointStatus.REVISION_MISSING, f"{self.repository} has no revision {revision}"
            ) from None
        except (HfHubHTTPError, OSError) as error:
            raise self._unreachable(revision, error) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpcore"):
                raise
            raise self._unreachable(revision, error) from None
        files = {s.rfilename: s.lfs.sha256 if s.lfs else None for s in info.siblings or []}
        weights = {n: sha for n, sha in files.items() if n.endswith(".safetensors")}
        weights = weights or {n: s for n, s in files.items() if n.startswith("pytorch_model") and n.endswith(".bin")}
        if not weights or info.sha is None:
            raise SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{self.repository} {revision} has no weights")
        return info.sha, weights

    def _fetch(self, revision: str, commit: str, names: list[str]) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()
        patterns = [*names, "*.index.json"]
        try:
            return Path(
                snapshot_download(self.repository, revision=commit, allow_patterns=patterns, endpoint=self.endpoint)
            )
        except (HfHubHTTPError, OSError) as error:
            raise self._unreachable(revision, error) from None
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in ("httpx", "httpcore"):
                raise
            raise self._unreachable(revision, error) from None

    def _unreachable(self, revision: str, error: Any) -> SourceError:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return SourceError(CheckpointStatus.UNREACHABLE, f"{self.repository} {revision}: {first}")


@cache
def reachable(endpoint: str, timeout: float = REACH_TIMEOUT_S) -> bool:
    """Whether a server answers within `timeout` seconds, name lookup included; asked once a process."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(_answers, endpoint, timeout).result(timeout + 0.5)
    except FutureTimeout:
        return False
    finally:
        pool.shutdown(wait=False)


def _answers(endpoint: str, timeout: float) -> bool:
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint, method="HEAD"), timeout=timeout):
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
