"""stage=ledger: audit every published suite, with one table of every checkpoint's state."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from massact.checkpoints.audit import audit
from massact.checkpoints.hub import HubSource
from massact.checkpoints.integrity import FRUGAL, OK, OTHER, Integrity
from massact.compose.sources import source_of
from massact.compose.suites import members, suites
from massact.config import Config
from massact.disk import write_text
from massact.errors import CheckpointError, ConfigError
from massact.settings import repository_of, table_stem

log = logging.getLogger("massact")
_NAMED = 20  # checkpoints that are named one by one; the table has all of them


def run(config: Config, output: Path) -> list[str]:
    """Write `ledger.csv` into the job's folder. Report the numbers, and name the first checkpoints that are not as they
    should be.

    Raises
    ------
    ConfigError
        A suite that is not known.
    CheckpointError
        When no model could be audited.
    """
    from massact.app import CONF

    own = own_folder()
    names = suites(CONF, own) if config.ledger.only is None else config.ledger.only
    models = list(members(names, CONF, own))
    ledger = Integrity()
    for model in models:
        own_config = replace(config, model=model)
        try:
            source = source_of(own_config)
            result = audit(source, look_at_all=True, reading=replace(FRUGAL, share=config.ledger.share))
        except (CheckpointError, ConfigError) as error:
            ledger.unavailable[table_stem(model)] = error.what
            log.warning("%s: %s", table_stem(model), error.what)
            continue
        steps = [int(step) for step in result.table()["step"]]
        where = [source.part(step).repo_id if isinstance(source, HubSource) else "" for step in steps]
        ledger.add(table_stem(model), where, result)
        log.info("%s: %d checkpoints, %s", table_stem(model), len(steps), repository_of(model))
    path = output / "ledger.csv"
    write_text(path, ledger.table().to_csv(index=False))
    if models and len(ledger.unavailable) == len(models):
        raise CheckpointError(f"no model could be audited: {next(iter(ledger.unavailable.values()))}", "run it again")
    return [*_lines(ledger, len(models)), f"table: {path}"]


def own_folder() -> Path | None:
    """The folder of the user's own configuration (`--config-dir`), if the command named one."""
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return None
    sources = HydraConfig.get().runtime.config_sources
    return next((Path(s.path) for s in sources if s.provider == "command-line" and s.schema == "file"), None)


def _lines(ledger: Integrity, models: int) -> list[str]:
    table = ledger.table()
    states = Counter(table["state"])
    counts = ", ".join(f"{count} {state}" for state, count in states.most_common())
    share = 100 * ledger.bytes_read / ledger.weight_bytes if ledger.weight_bytes else 0.0
    bad: Any = table[~table["state"].isin([OK, OTHER])]  # pandas' stubs know no column types
    wrong = bad.to_dict("records")
    named = [f"{row['repository']} {row['revision']}: {row['state']}, {row['why']}" for row in wrong[:_NAMED]]
    more = [f"and {len(wrong) - _NAMED} more"] if len(wrong) > _NAMED else []
    return [
        f"{models - len(ledger.unavailable)} of {models} models, {len(table)} checkpoints: {counts}",
        f"read {ledger.bytes_read:,} of {ledger.weight_bytes:,} bytes of weights ({share:.2g} %)",
        *named,
        *more,
    ]
