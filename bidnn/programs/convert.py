"""scripts/convert.py: features from one file format to another."""

import logging
from pathlib import Path

from bidnn.data.export import export, files_written
from bidnn.data.formats.written import format_of
from bidnn.files import check_not_read, check_room, check_writable
from bidnn.programs.config import ConvertConfig
from bidnn.programs.quoting import typed_setting
from bidnn.programs.rows import check_trains_nothing, files_of, open_rows, source_of
from bidnn.programs.sweeps import claim_output

log = logging.getLogger(__name__)


def run(config: ConvertConfig) -> None:
    """Reads rows and writes them, a block at a time.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    source, path = source_of(config.data), Path(config.output.path)
    check_trains_nothing(source)
    form = format_of(path)
    for name in files_written(path):
        check_not_read(name, files_of(source), "output.path")
    check_writable(path)
    claim_output(path)
    store = open_rows(source, config.seed)
    log.info(store.describe())
    if form.keeps_zeros:
        room = form.room(store, (store.mod1size, store.mod2size), joined=False)
        check_room(path, room, f"output.path={path}")
    files = export(store, path, zero_based=config.output.zero_based)
    settings = [
        f"data={form.source}",
        *(typed_setting(f"data.{key}", str(file)) for key, file in files.items()),
    ]
    if form.source == "libsvm":
        settings += [f"data.mod1size={store.mod1size}", f"data.mod2size={store.mod2size}"]
    log.info("written; to train on it: bidnn train %s", " ".join(settings))
