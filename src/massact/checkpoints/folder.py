"""Checkpoints in a local folder: one `step{N}/` each, in Hugging Face format, as `stage=train` writes them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from massact.checkpoints.files import combined_sha256, config_id, file_sha256, folder_weights, unreadable
from massact.checkpoints.foreign import folder_code
from massact.checkpoints.source import LOCAL, CheckpointStatus, Identity, Resolved, SourceError

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedTokenizerFast

_STEP = re.compile(r"step(0|[1-9][0-9]*)")


class FolderSource:
    """All `step{N}` folders below `root`.

    Parameters
    ----------
    trust_remote_code
        Whether code that comes with a checkpoint may run if its config.json asks for it.
    """

    def __init__(self, root: str | Path, *, trust_remote_code: bool = False) -> None:
        self.root = Path(root)
        self.trust_remote_code = trust_remote_code

    def steps(self) -> list[int]:
        """Steps found, ascending.

        Raises
        ------
        SourceError
            When `root` is not a folder.
        """
        if not self.root.is_dir():
            raise SourceError(CheckpointStatus.UNREACHABLE, f"{self.root} is not there", "check the folder's name")
        try:
            matches = [_STEP.fullmatch(path.name) for path in self.root.iterdir() if path.is_dir()]
        except OSError as error:
            raise unreadable(self.root, error) from None
        return sorted(int(match[1]) for match in matches if match)

    def identify(self, step: int) -> Identity:
        """Hash the weights of one step."""
        resolved, hashes = self._hashed(step)
        try:
            size = sum((resolved.folder / name).stat().st_size for name in hashes)
        except OSError as error:
            raise unreadable(resolved.folder, error) from None
        return Identity(
            step,
            resolved.revision_asked,
            LOCAL,
            resolved.weights_sha256,
            hashes,
            size,
            resolved.config_id,
            folder_code(resolved.folder) if resolved.trusted else "",
        )

    def resolve(self, step: int) -> Resolved:
        """Find and hash the weights of one step.

        Raises
        ------
        SourceError
            `revision_missing`: no such folder; `weights_missing`: no config.json or no complete set of weights;
            `unreadable`, `corrupt`, `load_failed`: as in `files.folder_weights`.
        """
        return self._hashed(step)[0]

    def small_files(self, step: int) -> Path:
        """The folder of a step."""
        return self._folder(step)

    def load(self, resolved: Resolved, dtype: str = "float32", device: str = "cpu") -> TransformerBridge:
        """The model as a bridge."""
        from massact.checkpoints.bridge import load_bridge

        return load_bridge(resolved.folder, dtype, device, trusted=resolved.trusted)

    def tokenizer(self, step: int) -> PreTrainedTokenizerFast:
        """The tokenizer saved with a step."""
        from massact.checkpoints.bridge import load_tokenizer

        return load_tokenizer(self._folder(step))

    def _folder(self, step: int) -> Path:
        folder = self.root / f"step{step}"
        if not folder.is_dir():
            raise SourceError(CheckpointStatus.REVISION_MISSING, f"{folder} is not there")
        return folder

    def _hashed(self, step: int) -> tuple[Resolved, dict[str, str]]:
        folder = self._folder(step)
        weights = folder_weights(folder)
        try:
            hashes = {name: file_sha256(folder / name) for name in weights}
        except OSError as error:
            raise unreadable(folder, error) from None
        trusted = self.trust_remote_code
        settings = config_id(folder, weights, folder_code(folder) if trusted else "")
        return (
            Resolved(
                step,
                folder.name,
                LOCAL,
                folder,
                combined_sha256(hashes),
                weights,
                config_id=settings,
                trusted=trusted,
            ),
            hashes,
        )
