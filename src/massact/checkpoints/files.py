"""Which files of a Hugging Face folder are the weights, and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from massact.checkpoints.source import CheckpointStatus, SourceError

SMALL_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# As transformers prefers them; of each, one file before shards.
_FORMATS = (("model", ".safetensors"), ("pytorch_model", ".bin"))
_BLOCK = 1 << 20


def choose_weights(names: Iterable[str]) -> tuple[str, ...]:
    """The weight files to read, never two copies of the weights; empty when no set of them is complete.

    >>> choose_weights(["pytorch_model.bin", "model.safetensors", "optimizer/model.safetensors"])
    ('model.safetensors',)
    >>> choose_weights(["model-00001-of-00002.safetensors", "model.safetensors.index.json"])
    ()
    """
    present = set(names)
    for stem, ending in _FORMATS:
        if stem + ending in present:
            return (stem + ending,)
        pattern = re.compile(rf"{stem}-[0-9]{{5}}-of-([0-9]{{5}}){re.escape(ending)}")
        totals = {match[1] for name in present if (match := pattern.fullmatch(name))}
        for total in sorted(totals) if index_name(stem + ending) in present else ():
            shards = tuple(f"{stem}-{k:05d}-of-{total}{ending}" for k in range(1, int(total) + 1))
            if shards and present.issuperset(shards):
                return shards
    return ()


def companions(weights: Iterable[str]) -> tuple[str, ...]:
    """The small files that loading these weights needs."""
    sharded = [name for name in weights if "-of-" in name]
    return (*SMALL_FILES, *{index_name(re.sub(r"-[0-9]{5}-of-[0-9]{5}", "", name)) for name in sharded})


def index_name(weights: str) -> str:
    """Name of the file that says which shard holds which tensor."""
    return f"{weights}.index.json"


def folder_weights(folder: Path) -> tuple[str, ...]:
    """Weight files in a folder, its config.json and a complete set of weights being there.

    Raises
    ------
    SourceError
        `weights_missing` when they are not; `corrupt` when config.json is not JSON.
    """
    with os.scandir(folder) as entries:
        weights = choose_weights(entry.name for entry in entries if entry.is_file())
    if not weights or not (folder / "config.json").is_file():
        raise SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{folder} lacks config.json or a whole set of weights")
    read_config(folder)
    return weights


def read_config(folder: Path) -> dict[str, object]:
    """The folder's config.json."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(CheckpointStatus.CORRUPT, f"{path} cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise SourceError(CheckpointStatus.CORRUPT, f"{path} holds no settings")
    return content


def config_id(folder: Path) -> str:
    """Git's hash of a folder's config.json, which is the one that the Hub states."""
    return git_blob_sha1((folder / "config.json").read_bytes())


def git_blob_sha1(content: bytes) -> str:
    """The name git gives a file's content.

    >>> git_blob_sha1(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash of a file's content; a file unchanged since this process last hashed it is not read again."""
    stat = path.stat()
    return _content_sha256(path.resolve(), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


@lru_cache(maxsize=4096)
def _content_sha256(path: Path, *state: int) -> str:
    """Hash of a file in this state, read a mebibyte at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """One hash for all weight files: that of the only file, or of all names and hashes in order."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {sha}\n" for name, sha in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
