"""What a measurement depends on: the key of its record, and the provenance in its table's metadata."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping, Sequence
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

ABSENT = "absent"
LIBRARIES = ("torch", "transformers", "transformer-lens")


def record_key(
    identity: Identity,
    probe: Probe,
    dtype: str,
    device: str,
    statistic: Statistic = DEFAULT,
    *,
    edits: Sequence[str] = (),
) -> RecordKey:
    """The key of a record: it depends on weights, settings, tokens, statistic, number format, device and libraries.

    The record states all of these, and is checked against them when it is read. `edits` are the names of the edits
    under which the model is measured (`massact.extract.edited`), outermost first.
    """
    parts = key_parts(identity, probe, dtype, device) | statistic.key_parts()
    return RecordKey.of(parts | ({"edits": list(edits)} if edits else {}), statistic)


def key_parts(identity: Identity, probe: Probe, dtype: str, device: str) -> dict[str, Any]:
    """Everything that a number computed from a checkpoint and a probe depends on."""
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
    """This process's default dtype and precision of matrix products. Does not import torch."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return "float32 highest"
    return f"{str(torch.get_default_dtype()).removeprefix('torch.')} {torch.get_float32_matmul_precision()}"


@cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute hidden states. TransformerLens may be absent."""
    return {name: _version(name) for name in LIBRARIES}


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ABSENT


def provenance(
    result: SweepResult, probe: Probe, *, dtype: str, fixed: Mapping[str, Any], statistic: Statistic = DEFAULT
) -> dict[str, Any]:
    """The metadata of a statistic's table. Identical runs give identical metadata."""
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
                **({"code_sha256": r.code} if r.code else {}),  # the checkpoint's own code was run
            }
            for step, r in sorted(result.identified.items())
        },
        "suspects": {str(step): why for step, why in sorted(result.suspects.items())},
        "failed": {str(step): str(failure) for step, failure in sorted(result.failed.items())},
    }


def _measured_where(statistic: Statistic) -> dict[str, Any]:
    """The statistic and its hook points. The paper's statistic is identified by its hook point alone."""
    if statistic.hooks == (BLOCK_OUTPUT,) and statistic.name == DEFAULT.name:
        return {"hook": "blocks.{layer}.hook_resid_post"}
    identity = {"name": statistic.name, "version": statistic.version, **statistic.options()}
    return {"statistic": identity, "hooks": [str(point) for point in statistic.hooks]}


def device_named(name: str) -> str:
    """The device of a configured name: `auto` is cuda if there is a GPU. Imports torch only if there may be one.

    Raises
    ------
    ConfigError
        When the name is `cuda` and torch sees no GPU.
    """
    if name == "cpu":
        return name
    available = False
    if Path("/proc/driver/nvidia").exists() or Path("/dev/nvidia0").exists():
        import torch

        available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise ConfigError("protocol.device = cuda, but torch sees no GPU here", "use protocol.device=auto or cpu")
    return "cuda" if available else "cpu"
