"""Measure many checkpoints of one model: what is in the store is never measured again."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from massact.errors import CheckpointError, ConfigError, MeasureError
from massact.extract.probe import Probe
from massact.extract.protocol import PROTOCOL_VERSION, TOP_K, Measurement
from massact.extract.store import RecordStore

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource, Resolved
    from massact.checkpoints.source import Identity

LIBRARIES = ("torch", "transformers", "transformer-lens")


@dataclass
class SweepResult:
    """Measurements by step, where their weights came from, failures by step, and seconds spent measuring."""

    measured: dict[int, Measurement] = field(default_factory=dict)
    identified: dict[int, Identity] = field(default_factory=dict)
    failed: dict[int, str] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)


def measure_checkpoints(
    source: CheckpointSource,
    steps: Sequence[int],
    probe_of: Callable[[Resolved], Probe],
    store: RecordStore,
    *,
    dtype: str,
    device: str,
    label: str,
    progress: bool = True,
) -> tuple[SweepResult, Probe | None]:
    """Measure the steps of one model, one after the other; a failed checkpoint does not stop the rest.

    Parameters
    ----------
    probe_of
        Makes the probe from the first checkpoint that resolves (its tokenizer decides the ids).
    store
        Where each measurement is kept as soon as it is made, so that a killed sweep continues.

    Returns
    -------
    result, probe
        `result.failed` holds the reason for each step that could not be measured; the probe is None when none could.
    """
    result = SweepResult()
    probe: Probe | None = None
    bar = tqdm(steps, desc=label, unit="checkpoint", disable=not progress)
    for step in bar:
        try:
            identity = source.identify(step)
            probe = probe or probe_of(source.resolve(step))
            bar.set_postfix_str(f"step {step}", refresh=False)
            result.measured[step] = _measured(source, identity, probe, store, dtype, device, result.seconds)
            result.identified[step] = identity
        except (CheckpointError, MeasureError) as error:
            result.failed[step] = str(error)
            if getattr(error, "fatal", False):
                break
    return result, probe


def record_key(weights_sha256: str, probe: Probe, dtype: str, device: str) -> str:
    """The store's key: other weights, tokens, protocol, number format, device type or libraries are other records."""
    return RecordStore.key(
        {
            "weights": weights_sha256,
            "tokens": probe.sha256,
            "protocol": PROTOCOL_VERSION,
            "top_k": TOP_K,
            "dtype": dtype,
            "device": device,
            "libraries": library_versions(),
        }
    )


def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute hidden states."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def provenance(result: SweepResult, probe: Probe, *, dtype: str, fixed: Mapping[str, Any]) -> dict[str, Any]:
    """What the table's metadata says; nothing in it changes from one identical run to the next."""
    return {
        **fixed,
        "protocol_version": PROTOCOL_VERSION,
        "dtype": dtype,
        "hook": "blocks.{layer}.hook_resid_post",
        "probe": {"text": probe.text, "length": probe.length, "first_token": probe.first_token},
        "tokens_sha256": probe.sha256,
        "checkpoints": {
            str(step): {
                "revision_asked": r.revision_asked,
                "revision_loaded": r.revision_loaded,
                "weights_sha256": r.weights_sha256,
            }
            for step, r in sorted(result.identified.items())
        },
        "failed": {str(step): reason for step, reason in sorted(result.failed.items())},
    }


def _measured(
    source: CheckpointSource,
    identity: Identity,
    probe: Probe,
    store: RecordStore,
    dtype: str,
    device: str,
    seconds: dict[int, float],
) -> Measurement:
    key = record_key(identity.weights_sha256, probe, dtype, device)
    known = store.read(key)
    if known is not None:
        return known
    with store.claim(key) as ours:
        if not ours:
            written = store.read(key)
            if written is None:
                raise MeasureError(f"record {store.path(key)} vanished while it was read", "run the stage again")
            return written
        import torch

        from massact.extract.hooks import measure

        began = time.perf_counter()
        resolved = source.resolve(identity.step)
        if resolved.weights_sha256 != identity.weights_sha256:
            raise MeasureError(f"the weights of step {identity.step} changed while they were read", "run it again")
        bridge = source.load(resolved, dtype=dtype, device=device)
        measured = measure(bridge, torch.from_numpy(probe.tokens))
        store.write(key, measured)
        seconds[resolved.step] = time.perf_counter() - began
    return measured


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
