"""BiDNN: one good vector per item from two feature modalities, either of which may be missing."""

from importlib.metadata import version

from bidnn.estimator import BiDNN, load
from bidnn.original.config import Config

__all__ = ["BiDNN", "Config", "__version__", "load"]
__version__ = version("bidnn")
