"""What a measurement depends on: the key of its record, and what its table says of where it comes from."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from massact.checkpoints.source import Identity
from massact.errors import ConfigError
from massact.extract.magnitudes import DEFAULT
from massact.extract.outcome import SweepResult
from massact.extract.probe import Probe
from massact.extract.protocol import PROTOCOL_VERSION
from massact.extract.statistic import BLOCK_OUTPUT, Statistic
from massact.extract.store import RecordKey

LIBRARIES = ("torch", "transformers", "transformer-lens")


def record_key(identity: Identity, probe: Probe, dtype: str, device: str, statistic: Statistic = DEFAULT) -> RecordKey:
    """The store's key: other weights, settings, tokens, statistic, number format, device or libraries: other records.

    The record names all of it, and is held to it when it is read.
    """
    return RecordKey.of(key_parts(identity, probe, dtype, device) | statistic.key_parts(), statistic)


def key_parts(identity: Identity, probe: Probe, dtype: str, device: str) -> dict[str, Any]:
    """What any number depends on that is computed from a checkpoint and a probe."""
    sequences, length = probe.tokens.shape
    return {
        "weights": identity.weights_sha256,
        "settings": identity.config_id,
        "tokens": probe.sha256,
        "sequences": sequences,
        "length": length,
        "protocol": PROTOCOL_VERSION,
        "dtype": dtype,
        "arithmetic": _arithmetic(),
        "device": device,
        "libraries": library_versions(),
    }


def _arithmetic() -> str:
    """What this process computes with beside a model's own number format; torch is not imported to be asked."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return "float32 highest"
    return f"{str(torch.get_default_dtype()).removeprefix('torch.')} {torch.get_float32_matmul_precision()}"


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute hidden states."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def provenance(
    result: SweepResult, probe: Probe, *, dtype: str, fixed: Mapping[str, Any], statistic: Statistic = DEFAULT
) -> dict[str, Any]:
    """What the metadata of a statistic's table says; nothing in it changes from one identical run to the next."""
    attached, reasons = result.attached()
    return {
        **fixed,
        "protocol_version": PROTOCOL_VERSION,
        "dtype": dtype,
        **_measured_where(statistic),
        "attached": attached,
        **({"attached_reason": "; ".join(reasons)} if reasons else {}),
        "probe": {
            "text": probe.text,
            "length": probe.length,
            "first_token": probe.first_token,
            **({"source": probe.source} if probe.source else {}),
        },
        "tokens_sha256": probe.sha256,
        "checkpoints": {
            str(step): {
                "revision_asked": r.revision_asked,
                "revision_loaded": r.revision_loaded,
                "weights_sha256": r.weights_sha256,
                **({"code_sha256": r.code} if r.code else {}),  # its own code was allowed to run
            }
            for step, r in sorted(result.identified.items())
        },
        "suspects": {str(step): why for step, why in sorted(result.suspects.items())},
        "failed": {str(step): str(failure) for step, failure in sorted(result.failed.items())},
    }


def _measured_where(statistic: Statistic) -> dict[str, Any]:
    """What is measured; the paper's statistic is told by its hook point alone."""
    if statistic.hooks == (BLOCK_OUTPUT,) and statistic.name == DEFAULT.name:
        return {"hook": "blocks.{layer}.hook_resid_post"}
    told = {"name": statistic.name, "version": statistic.version, **statistic.options()}
    return {"statistic": told, "hooks": [str(point) for point in statistic.hooks]}


def device_named(wanted: str) -> str:
    """`auto` becomes cuda where there is a GPU, told without importing torch where possible.

    Raises
    ------
    ConfigError
        `cuda` where torch sees no GPU.
    """
    if wanted == "cpu":
        return wanted
    here = False
    if Path("/proc/driver/nvidia").exists() or Path("/dev/nvidia0").exists():
        import torch

        here = torch.cuda.is_available()
    if wanted == "cuda" and not here:
        raise ConfigError("protocol.device = cuda, but torch sees no GPU here", "take protocol.device=auto or cpu")
    return "cuda" if here else "cpu"
