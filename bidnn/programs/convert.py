"""scripts/convert.py: features from one file format to another."""

import logging
from pathlib import Path

from bidnn.data.export import export
from bidnn.errors import UserError
from bidnn.files import check_room, check_writable
from bidnn.programs.config import ConvertConfig

log = logging.getLogger(__name__)


def run(config: ConvertConfig) -> None:
    """Reads rows and writes them, a block at a time.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    source, path = config.data, Path(config.output.path)
    if source.val_fraction or getattr(source, "val_path", None):
        raise UserError("data.val_fraction and data.val_path have no meaning here")
    check_writable(path)
    store = source.open(None)
    store = store.drop(source.missing_rate, config.seed, source.missing_modality)
    log.info(store.describe())
    if path.suffix in (".npz", ".npy"):
        size = 4 * len(store) * (store.mod1size + store.mod2size)
        check_room(path, size, f"output.path={path}")
    files = export(store, path, zero_based=config.output.zero_based)
    kind = {".npz": "npz", ".npy": "npy"}.get(path.suffix, "libsvm")
    settings = [f"data={kind}", *(f"data.{key}={file}" for key, file in files.items())]
    if kind == "libsvm":
        settings += [f"data.mod1size={store.mod1size}", f"data.mod2size={store.mod2size}"]
    log.info("written; to train on it: python scripts/train.py %s", " ".join(settings))
