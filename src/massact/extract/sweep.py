"""Measure many checkpoints of one model: what is in the store is never measured again."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from massact.checkpoints.source import CheckpointStatus, Identity, RemoteSource, SourceError
from massact.errors import MassactError, MeasureError, MissingInputError, NotFiniteError, StorageError
from massact.extract.agreement import agreement
from massact.extract.ahead import ahead
from massact.extract.context import require_context
from massact.extract.options import SweepOptions
from massact.extract.outcome import NOT_TRIED, Failure, SweepResult
from massact.extract.plan import plan_sweep, require_disk
from massact.extract.probe import Probe
from massact.extract.protocol import Measurement
from massact.extract.provenance import record_key
from massact.extract.store import RecordStore

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource
    from massact.checkpoints.audit import Audit
    from massact.checkpoints.weights import CheckpointLoader, Prepared

log = logging.getLogger("massact")
# Smaller checkpoints on this disk are read faster than a second thread takes turns.
_WORTH_READING_AHEAD_BYTES = 64_000_000


def measure_checkpoints(
    source: CheckpointSource,
    steps: Sequence[int],
    probe_of: Callable[[Path], Probe],
    store: RecordStore,
    *,
    dtype: str,
    device: str,
    label: str,
    options: SweepOptions | None = None,
) -> tuple[SweepResult, Probe | None]:
    """Measure the steps of one model, one after the other; a failed checkpoint does not stop the rest.

    The checkpoints are audited first, from metadata where a server states it; those whose weights are not their own,
    or whose settings are not those of most, are left out unless `options.suspects`. While one is measured the next is
    fetched and read. Those that the network kept back are tried again at the end, as long as that brings some.

    Parameters
    ----------
    probe_of
        Makes the probe from a folder with the model's tokenizer (which decides the ids).
    store
        Where each measurement is kept as soon as it is made, so that a killed sweep continues.

    Returns
    -------
    result, probe
        `result.failed` says why a step could not be measured; the probe is None when none could.

    Raises
    ------
    StorageError
        When records cannot be written.
    ConfigError
        When the downloads cannot fit on the disk, or the probe's text is too short.
    """
    sweep = _Sweep(source, store, dtype, device, label, options or SweepOptions())
    found = sweep.audited(steps)
    if found is None:
        return sweep.result, None
    try:
        probe = sweep.probe(found, probe_of)
        if probe is not None:
            pending = sweep.from_store(found, probe)
            sweep.announce(found, probe, pending)
            sweep.measure_all(found, probe, pending)
            sweep.try_again(probe)
    finally:
        for identity in found.identities.values():  # also what came after its turn, and what killed sweeps left
            sweep.give_back(identity)
        store.settle()
    return sweep.result, probe


class _Sweep:
    """One call of `measure_checkpoints`."""

    def __init__(
        self,
        source: CheckpointSource,
        store: RecordStore,
        dtype: str,
        device: str,
        label: str,
        options: SweepOptions,
    ) -> None:
        self.source, self.store, self.options = source, store, options
        self.dtype, self.device, self.label = dtype, device, label
        self.result = SweepResult()
        self._loader: CheckpointLoader | None = None

    def audited(self, steps: Sequence[int]) -> Audit | None:
        """Identities of the steps asked for; failures and suspects go to the result."""
        from massact.checkpoints.audit import audit

        try:
            found = audit(self.source, steps)
        except SourceError as error:
            self.result.failed |= dict.fromkeys(steps, Failure.of(error))
            return None
        asked = set(steps)
        found.identities = {step: found.identities[step] for step in steps if step in found.identities}
        self.result.failed |= {step: Failure.of(e) for step, e in found.errors.items() if step in asked}
        said = agreement(self.source, {**self.result.identified, **found.identities})
        for step, error in said.failures.items():
            if found.identities.pop(step, None) is not None:
                self.result.failed[step] = Failure.of(error)
        suspects = {**said.suspects, **found.suspects}
        self.result.suspects |= {step: why for step, why in suspects.items() if step in asked}
        if not self.options.suspects:
            for step in self.result.suspects:
                found.identities.pop(step, None)
        return found

    def probe(self, found: Audit, probe_of: Callable[[Path], Probe]) -> Probe | None:
        """The probe, by the tokenizer of the first step that has one; without any, every step has failed.

        Steps with the configuration of most come first: the probe is held to it.
        """
        failure: Failure | None = None
        frequent = Counter(identity.config_id for identity in found.identities.values())
        for step in sorted(found.identities, key=lambda step: -frequent[found.identities[step].config_id]):
            try:
                folder = self.source.small_files(step)
                probe = probe_of(folder)
                require_context(folder, probe.length)
                return probe
            except (SourceError, MeasureError, MissingInputError) as error:
                failure = Failure.of(error)
                if getattr(error, "fatal", False):
                    break
            except MassactError:
                raise
            except Exception as error:
                failure = Failure.unforeseen(step, error)
        if failure is not None:
            self.result.failed |= dict.fromkeys(found.identities, failure)
        return None

    def from_store(self, found: Audit, probe: Probe) -> list[int]:
        """Take what the store has; the other steps."""
        pending = []
        for step, identity in found.identities.items():
            try:
                if not self._take(identity, self.store.read(self._key(identity, probe))):
                    pending.append(step)
            except NotFiniteError as error:
                self.result.failed[step] = Failure.of(error)
        return pending

    def announce(self, found: Audit, probe: Probe, pending: Sequence[int]) -> None:
        """Say what is to come, and refuse what cannot fit."""
        if not pending:
            return
        o, source = self.options, self.source
        remote = source if isinstance(source, RemoteSource) else None
        sizes = [0 if remote is None or remote.cached(step) else found.identities[step].bytes for step in pending]
        each = o.seconds_each(probe) if o.seconds_each else 0.0
        plan = plan_sweep(
            sizes, depth=o.prefetch, keep=o.keep_downloads, seconds_each=each, bandwidth_mb_s=o.bandwidth_mb_s
        )
        log.info("%s: %s", self.label, plan)
        if remote is not None:
            require_disk(plan, remote.folder(), o.disk_gb)

    def measure_all(self, found: Audit, probe: Probe, pending: Sequence[int]) -> None:
        """Measure steps in order, each prepared while the one before it is measured.

        Those another process is measuring come last: two processes on one model share the work.
        """
        with tqdm(
            total=len(pending), desc=self.label, unit="checkpoint", disable=not (self.options.progress and pending)
        ) as bar:
            busy = self._pass(found, probe, pending, bar, wait=False)
            self._pass(found, probe, busy, bar, wait=True)

    def try_again(self, probe: Probe) -> None:
        """Try what the network kept back, once the server answers, as long as each round brings some."""
        remote = self.source if isinstance(self.source, RemoteSource) else None
        done = 0
        while remote is not None and len(self.result.seconds) > done:
            done = len(self.result.seconds)
            again = [step for step, f in self.result.failed.items() if f.status == CheckpointStatus.UNREACHABLE]
            if not again or not remote.awaited(self.options.patience_s):
                return
            log.info("%s: %d checkpoints that could not be fetched are tried again", self.label, len(again))
            found = self.audited(again)
            if found is None:
                return
            self.measure_all(found, probe, self.from_store(found, probe))

    def give_back(self, identity: Identity) -> None:
        """Let go of a checkpoint that was fetched, whole or not."""
        if isinstance(self.source, RemoteSource):
            self.source.release(identity, keep=self.options.keep_downloads)

    def _pass(self, found: Audit, probe: Probe, pending: Sequence[int], bar: tqdm, *, wait: bool) -> list[int]:
        """Measure steps in order; the steps that another process is measuring, unless they are waited for."""
        busy: list[int] = []
        fatal = False

        left = list(pending)
        worth = any(found.identities[step].bytes > _WORTH_READING_AHEAD_BYTES for step in pending)
        depth = self.options.prefetch if worth or isinstance(self.source, RemoteSource) else 0

        first = {self._key(found.identities[step], probe): step for step in reversed(pending)}

        def prepare(step: int) -> Prepared | None:
            identity = found.identities[step]
            if not depth:  # it is read under its claim: nobody has it
                return self._prepare(identity)
            key = self._key(identity, probe)
            return self._prepared(identity, key) if first[key] == step else None  # its twin's record will be there

        for step, made in ahead(pending, prepare, depth):
            left.remove(step)
            identity = found.identities[step]
            if not wait and self.store.claimed_elsewhere(self._key(identity, probe)):
                busy.append(step)
                continue
            bar.set_postfix_str(f"step {step}", refresh=False)
            try:
                self._measure(identity, probe, made)
                self.result.failed.pop(step, None)
            except StorageError:
                raise
            except MassactError as error:
                self.result.failed[step] = Failure.of(error)
                fatal = getattr(error, "fatal", False)
            except Exception as error:  # whatever a library raises: the other checkpoints may be well
                self.result.failed[step] = Failure.unforeseen(step, error)
            bar.update()
            if fatal:
                break
        for step in [*busy, *left] if fatal else ():
            self.result.failed[step] = Failure(NOT_TRIED, f"step {step} was not tried", "run it again")
        return [] if fatal else busy

    def _measure(self, identity: Identity, probe: Probe, made: Callable[[], Prepared | None]) -> None:
        """Measure one checkpoint under its claim, unless another process has; give its files back."""
        key = self._key(identity, probe)
        try:
            with self.store.claim(key) as ours:
                if not ours and self._take(identity, self.store.read(key)):
                    return
                prepared = made()
                if prepared is None or not _all_there(prepared):
                    prepared = self._prepare(identity)
                began = time.perf_counter()
                measured = self._measured(prepared, identity, probe)
                self.store.write(key, measured, settled=False)
                self.result.seconds[identity.step] = time.perf_counter() - began
                self._take(identity, measured)
        finally:
            self.give_back(identity)

    def _measured(self, prepared: Prepared, identity: Identity, probe: Probe) -> Measurement | NotFiniteError:
        import torch

        from massact.extract.hooks import measure

        found, settings = prepared.resolved, prepared.resolved.config_id
        if found.weights_sha256 != identity.weights_sha256 or settings not in ("", identity.config_id):
            raise MeasureError(f"the weights of step {identity.step} changed while they were read", "run it again")
        loader = self._loader_here()
        model = loader.load(prepared)
        try:
            found = measure(model, torch.from_numpy(probe.tokens), sequences_at_once=self.options.sequences_at_once)
        except NotFiniteError as error:
            return error
        return replace(found, attached=f"{found.attached}: {loader.reason}") if loader.reason else found

    def _take(self, identity: Identity, outcome: Measurement | NotFiniteError | None) -> bool:
        """Put an outcome into the result; False when there is none."""
        if outcome is None:
            return False
        if isinstance(outcome, NotFiniteError):
            raise outcome
        self.result.failed.pop(identity.step, None)
        self.result.measured[identity.step] = outcome
        self.result.identified[identity.step] = identity
        return True

    def _prepared(self, identity: Identity, key: str) -> Prepared | None:
        """A checkpoint fetched and read, unless its record exists or is being made."""
        if self.store.read(key) is not None or self.store.claimed_elsewhere(key):
            return None
        return self._prepare(identity)

    def _prepare(self, identity: Identity) -> Prepared:
        return self._loader_here().prepare(self.source.resolve(identity.step))

    def _loader_here(self) -> CheckpointLoader:
        from massact.checkpoints.weights import CheckpointLoader
        from massact.extract.hooks import block_outputs

        if self._loader is None:
            remote = isinstance(self.source, RemoteSource)
            self._loader = CheckpointLoader(self.dtype, self.device, outputs_of=block_outputs if remote else None)
        return self._loader

    def _key(self, identity: Identity, probe: Probe) -> str:
        return record_key(identity, probe, self.dtype, self.device)


def _all_there(prepared: Prepared) -> bool:
    """Whether the files are still where they were read: another process may have given them back."""
    return all((prepared.resolved.folder / name).is_file() for name in prepared.resolved.files)
