"""A model as ONNX graphs, each with the scaling inside, and checked against the model itself."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bidnn.data.store import PairStore
from bidnn.errors import UserError
from bidnn.files import whole_folder
from bidnn.model.about import about
from bidnn.model.inference import OutputKind, unit_rows
from bidnn.model.model import Model
from bidnn.model.pretrained import check_new
from bidnn.network import Network

OPSET = 18
TOLERANCE = 1e-5
"""How far a graph may be from the model, as a share of the largest value that the model gives."""
ROWS = 256
"""Rows at most that graphs are compared on, each of them complete, with one modality, and empty."""
LARGEST = 2**31 - 2**20
"""Bytes of a graph's weights: a file of ONNX, as a message of protobuf, holds 2 GiB."""
Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Graph:
    """One of the files.

    Attributes:
        inputs: their names.
        output: its name.
        says: what it gives, for its metadata.
        compute: the output from a model and the inputs.
    """

    inputs: tuple[str, ...]
    output: str
    says: str
    compute: Callable[..., Tensor]


class _Computing(nn.Module):
    """A graph's computation as a module, which is what an exporter takes."""

    def __init__(self, model: Model, graph: Graph) -> None:
        super().__init__()
        self.model, self.graph = model, graph

    def forward(self, *values: Tensor) -> Tensor:
        return self.graph.compute(self.model, *values)


def _encode_first(model: Model, first: Tensor) -> Tensor:
    return _centre(model, first, first.new_zeros(first.shape[0], model.mod2size), 0)


def _encode_second(model: Model, second: Tensor) -> Tensor:
    return _centre(model, second.new_zeros(second.shape[0], model.mod1size), second, 1)


def _centre(model: Model, first: Tensor, second: Tensor, side: int) -> Tensor:
    """The centre of a modality; of an autoencoder, that of rows that miss the other one."""
    scaled = model.scale(first, second)
    if isinstance(model.network, Network):
        return model.network.encode(**{("first", "second")[side]: scaled[side]}).float()
    present = torch.tensor([side == 0, side == 1]).expand(first.shape[0], 2)
    return model.network.centres(*scaled, present).float()


def _first_to_second(model: Model, first: Tensor) -> Tensor:
    kind = next(model.network.parameters()).dtype
    scaled = model.first_scaler(first).to(kind)
    return model.second_scaler.inverse(model.translate(first=scaled)).float()


def _second_to_first(model: Model, second: Tensor) -> Tensor:
    kind = next(model.network.parameters()).dtype
    scaled = model.second_scaler(second).to(kind)
    return model.first_scaler.inverse(model.translate(second=scaled)).float()


def _embed(model: Model, first: Tensor, second: Tensor, present: Tensor) -> Tensor:
    """As `BiDNN.transform`; what stands in a row that misses a modality, NaN too, is not read."""
    zero = first.new_zeros(())
    first, second = (
        torch.where(present[:, :1], first, zero),
        torch.where(present[:, 1:], second, zero),
    )
    vectors = model.embed(first, second, present).float()
    if not model.l2_norm:
        return vectors
    return torch.cat(unit_rows(*torch.split(vectors, list(model.halves), dim=1)), dim=1)


GRAPHS = {
    "encode_first": Graph(("first",), "centre", "the centre of first", _encode_first),
    "encode_second": Graph(("second",), "centre", "the centre of second", _encode_second),
    "translate_first_to_second": Graph(
        ("first",), "second", "second, in the units of its data, from first", _first_to_second
    ),
    "translate_second_to_first": Graph(
        ("second",), "first", "first, in the units of its data, from second", _second_to_first
    ),
    "embed": Graph(
        ("first", "second", "present"),
        "embedding",
        "the vector of each row, as BiDNN.transform gives it; what is not present is not read, and "
        "rows of which nothing is present are zero",
        _embed,
    ),
}


def export_onnx(model: Model, folder: Path, store: PairStore | None = None) -> dict[str, float]:
    """Writes all graphs of a model, once they were found to be it, or nothing.

    Args:
        model: trained.
        folder: for `encode_first.onnx` and so on, see `GRAPHS`; must not be there, or be empty.
        store: rows to compare on; None: made ones, spread as those were that it was trained on.

    Returns:
        The largest difference of each graph, as a share of the largest value that the model gives.

    Raises:
        UserError: if there is something already, a package is not installed, the model has a part
            that ONNX has not, or a graph is not the model.
        OSError: if it cannot be written.
    """
    _check_packages()
    check_new(folder, "onnx")
    size = sum(values.nbytes for values in model.state_dict().values())
    if size > LARGEST:
        raise UserError(
            f"onnx={folder}: the model's weights are {size / 1e9:.3g} GB, and a file of ONNX holds "
            "2 GB; use pretrained=FOLDER"
        )
    model = model.cpu().eval()
    rows = made_rows(model) if store is None else rows_of(store)
    found = {}
    with whole_folder(folder) as part:
        for name, graph in GRAPHS.items():
            path = part / f"{name}.onnx"
            write_graph(model, name, path)
            found[name] = difference(model, graph, path, rows)
            if found[name] > TOLERANCE:
                raise UserError(
                    f"{folder / path.name}: differs from the model by {found[name]:.2g} of its "
                    f"largest value, more than {TOLERANCE:g}; nothing is written"
                )
    return found


