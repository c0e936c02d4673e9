"""The settings of the Python interface and of the original's command line."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Config:
    """The original's settings under the original's names, and a few of ours at the end.

    Attributes:
        mod1size: columns of the first modality; `fit` finds them out.
        mod2size: columns of the second modality; likewise.
        hdn: units of the outer hidden layers.
        rep: size of the embedding, even.
        lr: learning rate.
        act: tanh, sigmoid, relu or linear.
        epochs: passes over the complete rows; 0 trains nothing.
        dropout: share of the centre's units, in [0, 1).
        momentum: of Nesterov's descent, in [0, 1).
        untied: no shared central weights.
        l2_norm: each half of an output row to unit length, then the row.
        batch_size: rows of a batch.
        load_model: a model file of the original, or one of ours, to start from.
        save_model: where the model is written, `%e` being the epoch or `final`.
        write_after: epochs between writings; 0 for the end only.
        crossmodal: output the rows with missing modalities translated, not embeddings.
        exec_command: run by the shell after each writing.
        ignore_zeroes: a row of zeros is data, not a missing modality.
        verbosity: 0 errors, 1 warnings, 2 what is written, 3 a progress bar too.
        fname_in: a libsvm file.
        fname_out: what is written; `.npz` and `.npy` choose these formats.
        missing: duplicate or translate; None: duplicate for `predict` and files, as published,
            translate for `transform`.
        output_act: the output layers' activation; None for `act`.
        scaling: none, standard, unit or minmax.
        seed: of everything that is drawn.
        zero_based: indices of a written libsvm file start at 0.
    """

    mod1size: int | None = None
    mod2size: int | None = None
    hdn: int = 256
    rep: int = 128
    lr: float = 0.1
    act: str = "tanh"
    epochs: int = 1000
    dropout: float = 0.2
    momentum: float = 0.9
    untied: bool = False
    l2_norm: bool = False
    batch_size: int = 128
    load_model: str | None = None
    save_model: str | None = None
    write_after: int = 0
    crossmodal: bool = False
    exec_command: str | None = None
    ignore_zeroes: bool = False
    verbosity: int = 3
    fname_in: str | None = None
    fname_out: str | None = None
    missing: str | None = None
    output_act: str | None = None
    scaling: str = "none"
    seed: int = 0
    zero_based: bool = False


FIELDS: dict[str, str | None] = {
    "mod1size": None,
    "mod2size": None,
    "hdn": "model.hdn",
    "rep": "model.rep",
    "lr": "optimizer.lr",
    "act": "model.activation",
    "epochs": "trainer.max_epochs",
    "dropout": "model.dropout",
    "momentum": "optimizer.momentum",
    "untied": "model.tied",
    "l2_norm": "output.l2_norm",
    "batch_size": "data.batch_size",
    "load_model": "checkpoint",
    "save_model": None,
    "write_after": "output.every_n_epochs",
    "crossmodal": "output.kind",
    "exec_command": "output.command",
    "ignore_zeroes": None,
    "verbosity": None,
    "fname_in": None,
    "fname_out": "output.path",
    "missing": "embedding.missing",
    "output_act": "model.output_activation",
    "scaling": "scaling",
    "seed": "seed",
    "zero_based": "output.zero_based",
}
"""The setting or group of `bidnn train` that a field stands for; None: of the interface itself."""
