"""Find checkpoints that are not what they claim to be, from the hashes and some values of their weights."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tqdm import tqdm

from massact.checkpoints.appearance import Appearance, Reading
from massact.checkpoints.groups import MAIN, Group, Judgement, groups, judge, steps_named
from massact.checkpoints.hub import HubSource
from massact.checkpoints.known import REPORTED, REPORTED_BY_VALUE
from massact.checkpoints.source import CheckpointSource, CheckpointStatus, Identity, RemoteSource, SourceError
from massact.checkpoints.untrained import Look, State

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "step",
    "revision_asked",
    "status",
    "suspect",
    "duplicate_of",
    "shared",
    "revision_loaded",
    "weights_sha256",
    "bytes",
    "group",
    "looks",
)
# Weights that look untrained from this step on, while others of the model look trained, belong to another step.
_LATE = 1000
_BIN = re.compile(r"pytorch_model(-[0-9]{5}-of-[0-9]{5})?\.bin")
_STALE = (
    "each has a pytorch_model.bin of its own, so the safetensors are stale: fetch the .bin, config.json and tokenizer "
    "into step{N}/ of a folder and measure them with model.folder"
)
_HASHED_AT_ONCE = 2  # one thread hashes more slowly than a fast disk reads
_PROGRESS_DELAY_S = 2.0


@dataclass
class Audit:
    """The identities of a source's checkpoints and the doubts about them.

    Attributes
    ----------
    identities, errors
        By step: the checkpoint's identity, or why it is not available.
    revisions
        Step -> the requested revision, for checkpoints that are not available.
    suspects
        Step -> why its weights belong to another step.
    final, final_suspect
        The finished model that the repository serves, if it states one, and why it is not what it claims to be.
    groups
        Groups of checkpoints with identical files, each with its judgement.
    looks
        Step -> what its weights look like, for the checkpoints that were inspected.
    bytes_read
        Bytes of weight files that the inspection read.
    """

    identities: dict[int, Identity] = field(default_factory=dict)
    errors: dict[int, SourceError] = field(default_factory=dict)
    revisions: dict[int, str] = field(default_factory=dict)
    suspects: dict[int, str] = field(default_factory=dict)
    final: Identity | None = None
    final_suspect: str = ""
    groups: list[tuple[Group, Judgement]] = field(default_factory=list)
    looks: dict[int, Look] = field(default_factory=dict)
    bytes_read: int = 0

    def table(self) -> pd.DataFrame:
        """One row per step and one for the finished model: see COLUMNS.

        `duplicate_of` is the first other step that shares a weight file (-1: none), and `shared` lists the shared
        files. `suspect` says why a step should not be trusted. `group` names its groups (`g1`). `looks` is untrained,
        trained or empty.
        """
        import pandas as pd

        twins = _first_twins(self.identities.values())
        rows = [self._row(step, twins) for step in sorted({*self.identities, *self.errors})]
        if self.final is not None:
            last = max(self.identities, default=-1)
            same = last >= 0 and self.identities[last].weights_sha256 == self.final.weights_sha256
            rows.append(_ok(self.final, self.final_suspect, last if same else -1, "", *self._seen(MAIN)))
        return pd.DataFrame(rows, columns=list(COLUMNS))

    def lines(self) -> list[str]:
        """A description of each group, one line each."""
        steps = sorted({*self.identities, *self.errors})
        return [_line(group, judgement, steps) for group, judgement in self.groups]

    def _row(self, step: int, twins: Mapping[int, tuple[int, str]]) -> tuple[object, ...]:
        if step in self.errors:
            error = self.errors[step]
            asked = self.revisions.get(step, f"step{step}")
            return (step, asked, str(error.status), error.what, -1, "", "", "", 0, "", "")
        twin = twins.get(step, (-1, ""))
        return _ok(self.identities[step], self.suspects.get(step, ""), *twin, *self._seen(step))

    def _seen(self, step: int) -> tuple[str, str]:
        """The names of a step's groups, and what its weights look like."""
        within = [group.name for group, _ in self.groups if step in group.steps or (step == MAIN and group.main)]
        return " ".join(within), str(self.looks[step].state) if step in self.looks else ""