def write_graph(model: Model, name: str, path: Path) -> None:
    """Writes one graph.

    Raises:
        UserError: if the model has a part that ONNX has not.
        OSError: if it cannot be written.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    graph = GRAPHS[name]
    sizes = {"first": model.mod1size, "second": model.mod2size, "present": 2}
    examples = tuple(
        torch.ones(3, sizes[each], dtype=torch.bool if each == "present" else torch.float32)
        for each in graph.inputs
    )
    rows = torch.export.Dim("rows")
    with _quiet():
        try:
            program = torch.onnx.export(
                _Computing(model, graph).eval(),
                examples,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(graph.inputs),
                output_names=[graph.output],
                dynamic_shapes={"values": tuple({0: rows} for _ in examples)},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause = error.__cause__ or error
            reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
            raise UserError(
                f"{name}.onnx: the model has a part that ONNX has not ({reason:.200})"
            ) from error
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # lines and paths of this machine's files
    told = about(model, OutputKind.embedding, l2_norm=model.l2_norm)
    program.model.metadata_props.update(told | {"bidnn.graph": name})
    program.model.doc_string = f"{name}: {graph.says}"
    program.save(path, external_data=False)


def difference(model: Model, graph: Graph, path: Path, rows: Arrays) -> float:
    """How far a file is from the model, as a share of the model's largest value.

    Args:
        model: that it is of.
        graph: that is in it.
        path: the file.
        rows: `first`, `second` and `present`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    worst, largest = 0.0, 0.0
    for given in _batches({name: rows[name] for name in graph.inputs}):
        with torch.no_grad():
            own = graph.compute(model, *(torch.from_numpy(part) for part in given.values())).numpy()
        try:
            (found,) = session.run([graph.output], dict(given))
        except Exception as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{path.name}: onnxruntime cannot run it ({reason:.300})") from error
        if found.shape != own.shape or not np.isfinite(found).all():
            return float("inf")
        worst = max(worst, float(np.abs(found - own).max(initial=0.0)))
        largest = max(largest, float(np.abs(own).max(initial=0.0)))
    return worst / largest if largest else worst


def rows_of(store: PairStore) -> dict[str, NDArray[Any]]:
    """Some rows of a store, spread evenly, with what they have and with less."""
    numbers = np.arange(0, len(store), max(1, -(-len(store) // ROWS)))
    return _with_less(*store.take(numbers), store.present[numbers])


def made_rows(model: Model) -> dict[str, NDArray[Any]]:
    """Rows in the units of the training data: what the scaling makes of normal numbers."""
    generator = torch.Generator().manual_seed(0)
    scalers = (model.first_scaler, model.second_scaler)
    first, second = (
        scaler.inverse(torch.randn(ROWS, len(scaler.shift), generator=generator)).float().numpy()
        for scaler in scalers
    )
    return _with_less(first, second, np.ones((ROWS, 2), bool))


def _with_less(
    first: NDArray[Any], second: NDArray[Any], present: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """The same rows four times: as they are, with the first only, the second only, and neither."""
    shown = np.repeat([[True, True], [True, False], [False, True], [False, False]], len(first), 0)
    whole = {"first": first, "second": second, "present": present}
    four = {name: np.concatenate([values] * 4) for name, values in whole.items()}
    return {**four, "present": four["present"] & shown}


def _batches(rows: Arrays) -> Iterator[dict[str, NDArray[Any]]]:
    """None of the rows, one, and all of them."""
    for count in (0, 1, None):
        yield {name: np.ascontiguousarray(values[:count]) for name, values in rows.items()}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps back what torch's exporter says of itself, and of packages that it can do without."""
    logs = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [log.level for log in logs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


def _check_packages() -> None:
    from importlib.util import find_spec

    lacks = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if lacks:
        raise UserError(
            f"ONNX is written and checked by {', '.join(lacks)}, not installed; pip install "
            "'bidnn[onnx]'"
        )
