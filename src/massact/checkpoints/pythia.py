"""Names and steps of the Pythia suite (Biderman et al. 2023) and its seeds, PolyPythias (van der Wal et al. 2025)."""

from __future__ import annotations

from massact.errors import ConfigError

PYTHIA_STEPS = (0, *(2**k for k in range(10)), *range(1000, 143001, 1000))
SIZES = ("14m", "31m", "70m", "160m", "410m", "1b", "1.4b", "2.8b", "6.9b", "12b")
NOT_DEDUPED = ("14m", "31m")
SEEDED = ("14m", "31m", "70m", "160m", "410m")
SEEDS = tuple(range(1, 10))

_FINAL_SHARD = "serves the first shard of step143000 (EleutherAI/pythia issue 206)"
_NO_WEIGHTS = "has no weights (EleutherAI/pythia issue 202)"
# Published checkpoints known to be wrong: (repository, step) -> fault.
KNOWN_SUSPECTS = {
    ("EleutherAI/pythia-12b", 50000): _FINAL_SHARD,
    ("EleutherAI/pythia-12b", 58000): _FINAL_SHARD,
    ("EleutherAI/pythia-410m-seed9", 40000): _NO_WEIGHTS,
    ("EleutherAI/pythia-410m-seed6", 88000): _NO_WEIGHTS,
    ("EleutherAI/pythia-410m-seed2", 111000): _NO_WEIGHTS,
}


def repo_id(size: str, *, deduped: bool = False, seed: int | None = None) -> str:
    """The Hub repository of one model; `seed` None is the standard release.

    Raises
    ------
    ConfigError
        A size, variant or seed that was never published. The message lists the published ones.

    >>> repo_id("70m", deduped=True), repo_id("70m", seed=3)
    ('EleutherAI/pythia-70m-deduped', 'EleutherAI/pythia-70m-seed3')
    """
    if size not in SIZES:
        raise ConfigError(f"pythia-{size} is not a Pythia model", f"choose one of {', '.join(SIZES)}")
    if deduped and size in NOT_DEDUPED:
        sizes = ", ".join(s for s in SIZES if s not in NOT_DEDUPED)
        raise ConfigError(f"pythia-{size}-deduped does not exist", f"deduplicated sizes: {sizes}")
    if seed is not None and size not in SEEDED:
        raise ConfigError(f"pythia-{size} has no seeds", f"PolyPythias has seeds of {', '.join(SEEDED)}")
    if seed is not None and (isinstance(seed, bool) or seed not in SEEDS):
        raise ConfigError(
            f"pythia-{size} has no seed {seed}", f"choose {SEEDS[0]} to {SEEDS[-1]}, or 0 for the release"
        )
    if seed is not None and deduped:
        raise ConfigError(f"pythia-{size} has no deduplicated seeds", "drop model.deduped or model.seed")
    return f"EleutherAI/pythia-{size}{'-deduped' if deduped else ''}{f'-seed{seed}' if seed is not None else ''}"
