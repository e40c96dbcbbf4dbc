"""What in a checkpoint's config.json would run or fetch code, or load files that nobody hashed: it is refused."""

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
_WITHOUT = "take this key out of config.json"
# Whatever else these keys name is fetched from the Hub and run, by transformers or by the library `kernels`.
_IMPLEMENTATIONS = ("eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm")
# Keys that make transformers read further files, or replace parts of a model.
_REDIRECTIONS = (
    "configuration_files",
    "transformers_weights",
    "fusion_config",
    "kernel_config",
    "distributed_config",
    "use_kernels",
)
# Methods of quantisation that run kernels from the Hub where the library `kernels` is installed.
_FETCHING = ("mxfp4", "fp8", "fbgemm_fp8", "eetq", "metal", "nvfp4")


def check_native(folder: Path, config: Mapping[str, Any], *, trusted: bool) -> None:
    """Refuse a configuration that asks for code other than transformers' own.

    Parameters
    ----------
    config
        The content of the folder's config.json.
    trusted
        Whether the checkpoint's own code may be run; other repositories' code never is.

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
            f"{folder}/config.json asks to run the checkpoint's own code (auto_map), which massact does not",
            _ALLOW,
        )


def runs_own_code(config: Mapping[str, Any]) -> bool:
    """Whether a configuration names code of the checkpoint's own for a causal language model."""
    said = config.get("auto_map")
    return isinstance(said, dict) and bool({"AutoConfig", "AutoModelForCausalLM"} & said.keys())


def is_code(name: str) -> bool:
    """Whether a file of a checkpoint is code that transformers may be asked to run."""
    return name.endswith(".py") and "/" not in name


def code_sha256(blobs: Mapping[str, str]) -> str:
    """Hash of a checkpoint's own code.

    Parameters
    ----------
    blobs
        Name of each file of code -> git's hash of it.
    """
    lines = "".join(f"{name} {blob}\n" for name, blob in sorted(blobs.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def folder_code(folder: Path) -> str:
    """Hash of the code in a folder."""
    names = [path.name for path in folder.iterdir() if is_code(path.name) and path.is_file()]
    return code_sha256({name: git_blob_sha1((folder / name).read_bytes()) for name in names})


def forbid_kernels() -> None:
    """Keep transformers from fetching kernels from the Hub in place of its own layers."""
    os.environ.setdefault("USE_HUB_KERNELS", "NO")
    loaded = sys.modules.get("transformers.integrations.hub_kernels")
    if loaded is not None and os.environ["USE_HUB_KERNELS"] == "NO" and hasattr(loaded, "_kernels_enabled"):
        vars(loaded)["_kernels_enabled"] = False


def _entries(config: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value, at whatever depth."""
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


def _check_auto_map(folder: Path, said: Any) -> None:
    """Hold code to the checkpoint's own files: what another repository holds could not be hashed with it."""
    names = list(said.values()) if isinstance(said, dict) else [said]
    for name in [n for named in names for n in (named if isinstance(named, list) else [named]) if n is not None]:
        if not isinstance(name, str) or "/" in name or "--" in name or "\\" in name:
            raise _refused(folder, "auto_map", name, "put the code beside config.json, or take auto_map out")


def _known(model_type: Any) -> bool:
    from transformers import CONFIG_MAPPING

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING


def _refused(folder: Path, key: str, value: Any, remedy: str) -> SourceError:
    return SourceError(
        CheckpointStatus.LOAD_FAILED,
        f"{folder}/config.json: {key} = {str(value)[:80]!r} would load code or files that are not the checkpoint's",
        remedy,
    )
