"""The weight files of a Hugging Face folder and their hashes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from massact.checkpoints.llamas import as_known_config
from massact.checkpoints.source import CheckpointStatus, SourceError

ADAPTER = "adapter_config.json"  # PEFT's
CONFIG = "config.json"
SMALL_FILES = (CONFIG, "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# In transformers' order of preference; a single file comes before shards.
_FORMATS = (("model", ".safetensors"), ("pytorch_model", ".bin"))
_BLOCK = 1 << 20


def choose_weights(names: Iterable[str], where: object = "the checkpoint") -> tuple[str, ...]:
    """The weight files to read, never two copies of the weights; empty if no set is complete.

    Raises
    ------
    SourceError
        `load_failed` when two sets of shards are complete, so that the choice is ambiguous.

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
        whole = []
        for total in sorted(totals) if index_name(stem + ending) in present else ():
            shards = tuple(f"{stem}-{k:05d}-of-{total}{ending}" for k in range(1, int(total) + 1))
            if shards and present.issuperset(shards):
                whole.append(shards)
        if len(whole) > 1:
            raise SourceError(
                CheckpointStatus.LOAD_FAILED,
                f"{where} holds {len(whole)} complete sets of shards ({whole[0][0]}, {whole[1][0]})",
                "keep one set and the index that belongs to it",
            )
        if whole:
            return whole[0]
    return ()


def companions(weights: Iterable[str]) -> tuple[str, ...]:
    """The small files needed to load these weights."""
    index = index_of(weights)
    return (*SMALL_FILES, *([index] if index else ()))


def index_of(weights: Iterable[str]) -> str | None:
    """Name of the index of sharded weights; None for a single file."""
    shard = next((name for name in weights if "-of-" in name), None)
    return index_name(re.sub(r"-[0-9]{5}-of-[0-9]{5}", "", shard)) if shard else None


def index_name(weights: str) -> str:
    """Name of the index, which maps each tensor to its shard."""
    return f"{weights}.index.json"


def folder_weights(folder: Path) -> tuple[str, ...]:
    """The weight files of a folder that has config.json and a complete set of weights.

    Raises
    ------
    SourceError
        `weights_missing` when either is absent; `corrupt` or `unreadable` when config.json or the index is;
        `load_failed` when the shards are not those in the index.
    """
    try:
        with os.scandir(folder) as entries:
            weights = choose_weights((entry.name for entry in entries if entry.is_file()), folder)
    except OSError as error:
        raise unreadable(folder, error) from None
    if not weights and (folder / ADAPTER).is_file():
        raise SourceError(
            CheckpointStatus.WEIGHTS_MISSING,
            f"{folder} holds an adapter ({ADAPTER}) and not the weights of its model",
            "merge it into the model it was trained on and save that: model.merge_and_unload().save_pretrained(...)",
        )
    if not weights or not (folder / CONFIG).is_file():
        raise SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{folder} lacks config.json or a complete set of weights")
    read_config(folder)
    read_index(folder, weights)
    return weights


def read_config(folder: Path) -> dict[str, object]:
    """The folder's config.json, as that of a class in transformers where massact translates it (`llamas`)."""
    return as_known_config(_read_json(folder / CONFIG))


def read_index(folder: Path, weights: Sequence[str]) -> dict[str, str] | None:
    """Tensor -> shard, from the index of sharded weights; None for a single file.

    Raises
    ------
    SourceError
        `load_failed` when the index names other files than `weights`, or anything outside this folder: only hashed
        files may be loaded.
    """
    name = index_of(weights)
    if name is None:
        return None
    weight_map = _read_json(folder / name).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise SourceError(CheckpointStatus.CORRUPT, f"{folder / name} does not map tensors to shards")
    other = sorted({*weight_map.values()} ^ {*weights})
    if other:
        raise _index_refused(folder / name, f"names {other[0]}" if other[0] not in weights else f"omits {other[0]}")
    return weight_map


def check_index(folder: Path, weights: Sequence[str], shard_of: Mapping[str, str]) -> None:
    """Check the index of sharded weights against the shards.

    Parameters
    ----------
    shard_of
        Tensor -> the shard that holds it.

    Raises
    ------
    SourceError
        `load_failed` when the two differ.
    """
    weight_map = read_index(folder, weights)
    differing = {*weight_map.items()} ^ {*shard_of.items()} if weight_map is not None else set()
    wrong = sorted(str(tensor) for tensor, _ in differing)
    if wrong:
        raise _index_refused(folder / str(index_of(weights)), f"and the shards disagree about {wrong[0]}")


def _index_refused(path: Path, why: str) -> SourceError:
    return SourceError(
        CheckpointStatus.LOAD_FAILED, f"{path} {why}", "restore the index that belongs to the shards beside it"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from None
    except (ValueError, RecursionError) as error:
        raise SourceError(CheckpointStatus.CORRUPT, f"{path} cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise SourceError(CheckpointStatus.CORRUPT, f"{path} holds no settings (not a JSON object)")
    return content


def unreadable(path: Path, error: OSError) -> SourceError:
    """The error for a file that the operating system refuses. It may be intact, so the remedy is never to delete it."""
    if isinstance(error, PermissionError):
        name = Path(error.filename) if error.filename else path
        right = "u+rx" if name.is_dir() else "u+r"
        return SourceError(
            CheckpointStatus.UNREADABLE,
            f"this user may not read {name}",
            f"chmod {right} {shlex.quote(str(name))}",
        )
    if isinstance(error, FileNotFoundError):
        return SourceError(CheckpointStatus.WEIGHTS_MISSING, f"{error.filename or path} does not exist")
    return SourceError(
        CheckpointStatus.UNREADABLE, f"{error.filename or path} cannot be read ({error.strerror or error})"
    )


def config_id(folder: Path, weights: Sequence[str] = (), code: str = "") -> str:
    """Hash of the files that decide how weights are read and run: git's hash of config.json, which the Hub states.

    Parameters
    ----------
    weights
        The weight files; for sharded ones the hash includes the index.
    code
        Hash of the checkpoint's own code, if it runs.
    """
    index = index_of(weights)
    return settings_id(
        git_blob_sha1(_content(folder / CONFIG)), git_blob_sha1(_content(folder / index)) if index else "", code
    )


def settings_id(config: str, index: str = "", code: str = "") -> str:
    """One hash from those of config.json, the index and the code; config.json's own hash if there is nothing else.

    >>> settings_id("e69de29b")
    'e69de29b'
    """
    if not index and not code:
        return config
    return hashlib.sha256(f"config {config}\nindex {index}\ncode {code}\n".encode()).hexdigest()


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None


def git_blob_sha1(content: bytes) -> str:
    """Git's hash of a file's content.

    >>> git_blob_sha1(b"")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    """
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def file_sha256(path: Path) -> str:
    """Hash of a file's content. A file that is unchanged since this process last hashed it is not read again."""
    stat = path.stat()
    state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    return _content_sha256(path.absolute(), *state)


@lru_cache(maxsize=4096)
def _content_sha256(path: Path, *state: int) -> str:
    """Hash of a file in this state, read in blocks of one mebibyte."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def combined_sha256(hashes: Mapping[str, str]) -> str:
    """One hash for all weight files: the hash of a single file, or of all names and hashes in order."""
    if len(hashes) == 1:
        return next(iter(hashes.values()))
    lines = "".join(f"{name} {sha}\n" for name, sha in sorted(hashes.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
