"""What a sweep does with each checkpoint; measuring is one such work."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from massact.checkpoints.source import Identity
from massact.errors import NotFiniteError
from massact.extract.context import require_context
from massact.extract.probe import Probe
from massact.extract.provenance import record_key
from massact.extract.statistic import Statistic

if TYPE_CHECKING:
    from massact.extract.protocol import Measurement
    from massact.extract.store import RecordKey


class Work(ABC):
    """What is done with each checkpoint of a model, and which records it leaves.

    `massact.extract.sweep.sweep` does the rest: it audits and fetches checkpoints, claims records, tries again and
    gives files back. A record that is in the store is never made again.

    Attributes
    ----------
    dtype, device
        Number format and device of the model that `run` is given.
    unembedding
        Whether it needs the model's unembedding. Without it a model may be given whose unembedding is that of another
        checkpoint, or has no values: no hidden state depends on it, but every logit and loss does.
    bridged
        Whether models that were fetched come as a `TransformerBridge`, wherever that gives the same hidden states.
        False: as Hugging Face's own.
    """

    dtype: str = "float32"
    device: str = "cpu"
    unembedding: bool = False
    bridged: bool = False

    def begin(self, folder: Path) -> None:  # noqa: B027 - a work may have nothing to begin with
        """Look at the small files (config.json, tokenizer) of one checkpoint, before any weights are fetched.

        Called once, or with the next checkpoint's files when those of one will not do.

        Raises
        ------
        MassactError
            When the work cannot be done with these: a SourceError, MeasureError or MissingInputError is that of one
            checkpoint, any other ends the sweep.
        """

    @abstractmethod
    def keys(self, identity: Identity) -> Sequence[RecordKey]:
        """The keys of the records that it makes of a checkpoint, each with what kind of record it is."""

    @abstractmethod
    def run(self, model: Any, keys: Sequence[RecordKey]) -> Sequence[Measurement | NotFiniteError]:
        """Make the records of these keys, in their order, from a loaded model.

        NotFiniteError in place of one says that this checkpoint can have no such record; it is kept as such.

        Raises
        ------
        MassactError
            When it fails for this checkpoint.
        """

    def seconds_each(self) -> float:
        """Estimated time for one checkpoint, asked for once and after `begin`; 0 says nothing of time."""
        return 0.0


class Measuring(Work):
    """Measure statistics of every block on one probe.

    Parameters
    ----------
    probe_of
        Makes the probe from a folder with the model's tokenizer (which decides the ids).
    sequences_at_once
        As in `measure`.
    seconds_each
        Estimates the time that one checkpoint takes.

    Attributes
    ----------
    probe
        None until a checkpoint's tokenizer has made one.
    """

    bridged = True

    def __init__(
        self,
        probe_of: Callable[[Path], Probe],
        statistics: Sequence[Statistic],
        *,
        dtype: str,
        device: str,
        sequences_at_once: int | None = None,
        seconds_each: Callable[[Probe], float] | None = None,
    ) -> None:
        self.statistics, self.dtype, self.device = tuple(statistics), dtype, device
        self.probe: Probe | None = None
        self._probe_of, self._sequences_at_once, self._seconds_each = probe_of, sequences_at_once, seconds_each

    def begin(self, folder: Path) -> None:
        """Make the probe, and see that the model has as many positions."""
        probe = self._probe_of(folder)
        require_context(folder, probe.length)
        self.probe = probe

    def keys(self, identity: Identity) -> list[RecordKey]:
        """One key for each statistic."""
        return [record_key(identity, self._begun, self.dtype, self.device, one) for one in self.statistics]

    def run(self, model: Any, keys: Sequence[RecordKey]) -> list[Measurement | NotFiniteError]:
        """Measure the statistics of these keys, all in the same passes."""
        wanted = [statistic for statistic in self.statistics if statistic.name in {key.kind.name for key in keys}]
        found = self._measured(model, wanted)
        if isinstance(found, NotFiniteError) and len(wanted) > 1:  # told for each: some may be finite
            alone = {statistic.name: self._measured(model, [statistic]) for statistic in wanted}
            return [alone[key.kind.name] for key in keys]
        return [found if isinstance(found, NotFiniteError) else found.only(key.kind.name) for key in keys]

    def seconds_each(self) -> float:
        """By the estimate that was given."""
        return self._seconds_each(self._begun) if self._seconds_each else 0.0

    @property
    def _begun(self) -> Probe:
        if self.probe is None:
            raise RuntimeError("no checkpoint's tokenizer has made the probe yet")
        return self.probe

    def _measured(self, model: Any, statistics: Sequence[Statistic]) -> Measurement | NotFiniteError:
        import torch

        from massact.extract.measurement import measure

        tokens = torch.from_numpy(self._begun.tokens)
        try:
            return measure(model, tokens, statistics=statistics, sequences_at_once=self._sequences_at_once)
        except NotFiniteError as error:
            return error
