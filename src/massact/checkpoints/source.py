"""What every source of checkpoints offers, and how a checkpoint can fail."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from massact.errors import CheckpointError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_CHUNK = 1 << 20


class CheckpointStatus(StrEnum):
    """How a checkpoint ended; `remedy` says what to do."""

    OK = "ok"
    UNREACHABLE = "unreachable"
    REVISION_MISSING = "revision_missing"
    WEIGHTS_MISSING = "weights_missing"
    CORRUPT = "corrupt"
    LOAD_FAILED = "load_failed"

    @property
    def remedy(self) -> str:
        """The command or change that mends it."""
        return _REMEDIES[self]


_REMEDIES = {
    CheckpointStatus.OK: "",
    CheckpointStatus.UNREACHABLE: "connect to the Hub, or set HF_HOME to a filled cache, and run it again",
    CheckpointStatus.REVISION_MISSING: "leave this step out: checkpoints=list checkpoints.steps=[...]",
    CheckpointStatus.WEIGHTS_MISSING: "leave this step out: checkpoints=list checkpoints.steps=[...]",
    CheckpointStatus.CORRUPT: "delete the file and run it again",
    CheckpointStatus.LOAD_FAILED: "see whether its config.json is that of the weights",
}


class SourceError(CheckpointError):
    """A checkpoint that cannot be had; `fatal` when the others of its model cannot be had either."""

    def __init__(self, status: CheckpointStatus, what: str, remedy: str = "", *, fatal: bool = False) -> None:
        super().__init__(what, remedy or status.remedy)
        self.status = status
        self.fatal = fatal


@dataclass(frozen=True)
class Resolved:
    """A checkpoint whose files are on disk.

    Attributes
    ----------
    revision_asked, revision_loaded
        What was asked for (`step512`) and the commit that came; `local` for a folder.
    weights_sha256
        Hash over the weight files, by name and content.
    """

    step: int
    revision_asked: str
    revision_loaded: str
    folder: Path
    weights_sha256: str


class CheckpointSource(Protocol):
    """Where the checkpoints of one model are."""

    def steps(self) -> list[int]:
        """Steps it should have, ascending."""
        ...

    def resolve(self, step: int) -> Resolved:
        """Bring the files of a step onto this disk. Raises SourceError."""
        ...

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge. Raises SourceError."""
        ...


def weight_files(folder: Path) -> list[Path]:
    """Weight files of a Hugging Face folder: safetensors, else PyTorch's."""
    for pattern in ("*.safetensors", "pytorch_model*.bin"):
        files = sorted(folder.glob(pattern))
        if files:
            return files
    return []


def file_sha256(path: Path) -> str:
    """Hash of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def combined_sha256(hashes: dict[str, str]) -> str:
    """One hash for all weight files: that of the only file, or of all names and hashes in order."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {sha}\n" for name, sha in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
