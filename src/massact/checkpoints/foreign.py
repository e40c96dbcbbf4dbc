"""Refuse keys of a checkpoint's config.json that would run code, fetch code, or load files without a hash."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from massact.checkpoints.files import git_blob_sha1
from massact.checkpoints.source import CheckpointStatus, SourceError

_ALLOW = "run it only if you trust it: model.trust_remote_code=true"
_WITHOUT = "remove this key from config.json"
# For any other value of these keys, transformers or the library `kernels` fetches code from the Hub and runs it.
_IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm")
# Keys that make transformers read other files or replace parts of a model.
_REDIRECTIONS = (
    "configuration_files",
    "transformers_weights",
    "fusion_config",
    "kernel_config",
    "distributed_config",
    "use_kernels",
)
# Quantisation methods that run kernels from the Hub if the library `kernels` is installed.
_FETCHING = ("mxfp4", "fp8", "fbgemm_fp8", "eetq", "metal", "nvfp4")


def check_native(folder: Path, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Refuse a configuration that asks for code from outside transformers.

    Parameters
    ----------
    config
        The content of the folder's config.json.
    trusted
        Whether the checkpoint's own code may run. Code of other repositories never runs.

    Raises
    ------
    SourceError
        `load_failed`, naming the key.
    """
    for key, value in _entries(config):
        if key == "auto_map" and trusted:
            _check_auto_map(folder, value)
        elif key in _REDIRECTIONS and value:
            raise _refused(folder, key, value, _WITHOUT)
        elif key == "quant_method" and value in _FETCHING and importlib.util.find_spec("kernels") and not trusted:
            raise _refused(folder, key, value, _ALLOW)
        elif _chooses_implementation(key) and not trusted:
            for named in value.values() if isinstance(value, dict) else (value,):
                if named is not None and named not in _IMPLEMENTATIONS:
                    raise _refused(folder, key, named, _ALLOW)
    if not trusted and "auto_map" in config and not _known(config.get("model_type")):
        raise SourceError(
            CheckpointStatus.LOAD_FAILED,
            f"{folder}/config.json requests the checkpoint's own code (auto_map), which does not run by default",
            _ALLOW,
        )


def runs_own_code(config: Mapping[str, Any]) -> bool:
    """Whether a configuration names the checkpoint's own code for a causal language model."""
    auto_map = config.get("auto_map")
    return isinstance(auto_map, dict) and bool({"AutoConfig", "AutoModelForCausalLM"} & auto_map.keys())


def is_code(name: str) -> bool:
    """Whether a file of a checkpoint is code that transformers could run."""
    return name.endswith(".py") and "/" not in name


def code_sha256(blobs: Mapping[str, str]) -> str:
    """Hash of a checkpoint's own code.

    Parameters
    ----------
    blobs
        Name of each code file -> git's hash of it.
    """
    lines = "".join(f"{name} {blob}\n" for name, blob in sorted(blobs.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def folder_code(folder: Path) -> str:
    """Hash of the code in a folder."""
    names = [path.name for path in folder.iterdir() if is_code(path.name) and path.is_file()]
    return code_sha256({name: git_blob_sha1((folder / name).read_bytes()) for name in names})


def forbid_kernels() -> None:
    """Stop transformers from replacing its own layers by kernels from the Hub."""
    os.environ.setdefault("USE_HUB_KERNELS", "NO")
    loaded = sys.modules.get("transformers.integrations.hub_kernels")
    if loaded is not None and os.environ["USE_HUB_KERNELS"] == "NO" and hasattr(loaded, "_kernels_enabled"):
        vars(loaded)["_kernels_enabled"] = False


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, at any depth."""
    waiting = [config]
    while waiting:
        content = waiting.pop()
        if isinstance(content, dict):
            yield from content.items()
            waiting += content.values()
        elif isinstance(content, list):
            waiting += content


def _chooses_implementation(key: str) -> bool:
    plain = key.strip("_")
    return plain.startswith(("attn_implementation", "experts_implementation")) and not plain.endswith("autoset")


def _check_auto_map(folder: Path, auto_map: Any) -> None:
    """Allow only code in the checkpoint's own files: code in other repositories is not part of its hash."""
    names = list(auto_map.values()) if isinstance(auto_map, dict) else [auto_map]
    for name in [n for named in names for n in (named if isinstance(named, list) else [named]) if n is not None]:
        if not isinstance(name, str) or "/" in name or "--" in name or "\\" in name:
            raise _refused(folder, "auto_map", name, "put the code beside config.json, or remove auto_map")


def _known(model_type: Any) -> bool:
    from transformers import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def _refused(folder: Path, key: str, value: Any, remedy: str) -> SourceError:
    return SourceError(
        CheckpointStatus.LOAD_FAILED,
        f"{folder}/config.json: {key} = {str(value)[:80]!r} would load code or files that are not the checkpoint's",
        remedy,
    )