def audit(
    source: CheckpointSource,
    steps: Sequence[int] | None = None,
    *,
    look_at_all: bool = False,
    reading: Reading | None = None,
) -> Audit:
    """Identify checkpoints and find those that are not what they claim to be.

    Parameters
    ----------
    steps
        The steps of interest; None: all. If the Hub answers, all steps are compared in any case, by its stated hashes.
    look_at_all
        Whether to read some values of every checkpoint (a few hundred kilobytes each). Otherwise only step 0 is
        inspected, and in a local folder only if step 0 shares its weights with later steps.
    reading
        How much of the weights may be read; None: as much as `look_at_all` needs.

    Raises
    ------
    SourceError
        When no step is available, or the source as a whole is not.
    """
    result = Audit()
    remote = isinstance(source, RemoteSource)
    selected = sorted(steps) if steps is not None else source.steps()
    everything = sorted({*selected, *source.steps()}) if remote and _answers(source) else selected
    for step, answer in (source.identify_many(everything) if remote else _identities(source, everything)).items():
        if isinstance(answer, Identity):
            result.identities[step] = answer
        else:
            result.errors[step] = answer
            if isinstance(source, HubSource):
                result.revisions[step] = source.revision(step)
    _raise_if_hopeless(result, selected)
    result.final = source.final() if remote else None
    known = [*result.identities.values(), *([result.final] if result.final else [])]
    appearance = Appearance(source, reading, sum(identity.bytes for identity in known))
    if look_at_all:
        result.looks = appearance.of_many(known)
    elif isinstance(source, HubSource) and _from_start(source) and 0 in selected and 0 in result.identities:
        result.looks = {0: appearance.of(result.identities[0])}
    _judge_groups(result, source, appearance)
    result.suspects = _suspects(result, source)
    result.final_suspect = _final_suspect(result)
    result.bytes_read = appearance.bytes_read
    return result


def audit_table(source: CheckpointSource) -> pd.DataFrame:
    """The table of `Audit.table` for a source, with all checkpoints inspected; errors as in `audit`."""
    return audit(source, look_at_all=True).table()


def suspects(table: pd.DataFrame) -> list[str]:
    """One line per checkpoint of an `audit_table` that is unavailable or should not be trusted, in order of step."""
    lines = []
    for row in table.to_dict("records"):
        name = f"step {row['step']}" if int(row["step"]) >= 0 else str(row["revision_asked"])
        if row["status"] != CheckpointStatus.OK:
            lines.append(f"{name}: {row['status']}; {row['suspect']}")
        elif row["suspect"]:
            lines.append(f"{name}: {row['suspect']}")
    return lines


def _ok(identity: Identity, suspect: str, twin: int, shared: str, group: str, looks: str) -> tuple[object, ...]:
    return (
        identity.step,
        identity.revision_asked,
        "ok",
        suspect,
        twin,
        shared,
        identity.revision_loaded,
        identity.weights_sha256,
        identity.bytes,
        group,
        looks,
    )


def _answers(source: RemoteSource) -> bool:
    """Whether the server answers, so that all steps can be compared without a download."""
    from massact.checkpoints.reach import reachable

    return isinstance(source, HubSource) and not source.offline and reachable(source.endpoint)


def _identities(source: CheckpointSource, steps: Sequence[int]) -> dict[int, Identity | SourceError]:
    """Identify the steps of a source on this disk. Hashing takes minutes for a folder of large models."""

    def identity(step: int) -> Identity | SourceError:
        try:
            return source.identify(step)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(_HASHED_AT_ONCE, thread_name_prefix="hash") as pool:
        answers = tqdm(
            pool.map(identity, steps),
            "hashing weights",
            len(steps),
            unit="checkpoint",
            delay=_PROGRESS_DELAY_S,
            leave=False,
        )
        return dict(zip(steps, answers, strict=True))


