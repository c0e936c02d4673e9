"""BiDNN: one good vector per item from two feature modalities, either of which may be missing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bidnn.conventions import pack
    from bidnn.embedder import Embedder
    from bidnn.estimator import BiDNN, load
    from bidnn.original.config import Config
    from bidnn.search.index import Index

    __version__: str

__all__ = ["BiDNN", "Config", "Embedder", "Index", "__version__", "load", "pack"]

_HOMES = {
    "BiDNN": "bidnn.estimator",
    "load": "bidnn.estimator",
    "Config": "bidnn.original.config",
    "Index": "bidnn.search.index",
    "pack": "bidnn.conventions",
    "Embedder": "bidnn.embedder",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 — whatever has that name
    """A public name, imported when it is asked for, because torch takes a second to import."""
    if name == "__version__":
        from importlib.metadata import version

        return version("bidnn")
    if name not in _HOMES:
        raise AttributeError(f"module 'bidnn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """What there is."""
    return __all__
