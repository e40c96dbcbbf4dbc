"""massact: massive activations of transformers, measured over training, fitted and forecast."""

from massact.architecture import Architecture
from massact.errors import MassactError

__all__ = ["Architecture", "MassactError", "__version__"]
__version__ = "0.1.0"