def _raise_if_hopeless(audit: Audit, selected: Sequence[int]) -> None:
    fatal = next((error for error in audit.errors.values() if error.fatal), None)
    if fatal is not None:
        raise fatal
    errors = [audit.errors[step] for step in selected if step in audit.errors]
    if len(errors) == len(selected) and all(e.status is CheckpointStatus.UNREACHABLE for e in errors) and errors:
        raise errors[-1]


def _judge_groups(audit: Audit, source: CheckpointSource, appearance: Appearance) -> None:
    """Find the groups of identical files and judge each."""
    last = _last(audit, source)
    for group in groups(audit.identities.values(), audit.final, from_start=_from_start(source)):
        seen = Look()
        if group.first and (len(group.steps) > len(group.first) or group.main):
            seen = appearance.of(audit.identities[group.first[0]], group.files[0])
        elif 0 in group.steps and 0 in audit.looks:
            seen = audit.looks[0]
        judgement = judge(group, seen, last=last, main_known=audit.final is not None)
        if judgement.wrong and _stale(group, audit, source, last):
            judgement = replace(judgement, remedy=_STALE)
        audit.groups.append((group, judgement))


def _last(audit: Audit, source: CheckpointSource) -> int | None:
    """The last step of the training, if its weights are known. In a folder the training may still be running."""
    if not isinstance(source, RemoteSource):
        return None
    last = source.steps()[-1] if source.steps() else None
    return last if last in audit.identities else None


def _stale(group: Group, audit: Audit, source: CheckpointSource, last: int | None) -> bool:
    """Whether each member of a group has its own .bin beside the shared safetensors, by the Hub's stated hashes."""
    if not isinstance(source, HubSource) or not group.files[0].endswith(".safetensors"):
        return False
    members = [step for step in group.steps if not (step == 1 and 0 in group.steps)]
    if group.main and last not in group.steps:
        members.append(MAIN)
    if len(members) < 2:
        return False
    sets = []
    for step in members:
        identity = audit.final if step == MAIN else audit.identities[step]
        listed = source.listed(identity.revision_loaded) if identity is not None else {}
        sets.append(tuple(sorted((n, f.sha256) for n, f in listed.items() if _BIN.fullmatch(n) and f.sha256)))
    return all(sets) and len(set(sets)) == len(sets)


def _suspects(audit: Audit, source: CheckpointSource) -> dict[int, str]:
    """Why steps should not be trusted: because of their group, their values, or a public report."""
    last = _last(audit, source)
    reasons: defaultdict[int, list[tuple[str, int]]] = defaultdict(list)
    notes: defaultdict[int, list[str]] = defaultdict(list)
    for group, judgement in audit.groups:
        for step in judgement.wrong:
            others = [other for other in group.steps if other != step]
            twin = last if last in others else MAIN if group.main else others[0]
            reasons[step] += [(name, twin) for name in group.files]
            if group.first:
                notes[step].append(judgement.why)
    for step, what in _by_appearance(audit, from_start=_from_start(source)).items():
        notes[step].append(what)
    texts = {}
    for step in sorted({*reasons, *notes}):
        texts[step] = "; ".join(part for part in (_sharing(audit, step, reasons[step]), *notes[step]) if part)
    compared = bool(source.steps()) and last == source.steps()[-1]
    for step, what in _reported(source, REPORTED).items():
        if step in texts:
            texts[step] += f"; {what}"
        elif step in audit.identities and not compared:
            texts[step] = what
    for step, what in _reported(source, REPORTED_BY_VALUE).items():
        if step in audit.identities:
            texts[step] = f"{texts[step]}; {what}" if step in texts else what
    return dict(sorted(texts.items()))


