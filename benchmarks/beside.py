"""The cost of a change: sweeps and commands of this checkout and of another one, alternating.

    git worktree add ../before REVISION
    python benchmarks/beside.py ../before --pairs 31
    python benchmarks/beside.py ../before --pairs 7 --command run.py --help

Without `--command`, both run sweeps over a shipped family in long-lived processes, so that imports count once. The
memory layout of a process changes its speed by a few per cent, so the processes are restarted `--processes` times.
With a command, each run is a new process. Both processor time and wall time are measured, children included; the ratio
is the median over the pairs, with the quartiles.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
SWEEPS = """
import sys
sys.path.insert(0, {benchmarks!r})
import torch
from pathlib import Path
from massact.checkpoints import FolderSource
from sweep_speed import probe_of, sweep
torch.set_num_threads(1)
source = FolderSource(Path({folder!r}))
probe = probe_of({sequences}, 32, 512)
for _ in sys.stdin:
    wall, processor = sweep(source, probe)
    print(wall, processor, flush=True)
"""


def environment(checkout: Path) -> dict[str, str]:
    """The present environment with the checkout's own sources first."""
    return {**os.environ, "PYTHONPATH": str(checkout / "src"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


class Sweeps:
    """A process of one checkout that sweeps once for every line it is sent."""

    def __init__(self, checkout: Path, model: str, sequences: int) -> None:
        folder = str(HERE / "data" / "pocket" / f"{model}-seed0")
        code = SWEEPS.format(benchmarks=str(checkout / "benchmarks"), folder=folder, sequences=sequences)
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=checkout,
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __call__(self) -> tuple[float, float]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(file=self.process.stdin, flush=True)
        wall, processor = map(float, self.process.stdout.readline().split())
        return wall, processor

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


class Command:
    """A command of one checkout, run in its folder."""

    def __init__(self, checkout: Path, words: list[str]) -> None:
        self.checkout, self.words = checkout, words

    def __call__(self) -> tuple[float, float]:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        words = [sys.executable, *self.words] if self.words[0].endswith(".py") else self.words
        subprocess.run(words, cwd=self.checkout, env=environment(self.checkout), check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - began, processor

    def close(self) -> None:
        """Nothing to end."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--pairs", type=int, default=21)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--model", default="pocket-a")
    parser.add_argument("--sequences", type=int, default=10)
    parser.add_argument("--command", nargs=argparse.REMAINDER, help="a command in place of sweeps")
    args = parser.parse_args()
    checkouts = (args.before.resolve(), HERE)
    pairs = []
    for _ in range(1 if args.command else args.processes):
        both = [
            Command(checkout, args.command) if args.command else Sweeps(checkout, args.model, args.sequences)
            for checkout in checkouts
        ]
        print(f"first run: {both[0]()[0]:.2f} s before, {both[1]()[0]:.2f} s now")
        for turn in range(args.pairs):
            order = (0, 1) if turn % 2 else (1, 0)  # who goes first meets the disk's state of the other
            took = {which: both[which]() for which in order}
            pairs.append((took[0], took[1]))
        for one in both:
            one.close()
    for clock, kind in enumerate(("wall", "processor")):
        ratios = [after[clock] / before[clock] for before, after in pairs]
        low, middle, high = statistics.quantiles(ratios, n=4)
        before_s, after_s = (statistics.median(pair[i][clock] for pair in pairs) for i in (0, 1))
        print(
            f"{kind} time: {before_s:.3f} s before, {after_s:.3f} s now, ratio {middle:.2f} ({low:.2f} to {high:.2f})"
        )


if __name__ == "__main__":
    main()
