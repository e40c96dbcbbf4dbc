"""Write docs/suites.md: the published suites of conf/model/, and how the class of each is measured.

    python tools/suites.py

A test holds the file to the configuration and the code.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
DOCUMENT = ROOT / "docs/suites.md"
_HEAD = """# The published suites

Each row is a file in `conf/model/`, measured by its name: `massact measure smollm3`, or
`python run.py stage=extract model=smollm2 model.size=360M`. *Models* counts the choices of size, corpus, seed,
repository and phase; DataDecide's seeds are `model.variant`. `step` counts what the column *axis* says. Every row is
tested against a loopback hub with small random weights under its real names (`tests/stages/test_suites.py`; Pythia's
in `tests/stages/test_hub_sweep.py`). Made by `python tools/suites.py`.

| suite | repository | models | checkpoints are | named | axis | class | measured through |
|---|---|---|---|---|---|---|---|
"""
_TAIL = """
A class is measured through TransformerLens's bridge if that is bit-identical to Hugging Face's own model, and else by
plain forward hooks. `pico_decoder` and `hf_olmo` are read as Llama. The code of `crystalcoder` comes with its
checkpoints, and runs only with `model.trust_remote_code=true`: it is not tested here, its names are, with weights of
another class.
"""
_OWN_CODE = {"crystalcoder": "its own code (not tested)"}


def document() -> str:
    """The content of docs/suites.md."""
    from massact.app import CONF
    from massact.compose.suites import suites

    ways: dict[str, str] = {}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in suites(CONF):
            row = _row(CONF / "model" / f"{name}.yaml")
            kind = row[-1]
            if kind not in ways:
                ways[kind] = _OWN_CODE.get(kind) or way(Path(folder), kind)
            rows.append([*row[:-1], f"`{kind}`", ways[kind]])
    return _HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _TAIL


def way(root: Path, kind: str) -> str:
    """How a small model of a class is measured: through a bridge, or by plain hooks and why."""
    from tests.suites import checkpoint

    from massact.checkpoints import FolderSource
    from massact.checkpoints.weights import CheckpointLoader
    from massact.extract.hooks import block_outputs

    loader = CheckpointLoader(outputs_of=block_outputs)
    loader.load(loader.prepare(FolderSource(checkpoint(root, kind, 0)).resolve(0)))
    return f"plain hooks ({loader.reason})" if loader.reason else "the bridge"


def _row(path: Path) -> list[str]:
    from omegaconf import OmegaConf

    node = OmegaConf.load(path)
    content: Any = OmegaConf.to_container(node)
    naming = content.get("naming") or {}
    if "size" in content and "repository" not in content:
        return _pythia(content["size"])
    models = 1
    for values in (content.get("choices") or {}).values():
        models *= len(values)
    repository = re.sub(r"\$\{\.(\w+)\}", r"{\1}", content["repository"])
    named = naming.get("pattern", "as names usually are")
    parts = "".join(f" and `{part}`" for part in naming.get("parts", []))
    return [
        path.stem, f"`{repository}`{parts}", str(models), naming.get("refs", "branches"),
        f"`{_readable(named)}`" if naming else named, naming.get("axis", "step"), content["kind"],
    ]  # fmt: skip


def _pythia(size: str) -> list[str]:
    from massact.checkpoints.pythia import NOT_DEDUPED, SEEDED, SEEDS

    models = 1 + (size not in NOT_DEDUPED) + (len(SEEDS) if size in SEEDED else 0)
    repository = f"`EleutherAI/pythia-{size}`"
    return [f"pythia-{size}", repository, str(models), "branches", "`step{step}`", "step", "gpt_neox"]


def _readable(pattern: str) -> str:
    """A pattern as a name with blanks: `step{step}-tokens{tokens}`."""
    text = re.sub(r"\(\?P<(\w+)>[^()]*\)", r"{\1}", pattern)
    text = re.sub(r"\(\?:([^()]*)\)\?", r"[\1]", text)
    return re.sub(r"\\d\+?", "{stage}", text).replace("|", " or ")


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
