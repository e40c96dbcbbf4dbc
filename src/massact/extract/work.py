"""The work that a sweep does on each checkpoint. Measuring is one such work."""

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
    """What to do with each checkpoint of a model, and which records to make.

    `massact.extract.sweep.sweep` does the rest: it audits and fetches checkpoints, claims records, tries again and
    releases files. A record that is in the store is not made again.

    Attributes
    ----------
    dtype, device
        Number format and device of the model passed to `run`.
    unembedding
        Whether the work needs the model's unembedding. If False, the unembedding may be another checkpoint's or have
        no values. No hidden state depends on it, but every logit and every loss does.
    bridged
        Whether fetched models are passed as a `TransformerBridge`, wherever it gives the same hidden states.
        False: as plain Hugging Face models.
    """

    dtype: str = "float32"
    device: str = "cpu"
    unembedding: bool = False
    bridged: bool = False

    def begin(self, folder: Path) -> None:  # noqa: B027 - a work may need no preparation
        """Read the small files (config.json, tokenizer) of one checkpoint, before any weights are fetched.

        It is called once, or again with another checkpoint's files if it fails.

        Raises
        ------
        MassactError
            When the work cannot be done with these files. SourceError, MeasureError and MissingInputError concern one
            checkpoint. Any other error ends the sweep.
        """

    @abstractmethod
    def keys(self, identity: Identity) -> Sequence[RecordKey]:
        """The keys of the records of a checkpoint, each with its kind of record."""

    @abstractmethod
    def run(self, model: Any, keys: Sequence[RecordKey]) -> Sequence[Measurement | NotFiniteError]:
        """Make the records of these keys, in their order, from a loaded model.

        A NotFiniteError in place of a record means that this checkpoint cannot have it. The store keeps the error.

        Raises
        ------
        MassactError
            When the work fails for this checkpoint.
        """

    def seconds_each(self) -> float:
        """Estimated time for one checkpoint, called once after `begin`. 0: no estimate."""
        return 0.0


class Measuring(Work):
    """Measure statistics of every block on one probe.

    Parameters
    ----------
    probe_of
        Makes the probe from a folder with the model's tokenizer, which determines the ids.
    sequences_at_once
        As in `measure`.
    seconds_each
        Estimates the time for one checkpoint.

    Attributes
    ----------
    probe
        None until it has been made with a checkpoint's tokenizer.
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
        """Make the probe, and check that the model has enough positions."""
        probe = self._probe_of(folder)
        require_context(folder, probe.length)
        self.probe = probe

    def keys(self, identity: Identity) -> list[RecordKey]:
        """One key for each statistic."""
        return [record_key(identity, self._begun, self.dtype, self.device, one) for one in self.statistics]

    def run(self, model: Any, keys: Sequence[RecordKey]) -> list[Measurement | NotFiniteError]:
        """Measure the statistics of these keys, all in the same forward passes."""
        names = {key.kind.name for key in keys}
        statistics = [statistic for statistic in self.statistics if statistic.name in names]
        outcome = self._measured(model, statistics)
        if isinstance(outcome, NotFiniteError) and len(statistics) > 1:  # some of them may be finite
            alone = {statistic.name: self._measured(model, [statistic]) for statistic in statistics}
            return [alone[key.kind.name] for key in keys]
        return [outcome if isinstance(outcome, NotFiniteError) else outcome.only(key.kind.name) for key in keys]

    def seconds_each(self) -> float:
        """The given estimate; 0 if there is none."""
        return self._seconds_each(self._begun) if self._seconds_each else 0.0

    @property
    def _begun(self) -> Probe:
        if self.probe is None:
            raise RuntimeError("the probe is not available before a checkpoint's tokenizer is loaded")
        return self.probe

    def _measured(self, model: Any, statistics: Sequence[Statistic]) -> Measurement | NotFiniteError:
        import torch

        from massact.extract.measurement import measure

        tokens = torch.from_numpy(self._begun.tokens)
        try:
            return measure(model, tokens, statistics=statistics, sequences_at_once=self._sequences_at_once)
        except NotFiniteError as error:
            return error
