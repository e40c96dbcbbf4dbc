"""Checkpoints in a local folder: `step{N}/` in Hugging Face format, as a trained family's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from massact.checkpoints.source import CheckpointStatus, Resolved, SourceError, combined_sha256, file_sha256, weight_files

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge

_STEP = re.compile(r"^step(\d+)$")


class FolderSource:
    """All `step{N}` folders below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def steps(self) -> list[int]:
        """Steps found, ascending."""
        found = (_STEP.match(path.name) for path in self.root.iterdir())
        return sorted(int(match.group(1)) for match in found if match)

    def resolve(self, step: int) -> Resolved:
        """Hash the weights of one step.

        Raises
        ------
        SourceError
            No such folder, or none of its files holds weights.
        """
        folder = self.root / f"step{step}"
        if not folder.is_dir():
            raise SourceError(CheckpointStatus.REVISION_MISSING, f"{folder} is not there")
        files = weight_files(folder)
        if not files or not (folder / "config.json").is_file():
            raise SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{folder} lacks config.json or weights")
        sha = combined_sha256({path.name: file_sha256(path) for path in files})
        return Resolved(step, folder.name, "local", folder, sha)

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype=dtype, device=device)
