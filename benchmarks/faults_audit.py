"""Reported faults of published checkpoints, replayed on a loopback hub: how many the audit flags, trusts and misses.

    python benchmarks/faults_audit.py

Prints one row a report, audited with looks at the weights and on a hub that answers no range requests. Missed: wrong
steps that are trusted. Beyond: flagged steps that nobody reported.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ |= {"HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}


def main() -> None:
    """Replay all reports, or those named."""
    from tests.checkpoints.replays import REPORTS, replay

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", nargs="*", choices=[[], *REPORTS], help="default: all")
    names = parser.parse_args().reports or list(REPORTS)
    print("| report | steps | flagged | trusted | missed | beyond | range requests | downloads | s | missed without |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name in names:
        report = REPORTS[name]
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            seen = replay(report, Path(folder) / "looks")
            seconds = time.perf_counter() - began
            blind = replay(report, Path(folder) / "blind", whole_files=True)
        row = [report.where, len(report.files), len(seen.flagged), len(seen.trusted), len(seen.missed(report))]
        row += [len(seen.beyond(report)), seen.looks, seen.downloads, f"{seconds:.1f}", len(blind.missed(report))]
        print("|", " | ".join(str(value) for value in row), "|")


if __name__ == "__main__":
    main()
