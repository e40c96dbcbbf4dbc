"""Hostile names in every setting that becomes a path: how many are refused in one line, or stay in their folder.

    python benchmarks/faults_names.py --commands 8

`--commands N` also types N of them on the real command line, and looks for files outside of the given folder.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf, open_dict

from massact.config import register
from massact.errors import MassactError
from massact.names import component, slug
from massact.params import load_params
from massact.settings import settings, table_stem

ROOT = Path(__file__).parents[1]
NAMES = [
    "../x",
    "../../x",
    "../../../../../../tmp/x",
    "..",
    ".",
    "",
    "/",
    "/tmp/x",
    "/etc/passwd",
    "//x",
    "./x",
    "x/",
    "x/..",
    "x/../../y",
    "..\\x",
    "C:\\x",
    "\\\\host\\x",
    "~",
    "~/x",
    "~root",
    "$HOME/x",
    "${HOME}",
    "`id`",
    "$(id)",
    "x;y",
    "x|y",
    "x&y",
    "x y",
    " x",
    "x ",
    "x\n",
    "x\ny",
    "x\ry",
    "x\ty",
    "x\0",
    "x\0.parquet",
    "\x1b[31mx",
    "x\x7f",
    "a" * 101,
    "a" * 300,
    "a" * 5000,
    "CON",
    "NUL",
    "con.parquet",
    "aux",
    "-rf",
    "--help",
    ".hidden",
    "...",
    ". .",
    "x.",
    "*",
    "?",
    "[x]",
    "{x}",
    "x:y",
    "<x>",
    "'x'",
    '"x"',
    "%2e%2e%2fx",
    "..%2fx",
    "．．／x",
    "․․/x",
    "∕tmp∕x",
    "х",
    "ｘ",
    "é",
    "é",
    "x\u202egnp",
    "x\u200b",
    "\ufeffx",
    "\U0001f4a5",
    "x\udcff",
    "file:///tmp/x",
    "http://x/y",
    "null",
    "true",
    "0",
    "1e5",
]
COMPONENTS = [
    "model.name",
    "model.family",
    "model.recipe.name",
    "suite.name",
    "suite.recipe.name",
    "tracking.experiment",
]
SUITES = ["model.variant", "model.repository"]
REPOSITORIES = ["published.dataset", "probe.dataset", "published.commit", "probe.dataset_revision"]


def outcome(act: Any) -> str:
    """held: refused in one ASCII line, or accepted as one component; otherwise, what went wrong."""
    try:
        taken = act()
    except MassactError as error:
        said = str(error)
        return "refused" if error.exit_code == 2 and "\n" not in said and said.isprintable() else "refused badly"
    except Exception as error:
        return f"raised {type(error).__name__}"
    return "taken inside" if all(inside(name) for name in taken) else "reaches outside"


def inside(name: str) -> bool:
    """Whether every part of a name is one entry of its folder."""
    return all((Path("/a") / part).resolve().parent == Path("/a") for part in name.split("/"))


def through_settings(whole: DictConfig, key: str, name: str) -> list[str]:
    changed = whole.copy()
    if key == "suite.ladders":
        with open_dict(changed):
            changed.suite.ladders = {name: changed.suite.ladders.heads}
    else:
        OmegaConf.update(changed, key, name, merge=False)
    config = settings(changed)
    return [name, table_stem(config.model)]


def through_params(folder: Path, key: str, name: str) -> list[str]:
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump({**content, key: [name]}), encoding="utf-8")
    load_params(path)
    return [name]


def typed(name: str) -> str:
    """A name on the real command line of a stage that would write a table of that name."""
    with tempfile.TemporaryDirectory() as where:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        paths = [f"paths.{k}={where}/in/{k}" for k in ("records", "extracted", "runs", "results")]
        command = [sys.executable, "run.py", "stage=extract", f'model.name="{quoted}"', "checkpoints=list"]
        command += ["checkpoints.steps=[0]", *paths, f"hydra.run.dir={where}/in/job"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        left = [p for p in Path(where).rglob("*") if not p.is_relative_to(Path(where) / "in")]
        lines = [line for line in done.stderr.splitlines() if line]
    if left:
        return "reaches outside"
    return "refused" if done.returncode == 2 and len(lines) == 1 else f"exit {done.returncode}, {len(lines)} lines"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=0, help="how many to type on the real command line")
    arguments = parser.parse_args()
    register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        pocket, suite = compose("config"), compose("config", overrides=["model=olmo-1b"])
    counts: Counter[str] = Counter()
    tries = [(pocket, key) for key in [*COMPONENTS, *REPOSITORIES, "suite.ladders"]]
    for whole, key in [*tries, *((suite, key) for key in SUITES)]:
        for name in NAMES:
            found = outcome(lambda w=whole, k=key, n=name: through_settings(w, k, n))
            counts[found] += 1
            if found not in ("refused", "taken inside"):
                print(f"{key} = {name!a}: {found}")
    with tempfile.TemporaryDirectory() as where:
        for key in ("models", "suites"):
            for name in NAMES:
                found = outcome(lambda k=key, n=name: through_params(Path(where), k, n))
                counts[found] += 1
                if found not in ("refused", "taken inside"):
                    print(f"params.yaml {key} = {name!a}: {found}")
    counts["slug is a component"] += sum(component(slug(name), "slug") == slug(name) for name in NAMES)
    for name in NAMES[: arguments.commands]:
        counts[f"typed: {typed(name)}"] += 1
    tried = sum(counts.values())
    bad = [what for what in counts if what.startswith(("raised", "reaches", "refused badly", "typed: reaches"))]
    print(f"tried {tried}, held {tried - sum(counts[what] for what in bad)}")
    for what, count in counts.most_common():
        print(f"  {what}: {count}")


if __name__ == "__main__":
    main()
