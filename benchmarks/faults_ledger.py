"""The integrity ledger over suites on a loopback hub: reported faults found, false alarms in healthy ones, bytes read.

    python benchmarks/faults_ledger.py              # 1,009 healthy checkpoints beside six reported faults

Weights are small random tensors padded with zeros to `--padding` bytes, under the suites' real names.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
FAULTS = ("pythia-205", "pythia-206", "pythia-202", "pythia-203", "olmo-915", "bloom")
SUITES = "pythia-2.8b,pythia-12b,pythia-410m,pythia-160m-weight-seed,olmo-2-7b,bloom,pythia-31m,lucie-7b,amber,olmo-1b"


def healthy() -> list:
    """Suites without a fault: Pythia's, by step, by data chunk, and with tokens in their names."""
    from tests.checkpoints.replays import Report, own, pythia

    end = ("s143000",)
    chunks = {step: (f"c{step}",) for step in range(40)}
    return [
        *(Report("", f"EleutherAI/pythia-31m-seed{seed}", pythia(), end) for seed in range(1, 6)),
        Report("", "OpenLLM-France/Lucie-7B", own(*range(5000, 405000, 5000)), revision=lambda s: f"step{s:07d}"),
        Report("", "LLM360/Amber", chunks, ("c39",), frozenset(), revision=lambda s: f"ckpt_{s:03d}"),
        Report(
            "", "allenai/OLMo-1B-hf", own(0, *range(1000, 119000, 1000)), ("final",),
            revision=lambda s: f"step{s}-tokens{s * 4194304 // 10**9}B",
        ),
    ]  # fmt: skip


def main() -> None:
    """Serve, audit, and print the counts."""
    from tests.checkpoints.replays import REPORTS
    from tests.hub import serving

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--padding", type=int, default=1 << 21, help="bytes added to each file (2,097,152)")
    padding = parser.parse_args().padding
    planted = [REPORTS[name] for name in FAULTS]
    reports = [*planted, *healthy()]
    logging.getLogger("massact").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        served = {report.repository: report.serve(root / str(k), padding) for k, report in enumerate(reports)}
        tags = frozenset(name for name in served["bigscience/bloom-7b1-intermediate"] if name != "main")
        with serving(served, tags=tags) as hub:
            os.environ |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(root / "hf")}
            began = time.perf_counter()
            table = ledger(root)
            seconds = time.perf_counter() - began
            sent = hub.sent
    steps = table[table["step"] >= 0]
    flagged = {(row.repository, row.step) for row in steps.itertuples() if row.state != "ok"}
    wrong = {(report.repository, step) for report in reports for step in report.wrong}
    print("| fault | checkpoints | wrong | found |\n|---|---|---|---|")
    for report in planted:
        own = {(report.repository, step) for step in report.wrong}
        print(f"| {report.where} | {len(report.files)} | {len(own)} | {len(own & flagged)} |")
    sound = len(steps) - len(wrong)
    alarms, missed = len(flagged - wrong), len(wrong - flagged)
    print(f"\n{sound} sound checkpoints, {alarms} false alarms; {len(wrong)} wrong, {missed} missed")
    print(f"read {sent:,} of {table['bytes'].sum():,} bytes of weights ({100 * sent / table['bytes'].sum():.2f} %)")
    print(f"{len(table)} rows in {seconds:.0f} s, {dict(hub.requests)}")


def ledger(root: Path):
    """The table of stage=ledger."""
    import pandas as pd

    from massact.app import CONF
    from massact.preflight import preflight
    from massact.stages import ledger

    (config,) = preflight(
        ["stage=ledger", f"ledger.only=[{SUITES}]", f"paths.records={root}/records"], CONF, multirun=False
    )
    ledger.run(config, root / "job")
    return pd.read_csv(root / "job/ledger.csv", keep_default_na=False)


if __name__ == "__main__":
    main()
