"""`bidnn` and `python -m bidnn`: all programs, and the original's command line."""

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import version

from bidnn.errors import CommandFailedError, UserError
from bidnn.programs.processes import program_of_this_process

PROGRAMS = {
    "train": "train on rows of two modalities, embed every row",
    "embed": "embed or complete rows with a trained model",
    "evaluate": "say what the vectors in a file are worth",
    "compare": "methods side by side, as more rows miss a modality",
    "convert": "features in another file format",
}


def main() -> None:
    """Runs what the command line names."""
    name = program_of_this_process()
    if name is None and sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        name = sys.argv.pop(1)
    if name == "evaluate":
        from bidnn.programs.evaluate import main as evaluate

        evaluate(sys.argv[1:])
    elif name is not None:
        from bidnn.programs.entry import hydra_program

        hydra_program(name)()
    elif sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"bidnn {version('bidnn')}\n")
    else:
        if sys.argv[1:] in ([], ["-h"], ["--help"]):
            lines = [f"bidnn {name + ' …':12} {does}" for name, does in PROGRAMS.items()]
            lines += ["bidnn --version", "", "Each program explains itself with --help."]
            lines += ["Anything else is the original's command line:", "", ""]
            sys.stdout.write("\n".join(lines))
            sys.stdout.flush()
        original(sys.argv[1:])


def original(arguments: Sequence[str]) -> None:
    """The original's command line; exits with status 1 and one line if something is wrong."""
    from bidnn.original.command_line import parse
    from bidnn.original.verbosity import LEVELS

    config = parse(arguments)
    logging.basicConfig(level=LEVELS[config.verbosity], format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(capture=True)
    from bidnn.estimator import BiDNN

    try:
        BiDNN(config).load_dataset().train()
    except (UserError, OSError, CommandFailedError) as error:
        sys.stderr.write(f"bidnn: error: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
