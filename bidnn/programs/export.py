"""`bidnn export`: a trained model as a folder to share, and as ONNX graphs."""

import logging
from pathlib import Path

from bidnn.data.store import PairStore
from bidnn.model.inference import check_sizes
from bidnn.model.model import Model
from bidnn.model.pretrained import check_new
from bidnn.model.saved import load_bundle
from bidnn.programs.export_config import ModelExportConfig
from bidnn.programs.rows import check_trains_nothing, open_rows, source_of
from bidnn.programs.sweeps import claim_output
from bidnn.publishing.hub import save_folder

log = logging.getLogger(__name__)


def run(config: ModelExportConfig) -> None:
    """Reads the model, and writes what is asked for.

    Raises:
        ValueError, OSError: naming what is wrong and the way out.
    """
    for key in ("pretrained", "onnx"):
        if (place := getattr(config, key)) is not None:
            check_new(Path(place), key)
            claim_output(Path(place))
    path = Path(config.checkpoint)
    model = load_bundle(path)
    store = None if config.data is None else _rows(config, model)
    if config.pretrained is not None:
        # A card that says nothing leaves what the folder's own says, if the model is of one.
        save_folder(Path(config.pretrained), model, path.absolute(), config.card.plain() or None)
        log.info("%s: written; to load it: bidnn.load(%r)", config.pretrained, config.pretrained)
    if config.onnx is not None:
        from bidnn.publishing.onnx import OPSET, export_onnx  # so late: it is the rarer wish

        found = export_onnx(model, Path(config.onnx), store)
        for name, worst in found.items():
            log.info("%s/%s.onnx: differs from the model by %.1e", config.onnx, name, worst)
        log.info(
            "opset %d; the largest difference by onnxruntime, as a share of the model's largest "
            "value, on %s",
            OPSET,
            "made rows" if store is None else f"rows of {store.name}",
        )


def _rows(config: ModelExportConfig, model: Model) -> PairStore:
    source = source_of(config.data)
    check_trains_nothing(source)
    store = open_rows(source, config.seed, (model.mod1size, model.mod2size), model.reading)
    check_sizes(model, store)
    return store
