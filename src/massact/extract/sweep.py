"""Run a work on many checkpoints of one model. Records that are in the store are not made again."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from massact.checkpoints.source import CheckpointStatus, Identity, RemoteSource, SourceError
from massact.errors import MassactError, MeasureError, MissingInputError, NotFiniteError, StorageError
from massact.extract.agreement import agreement
from massact.extract.ahead import ahead
from massact.extract.magnitudes import DEFAULT
from massact.extract.options import SweepOptions
from massact.extract.outcome import NOT_TRIED, Failure, SweepResult
from massact.extract.plan import plan_sweep, require_disk
from massact.extract.probe import Probe
from massact.extract.protocol import Measurement
from massact.extract.statistic import Statistic
from massact.extract.store import RecordStore
from massact.extract.work import Measuring, Work

if TYPE_CHECKING:
    from massact.checkpoints import CheckpointSource
    from massact.checkpoints.audit import Audit
    from massact.checkpoints.weights import CheckpointLoader, Prepared
    from massact.extract.store import RecordKey

log = logging.getLogger("massact")
# For smaller local checkpoints, switching threads costs more than reading ahead saves.
_WORTH_READING_AHEAD_BYTES = 64_000_000


def sweep(
    source: CheckpointSource,
    steps: Sequence[int],
    work: Work,
    store: RecordStore,
    *,
    label: str,
    options: SweepOptions | None = None,
) -> SweepResult:
    """Run a work on the checkpoints of one model, one after the other. A failed checkpoint does not stop the others.

    The checkpoints are audited first, from a server's metadata if there is any. Checkpoints whose weights are not their
    own, or whose settings differ from those of most, are left out unless `options.suspects`. While one checkpoint is
    processed, the next is fetched and read. Checkpoints that could not be fetched are tried again at the end, as long
    as each round fetches some.

    Parameters
    ----------
    store
        Each record is written there as soon as it is made, so that a killed sweep can continue.

    Returns
    -------
    SweepResult
        `failed` says why a step has no records.

    Raises
    ------
    StorageError
        When records cannot be written.
    ConfigError
        When the downloads do not fit on the disk. Errors of `work.begin` that concern every checkpoint pass through.
    """
    run = _Sweep(source, store, work, label, options or SweepOptions())
    audit = run.audited(steps)
    if audit is None:
        return run.result
    try:
        if run.begin(audit):
            pending = run.from_store(audit)
            run.announce(audit, pending)
            run.work_through(audit, pending)
            run.try_again()
    finally:
        for identity in audit.identities.values():  # including late downloads and those of killed sweeps
            run.give_back(identity)
        store.settle()
    return run.result


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
    statistics: Sequence[Statistic] = (DEFAULT,),
) -> tuple[SweepResult, Probe | None]:
    """Measure checkpoints of one model: the sweep whose work is `Measuring`.

    Parameters
    ----------
    probe_of
        Makes the probe from a folder with the model's tokenizer, which determines the ids.
    store
        Each measurement is written there as soon as it is made, so that a killed sweep can continue. Each statistic
        has its own records: a further one is measured alone if the others are in the store.

    Returns
    -------
    result, probe
        `result.failed` says why a step could not be measured. The probe is None when no checkpoint had a tokenizer.

    Raises
    ------
    StorageError
        When records cannot be written.
    ConfigError
        When the downloads do not fit on the disk, or the probe's text is too short.
    """
    options = options or SweepOptions()
    work = Measuring(
        probe_of,
        statistics,
        dtype=dtype,
        device=device,
        sequences_at_once=options.sequences_at_once,
        seconds_each=options.seconds_each,
    )
    return sweep(source, steps, work, store, label=label, options=options), work.probe


class _Sweep:
    """One call of `sweep`."""

    def __init__(
        self, source: CheckpointSource, store: RecordStore, work: Work, label: str, options: SweepOptions
    ) -> None:
        self.source, self.store, self.work, self.options, self.label = source, store, work, options, label
        self.result = SweepResult()
        self._loader: CheckpointLoader | None = None

    def audited(self, steps: Sequence[int]) -> Audit | None:
        """The audit of the requested steps. Failures and suspects go to the result; None if the source fails."""
        from massact.checkpoints.audit import audit as audit_of

        try:
            audit = audit_of(self.source, steps)
        except SourceError as error:
            self.result.failed |= dict.fromkeys(steps, Failure.of(error))
            return None
        requested = set(steps)
        audit.identities = {step: audit.identities[step] for step in steps if step in audit.identities}
        self.result.failed |= {step: Failure.of(e) for step, e in audit.errors.items() if step in requested}
        comparison = agreement(self.source, {**self.result.identified, **audit.identities})
        for step, error in comparison.failures.items():
            if audit.identities.pop(step, None) is not None:
                self.result.failed[step] = Failure.of(error)
        suspects = {**comparison.suspects, **audit.suspects}
        self.result.suspects |= {step: why for step, why in suspects.items() if step in requested}
        if not self.options.suspects:
            for step in self.result.suspects:
                audit.identities.pop(step, None)
        return audit

    def begin(self, audit: Audit) -> bool:
        """Begin the work with the files of the first suitable step. False if there is none: then all steps fail.

        Steps with the most frequent configuration come first, because the work depends on it.
        """
        failure: Failure | None = None
        frequency = Counter(identity.config_id for identity in audit.identities.values())
        for step in sorted(audit.identities, key=lambda step: -frequency[audit.identities[step].config_id]):
            try:
                self.work.begin(self.source.small_files(step))
                return True
            except (SourceError, MeasureError, MissingInputError) as error:
                failure = Failure.of(error)
                if getattr(error, "fatal", False):
                    break
            except MassactError:
                raise
            except Exception as error:
                failure = Failure.unforeseen(step, error)
        if failure is not None:
            self.result.failed |= dict.fromkeys(audit.identities, failure)
        return False

    def from_store(self, audit: Audit) -> list[int]:
        """Add the records in the store to the result. Returns the other steps."""
        pending = []
        for step, identity in audit.identities.items():
            try:
                if not self._take(identity, [self.store.read(key) for key in self.work.keys(identity)]):
                    pending.append(step)
            except NotFiniteError as error:
                self.result.failed[step] = Failure.of(error)
        return pending

    def announce(self, audit: Audit, pending: Sequence[int]) -> None:
        """Log the plan, and refuse downloads that do not fit on the disk."""
        if not pending:
            return
        o, source = self.options, self.source
        remote = source if isinstance(source, RemoteSource) else None
        sizes = [0 if remote is None or remote.cached(step) else audit.identities[step].bytes for step in pending]
        plan = plan_sweep(
            sizes,
            depth=o.prefetch,
            keep=o.keep_downloads,
            seconds_each=self.work.seconds_each(),
            bandwidth_mb_s=o.bandwidth_mb_s,
        )
        log.info("%s: %s", self.label, plan)
        if remote is not None:
            require_disk(plan, remote.folder(), o.disk_gb)

    def work_through(self, audit: Audit, pending: Sequence[int]) -> None:
        """Process steps in order. Each is prepared while the step before it is processed.

        Steps claimed by another process come last, so that two processes on one model share the work.
        """
        with tqdm(
            total=len(pending), desc=self.label, unit="checkpoint", disable=not (self.options.progress and pending)
        ) as bar:
            busy = self._pass(audit, pending, bar, wait=False)
            self._pass(audit, busy, bar, wait=True)

    def try_again(self) -> None:
        """Try unreachable checkpoints again once the server answers, as long as each round fetches some."""
        remote = self.source if isinstance(self.source, RemoteSource) else None
        done = 0
        while remote is not None and len(self.result.seconds) > done:
            done = len(self.result.seconds)
            again = [step for step, f in self.result.failed.items() if f.status == CheckpointStatus.UNREACHABLE]
            if not again or not remote.awaited(self.options.patience_s):
                return
            log.info("%s: %d checkpoints could not be fetched; trying them again", self.label, len(again))
            audit = self.audited(again)
            if audit is None:
                return
            self.work_through(audit, self.from_store(audit))

    def give_back(self, identity: Identity) -> None:
        """Release a checkpoint's downloads, complete or partial."""
        if isinstance(self.source, RemoteSource):
            self.source.release(identity, keep=self.options.keep_downloads)

    def _pass(self, audit: Audit, pending: Sequence[int], bar: tqdm, *, wait: bool) -> list[int]:
        """Process steps in order. Without `wait`, skip and return the steps claimed by another process."""
        busy: list[int] = []
        fatal = False

        remaining = list(pending)
        large = any(audit.identities[step].bytes > _WORTH_READING_AHEAD_BYTES for step in pending)
        depth = self.options.prefetch if large or isinstance(self.source, RemoteSource) else 0

        keys = {step: tuple(self.work.keys(audit.identities[step])) for step in pending}
        first = {keys[step]: step for step in reversed(pending)}

        def prepare(step: int) -> Prepared | None:
            identity = audit.identities[step]
            if not depth:  # it is read under its claim, so no other process has it
                return self._prepare(identity)
            # Of two steps with the same weights, the second uses the records of the first.
            return self._prepared(identity, keys[step]) if first[keys[step]] == step else None

        for step, prepared in ahead(pending, prepare, depth):
            remaining.remove(step)
            identity = audit.identities[step]
            if not wait and any(self.store.claimed_elsewhere(key) for key in keys[step]):
                busy.append(step)
                continue
            bar.set_postfix_str(f"step {step}", refresh=False)
            try:
                self._work_on(identity, keys[step], prepared)
                self.result.failed.pop(step, None)
            except StorageError:
                raise
            except MassactError as error:
                self.result.failed[step] = Failure.of(error)
                fatal = getattr(error, "fatal", False)
            except Exception as error:  # whatever a library raises: the other checkpoints may be fine
                self.result.failed[step] = Failure.unforeseen(step, error)
            bar.update()
            if fatal:
                break
        for step in [*busy, *remaining] if fatal else ():
            self.result.failed[step] = Failure(NOT_TRIED, f"step {step} was not tried", "run it again")
        return [] if fatal else busy

    def _work_on(
        self, identity: Identity, keys: Sequence[RecordKey], prepared_of: Callable[[], Prepared | None]
    ) -> None:
        """Make one checkpoint's records under their claims, unless another process has. Release its files."""
        try:
            with ExitStack() as claims:
                ours = {key for key in sorted(keys) if claims.enter_context(self.store.claim(key))}
                known = {key: self.store.read(key) for key in keys if key not in ours}
                if self._take(identity, [known.get(key) for key in keys]):
                    return
                prepared = prepared_of()
                if prepared is None or not _all_there(prepared):
                    prepared = self._prepare(identity)
                began = time.perf_counter()
                missing = [key for key in keys if known.get(key) is None]
                for key, outcome in zip(missing, self._outcomes(prepared, identity, missing), strict=True):
                    self.store.write(key, outcome, settled=False)
                    known[key] = outcome
                self.result.seconds[identity.step] = time.perf_counter() - began
                self._take(identity, [known[key] for key in keys])
        finally:
            self.give_back(identity)

    def _outcomes(
        self, prepared: Prepared, identity: Identity, keys: Sequence[RecordKey]
    ) -> list[Measurement | NotFiniteError]:
        resolved, settings = prepared.resolved, prepared.resolved.config_id
        if resolved.weights_sha256 != identity.weights_sha256 or settings not in ("", identity.config_id):
            raise MeasureError(f"the weights of step {identity.step} changed while they were read", "run it again")
        loader = self._loader_here()
        outcomes = list(self.work.run(loader.load(prepared), keys))
        if not loader.reason:
            return outcomes
        return [
            o if isinstance(o, NotFiniteError) else replace(o, attached=f"{o.attached}: {loader.reason}")
            for o in outcomes
        ]

    def _take(self, identity: Identity, outcomes: Sequence[Measurement | NotFiniteError | None]) -> bool:
        """Add a checkpoint's outcomes to the result; False when a record is missing.

        Raises
        ------
        NotFiniteError
            When a record says that its statistic is not finite. The other statistics are in the result.
        """
        measurement: Measurement | None = None
        refusal: NotFiniteError | None = None
        for outcome in outcomes:
            if outcome is None:
                return False
            if isinstance(outcome, NotFiniteError):
                refusal = refusal or outcome
            else:
                measurement = outcome if measurement is None else measurement.with_also(outcome)
        if measurement is not None:
            self.result.measured[identity.step] = measurement
            self.result.identified[identity.step] = identity
        if refusal is not None:
            raise refusal
        self.result.failed.pop(identity.step, None)
        return measurement is not None

    def _prepared(self, identity: Identity, keys: Sequence[RecordKey]) -> Prepared | None:
        """Fetch and read a checkpoint, unless its records exist or another process is making one."""
        if all(self.store.read(key) is not None for key in keys):
            return None
        return None if any(self.store.claimed_elsewhere(key) for key in keys) else self._prepare(identity)

    def _prepare(self, identity: Identity) -> Prepared:
        return self._loader_here().prepare(self.source.resolve(identity.step))

    def _loader_here(self) -> CheckpointLoader:
        from massact.checkpoints.weights import CheckpointLoader
        from massact.extract.hooks import block_outputs

        if self._loader is None:
            bridged = self.work.bridged and isinstance(self.source, RemoteSource)
            self._loader = CheckpointLoader(
                self.work.dtype,
                self.work.device,
                outputs_of=block_outputs if bridged else None,
                unembedding=self.work.unembedding,
            )
        return self._loader


def _all_there(prepared: Prepared) -> bool:
    """Whether the files still exist. Another process may have released them."""
    return all((prepared.resolved.folder / name).is_file() for name in prepared.resolved.files)