def _from_start(source: CheckpointSource) -> bool:
    """Whether step 0 is the initialisation: on other axes it is the first chunk of data, or nothing."""
    return getattr(source, "axis", "step") == "step"


def _by_appearance(audit: Audit, *, from_start: bool) -> dict[int, str]:
    """Steps whose weights look wrong for their position, unless the judgement of their group covers them."""
    judged = {step for group, judgement in audit.groups if group.first for step in judgement.wrong}
    trained = any(seen.state is State.TRAINED for seen in audit.looks.values())
    out = {}
    for step, seen in audit.looks.items():
        if step == 0 and from_start and seen.state is State.TRAINED and step not in judged:
            out[step] = f"looks trained ({seen.sign})"
        elif step >= _LATE and seen.state is State.UNTRAINED and trained and step not in judged:
            out[step] = f"looks untrained ({seen.sign})"
    return out


def _final_suspect(audit: Audit) -> str:
    """Why the finished model is not what it claims to be."""
    if audit.final is None:
        return ""
    last, parts = max(audit.identities, default=-1), []
    if last < 0 or audit.identities[last].weights_sha256 != audit.final.weights_sha256:
        parts.append(f"is not step {last}")
    steps = sorted(audit.identities)
    for group, _ in audit.groups:
        if group.main and group.first:
            parts.append(group.shares(f"steps {steps_named(group.steps, steps)}"))
    seen = audit.looks.get(MAIN, Look())
    if seen.state is State.UNTRAINED and any(other.state is State.TRAINED for other in audit.looks.values()):
        parts.append(f"looks untrained ({seen.sign})")
    return "; ".join(parts)


def _sharing(audit: Audit, step: int, reasons: Sequence[tuple[str, int]]) -> str:
    """A sentence about the files that a step shares."""
    by_twin: defaultdict[int, list[str]] = defaultdict(list)
    for name, twin in reasons:
        by_twin[twin].append(name)
    parts = []
    for twin, names in sorted(by_twin.items()):
        whole = len(names) == len(audit.identities[step].files)
        whom = "main" if twin == MAIN else f"step {twin}"
        parts.append(f"has the weights of {whom}" if whole else f"shares {', '.join(names)} with {whom}")
    return "; ".join(parts)


def _line(group: Group, judgement: Judgement, steps: Sequence[int]) -> str:
    """A description of a group."""
    many = "step" if len(group.steps) == 1 else "steps"
    who = f"{many} {steps_named(group.steps, steps)}{' and main' if group.main else ''}"
    what = "the same weights" if group.whole else ", ".join(group.files)
    verdict = f"{len(judgement.wrong)} suspect" if judgement.wrong else "as it should be"
    why = "; ".join(part for part in (judgement.why, judgement.remedy) if part)
    return f"{group.name} ({group.sha256[:12]}): {who} hold {what}: {verdict}, {why}"


def _holders(identities: Iterable[Identity]) -> dict[tuple[str, str], list[int]]:
    """(file name, sha256) -> the steps that share it, if there are several."""
    holders: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for identity in sorted(identities, key=lambda i: i.step):
        for name, sha in identity.files.items():
            holders[name, sha].append(identity.step)
    return {file: steps for file, steps in holders.items() if len(steps) > 1}


def _first_twins(identities: Iterable[Identity]) -> dict[int, tuple[int, str]]:
    """Step -> the first other step that shares a file, and the shared files."""
    common: defaultdict[int, defaultdict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (name, _), steps in _holders(identities).items():
        for step in steps:
            common[step][next(other for other in steps if other != step)].append(name)
    return {step: (min(twins), ", ".join(twins[min(twins)])) for step, twins in common.items()}


def _reported(source: CheckpointSource, reports: Mapping[tuple[str, int], str]) -> dict[int, str]:
    if not isinstance(source, HubSource):
        return {}
    return {step: what for (repository, step), what in reports.items() if repository == source.part(step).repo_id}
