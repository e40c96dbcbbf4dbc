"""Do a work with many checkpoints of one model: what is in the store is never done again."""

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
# Smaller checkpoints on this disk are read faster than a second thread takes turns.
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
    """Do a work with the checkpoints of one model, one after the other; a failed checkpoint does not stop the rest.

    The checkpoints are audited first, from metadata where a server states it; those whose weights are not their own,
    or whose settings are not those of most, are left out unless `options.suspects`. While one is worked on the next is
    fetched and read. Those that the network kept back are tried again at the end, as long as that brings some.

    Parameters
    ----------
    store
        Where each record is kept as soon as it is made, so that a killed sweep continues.

    Returns
    -------
    SweepResult
        `failed` says why a step has no records.

    Raises
    ------
    StorageError
        When records cannot be written.
    ConfigError
        When the downloads cannot fit on the disk. What `work.begin` raises of every checkpoint's files is raised.
    """
    one = _Sweep(source, store, work, label, options or SweepOptions())
    found = one.audited(steps)
    if found is None:
        return one.result
    try:
        if one.begin(found):
            pending = one.from_store(found)
            one.announce(found, pending)
            one.work_through(found, pending)
            one.try_again()
    finally:
        for identity in found.identities.values():  # also what came after its turn, and what killed sweeps left
            one.give_back(identity)
        store.settle()
    return one.result


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
    """Measure the steps of one model: the sweep whose work is `Measuring`.

    Parameters
    ----------
    probe_of
        Makes the probe from a folder with the model's tokenizer (which decides the ids).
    store
        Where each measurement is kept as soon as it is made, so that a killed sweep continues. Each statistic has
        records of its own: one more is measured alone where the others are there.

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

    def begin(self, found: Audit) -> bool:
        """Whether the work could begin, with the files of the first step that will do; else every step has failed.

        Steps with the configuration of most come first: the work is held to it.
        """
        failure: Failure | None = None
        frequent = Counter(identity.config_id for identity in found.identities.values())
        for step in sorted(found.identities, key=lambda step: -frequent[found.identities[step].config_id]):
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
            self.result.failed |= dict.fromkeys(found.identities, failure)
        return False

    def from_store(self, found: Audit) -> list[int]:
        """Take what the store has; the other steps."""
        pending = []
        for step, identity in found.identities.items():
            try:
                if not self._take(identity, [self.store.read(key) for key in self.work.keys(identity)]):
                    pending.append(step)
            except NotFiniteError as error:
                self.result.failed[step] = Failure.of(error)
        return pending

    def announce(self, found: Audit, pending: Sequence[int]) -> None:
        """Say what is to come, and refuse what cannot fit."""
        if not pending:
            return
        o, source = self.options, self.source
        remote = source if isinstance(source, RemoteSource) else None
        sizes = [0 if remote is None or remote.cached(step) else found.identities[step].bytes for step in pending]
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

    def work_through(self, found: Audit, pending: Sequence[int]) -> None:
        """Work on steps in order, each prepared while the one before it is worked on.

        Those another process is at work on come last: two processes on one model share the work.
        """
        with tqdm(
            total=len(pending), desc=self.label, unit="checkpoint", disable=not (self.options.progress and pending)
        ) as bar:
            busy = self._pass(found, pending, bar, wait=False)
            self._pass(found, busy, bar, wait=True)

    def try_again(self) -> None:
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
            self.work_through(found, self.from_store(found))

    def give_back(self, identity: Identity) -> None:
        """Let go of a checkpoint that was fetched, whole or not."""
        if isinstance(self.source, RemoteSource):
            self.source.release(identity, keep=self.options.keep_downloads)

    def _pass(self, found: Audit, pending: Sequence[int], bar: tqdm, *, wait: bool) -> list[int]:
        """Work on steps in order; the steps that another process is at work on, unless they are waited for."""
        busy: list[int] = []
        fatal = False

        left = list(pending)
        worth = any(found.identities[step].bytes > _WORTH_READING_AHEAD_BYTES for step in pending)
        depth = self.options.prefetch if worth or isinstance(self.source, RemoteSource) else 0

        keys = {step: tuple(self.work.keys(found.identities[step])) for step in pending}
        first = {keys[step]: step for step in reversed(pending)}

        def prepare(step: int) -> Prepared | None:
            identity = found.identities[step]
            if not depth:  # it is read under its claim: nobody has it
                return self._prepare(identity)
            # Of two steps with the same weights, the second finds the records of the first.
            return self._prepared(identity, keys[step]) if first[keys[step]] == step else None

        for step, made in ahead(pending, prepare, depth):
            left.remove(step)
            identity = found.identities[step]
            if not wait and any(self.store.claimed_elsewhere(key) for key in keys[step]):
                busy.append(step)
                continue
            bar.set_postfix_str(f"step {step}", refresh=False)
            try:
                self._work_on(identity, keys[step], made)
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

    def _work_on(self, identity: Identity, keys: Sequence[RecordKey], made: Callable[[], Prepared | None]) -> None:
        """Make one checkpoint's records under their claims, unless another process has; give its files back."""
        try:
            with ExitStack() as claims:
                ours = {key for key in sorted(keys) if claims.enter_context(self.store.claim(key))}
                known = {key: self.store.read(key) for key in keys if key not in ours}
                if self._take(identity, [known.get(key) for key in keys]):
                    return
                prepared = made()
                if prepared is None or not _all_there(prepared):
                    prepared = self._prepare(identity)
                began = time.perf_counter()
                wanted = [key for key in keys if known.get(key) is None]
                for key, outcome in zip(wanted, self._outcomes(prepared, identity, wanted), strict=True):
                    self.store.write(key, outcome, settled=False)
                    known[key] = outcome
                self.result.seconds[identity.step] = time.perf_counter() - began
                self._take(identity, [known[key] for key in keys])
        finally:
            self.give_back(identity)

    def _outcomes(
        self, prepared: Prepared, identity: Identity, keys: Sequence[RecordKey]
    ) -> list[Measurement | NotFiniteError]:
        found, settings = prepared.resolved, prepared.resolved.config_id
        if found.weights_sha256 != identity.weights_sha256 or settings not in ("", identity.config_id):
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
        """A checkpoint fetched and read, unless its records exist or one is being made."""
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
    """Whether the files are still where they were read: another process may have given them back."""
    return all((prepared.resolved.folder / name).is_file() for name in prepared.resolved.files)
