"""stage=suite: train the unfinished members of a suite, shared among workers, and write its table at the end."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from tqdm import tqdm

from massact.compose.suite import chosen, suite_of
from massact.config import Config
from massact.errors import TrainingFailedError
from massact.tables import write_table
from massact.train.members import Member
from massact.train.suite import FAILED, Outcome, Suite
from massact.trajectories import RECORDS

log = logging.getLogger("massact")


def run(config: Config, output: Path) -> list[str]:
    """Train members until every one is finished or in work. The worker that finishes last writes the table."""
    suite = suite_of(config)
    members = chosen(suite.members, config.suite.only)
    label = f"{config.suite.name} worker {config.suite.worker}"
    with _Progress(suite, members, label) as progress:
        for member, outcome in suite.work(members, progress.at):
            progress.finished(member, outcome)
    outcomes = {member: suite.outcome(member) for member in members}
    left = sum(outcome is None for outcome in outcomes.values())
    if left:
        return [f"{label}: nothing left to start; {left} of {len(members)} are still being trained by other processes"]
    complete = all(suite.outcome(member) is not None for member in suite.members)
    line = f"{label}: {len(members)} of {len(suite.members)} trainings are finished"
    if complete:
        line = f"{_write(config, suite)}: {len(suite.members)} trainings"
    failed = {m.name: o.what for m, o in outcomes.items() if o is not None and o.status == FAILED}
    if failed:
        name, what = next(iter(failed.items()))
        raise TrainingFailedError(
            f"{len(failed)} of {len(members)} trainings failed ({name}: {what})", "run it again: finished ones are kept"
        )
    return [line]


def _write(config: Config, suite: Suite) -> Path:
    """Write `trajectories/<suite>.parquet`: the records of all finished trainings, with a row of metadata for each."""
    metadata = {
        "suite": config.suite.name,
        "recipe": suite.recipe.as_dict(),
        "design_seed": config.suite.seed,
        "sequences": len(suite.probe.tokens),
        "steps": suite.steps,
        "members": [row for member in suite.members if (row := suite.row(member)) is not None],
    }
    write_table(suite.records(), suite.published, RECORDS, metadata)
    return suite.published


class _Progress:
    """A progress bar over the estimated cost of the suite, including other workers' trainings; a line per training."""

    def __init__(self, suite: Suite, members: list[Member], label: str) -> None:
        self.suite, self.members, self.label = suite, members, label
        self.total = sum(member.cost for member in members) * suite.recipe.steps
        self.before = self.done()
        self.began = time.monotonic()
        self.bar = tqdm(
            total=100.0,
            initial=self.share(self.before),
            desc=label,
            disable=not sys.stderr.isatty(),
            bar_format="{desc}: {percentage:.1f}% [{elapsed}<{remaining}] {postfix}",
        )

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def done(self) -> float:
        """The cost of the finished trainings."""
        return sum(m.cost for m in self.members if self.suite.outcome(m) is not None) * self.suite.recipe.steps

    def share(self, done: float) -> float:
        """Share of the total cost, in per cent."""
        return 100 * done / self.total

    def at(self, member: Member, step: int) -> None:
        """Update the bar. Called before every step of a training."""
        if step % 64 == 0 and not self.bar.disable:
            self._show(member, step)

    def finished(self, member: Member, outcome: Outcome) -> None:
        """Log a line. Called after every training."""
        done = self.done()
        elapsed = time.monotonic() - self.began
        rate = (done - self.before) / elapsed if elapsed else 0.0
        left = f", about {(self.total - done) / rate / 3600:.1f} h left" if rate and done < self.total else ""
        why = f" ({outcome.what})" if outcome.what else ""
        text = (
            f"{self.label}: {member.name} {outcome.status}{why} in {outcome.seconds:.0f} s, "
            f"{self.share(done):.0f}% of the suite{left}"
        )
        with tqdm.external_write_mode():
            log.info("%s", text)
        self._show(member, 0)

    def _show(self, member: Member, step: int) -> None:
        done = self.done() + (member.cost * step if self.suite.outcome(member) is None else 0.0)
        self.bar.n = self.share(done)
        self.bar.set_postfix_str(f"{member.name} step {step}", refresh=True)
