"""The original's command line, `python -m bidnn`, flag by flag."""

import argparse
from collections.abc import Sequence

from bidnn.original.config import Config


def parse(arguments: Sequence[str] | None) -> Config:
    """Reads a command line; exits with status 2 and a usage message if it is wrong."""
    defaults = Config()
    parser = argparse.ArgumentParser(
        prog="bidnn",
        description="Trains BiDNN on a libsvm file of two modalities and writes an embedding of "
        "every row. In outfile, the model's file and the command, %e is the epoch in five "
        "digits, or 'final'. `bidnn train` offers more.",
    )
    add = parser.add_argument
    add("infile", help="libsvm file, first modality's columns first; may be gzipped")
    add("outfile", help="what is written: libsvm, or NumPy's .npz or .npy")
    add("mod1size", type=int, help="columns of the first modality")
    add("mod2size", type=int, help="columns of the second modality")
    add("hdnsize", type=int, help="units of the outer hidden layers")
    add("repsize", type=int, help="size of the embedding, even")
    add("-a", "--activation", default=defaults.act, choices=["tanh", "sigmoid", "relu", "linear"])
    add("-e", "--epochs", type=int, default=defaults.epochs, help="0 only predicts")
    add("-d", "--dropout", type=float, default=defaults.dropout, help="in [0, 1)")
    add("-b", "--batch-size", type=int, default=defaults.batch_size)
    add("-r", "--learning-rate", type=float, default=defaults.lr)
    add("-m", "--momentum", type=float, default=defaults.momentum, help="in [0, 1)")
    add("-l", "--load-model", metavar="FILE", help="model to start from (.npz of the original)")
    add("-s", "--save-model", metavar="FILE", help="where the model is written (.npz)")
    add("-c", "--crossmodal", action="store_true", help="write rows with missing modalities filled")
    add("-n", "--l2-norm", action="store_true", help="output rows of unit length")
    add("-z", "--ignore-zeroes", action="store_true", help="a zero modality is data, not missing")
    add("-u", "--untied", action="store_true", help="no shared central weights")
    add("-w", "--write-after", type=int, default=0, metavar="N", help="write every N epochs too")
    add("-x", "--exec-command", metavar="COMMAND", help="run after each writing")
    add("-v", "--verbosity", type=int, default=defaults.verbosity, choices=range(4))
    ours = parser.add_argument_group("beyond the original")
    ours.add_argument("--zero-based", action="store_true", help="written indices start at 0")
    ours.add_argument("--missing", default="duplicate", choices=["duplicate", "translate"])
    ours.add_argument("--seed", type=int, default=defaults.seed)
    given = parser.parse_args(arguments)
    return Config(
        fname_in=given.infile,
        fname_out=given.outfile,
        mod1size=given.mod1size,
        mod2size=given.mod2size,
        hdn=given.hdnsize,
        rep=given.repsize,
        act=given.activation,
        epochs=given.epochs,
        dropout=given.dropout,
        batch_size=given.batch_size,
        lr=given.learning_rate,
        momentum=given.momentum,
        load_model=given.load_model,
        save_model=given.save_model,
        crossmodal=given.crossmodal,
        l2_norm=given.l2_norm,
        ignore_zeroes=given.ignore_zeroes,
        untied=given.untied,
        write_after=given.write_after,
        exec_command=given.exec_command,
        verbosity=given.verbosity,
        zero_based=given.zero_based,
        missing=given.missing,
        seed=given.seed,
    )
