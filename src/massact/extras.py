"""Optional dependencies: which extra of massact brings a module that is not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Generator
from contextlib import contextmanager

from massact.errors import MissingExtraError

# Modules that massact imports itself, by the extra that brings them.
EXTRAS = {
    "transformer_lens": "bridge",
    "sklearn": "predict",
    "xgboost": "predict",
    "mlflow": "mlflow",
    "skops": "mlflow",
    "dvc": "pipeline",
    "accelerate": "live",
    "lightning": "live",
    "shap": "shap",
}
# Those of a plain `pip install massact`, which may be missing after `pip install --no-deps`.
CORE = (
    "torch", "numpy", "scipy", "pandas", "pyarrow", "numba", "transformers", "tokenizers", "huggingface_hub",
    "safetensors", "filelock", "hydra", "omegaconf", "lmfit", "jaxtyping", "jinja2", "markupsafe", "matplotlib", "tqdm",
    "PIL", "yaml",
)  # fmt: skip


def lacking(module: str) -> MissingExtraError | None:
    """What to say of a module that is not installed; None if massact does not depend on it.

    >>> str(lacking("sklearn.linear_model"))
    "sklearn is not installed; pip install 'massact[predict]'"
    """
    root = module.partition(".")[0]
    if root not in EXTRAS and root not in CORE:
        return None
    name = f"massact[{EXTRAS[root]}]" if root in EXTRAS else ""
    return MissingExtraError(f"{root} is not installed", f"pip install '{name}'" if name else "pip install massact")


@contextmanager
def extras_named() -> Generator[None, None, None]:
    """Turn the error of a missing optional module into one line that names the extra.

    Raises
    ------
    MissingExtraError
        It is an ImportError too.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = lacking(error.name or "")
        if missing is None:
            raise
        raise missing from None


def installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    return importlib.util.find_spec(module) is not None


def require(*modules: str) -> None:
    """Refuse to begin work that would end at a missing module.

    Raises
    ------
    MissingExtraError
        Naming the extra.
    """
    for module in modules:
        missing = None if installed(module) else lacking(module)
        if missing is not None:
            raise missing
