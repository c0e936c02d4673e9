"""`bidnn` and `python -m bidnn`: all programs, and the original's command line."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path

from bidnn.errors import CommandFailedError, UserError
from bidnn.programs import stopping
from bidnn.programs.processes import program_of_this_process
from bidnn.training.signals import take

PROGRAMS = {
    "doctor": "measure rows before a training, and say which settings they need",
    "train": "train on rows of two modalities, embed every row",
    "embed": "embed or complete rows with a trained model",
    "evaluate": "say what the vectors in a file are worth",
    "compare": "methods side by side, as more rows miss a modality",
    "tune": "search for the best settings of a training",
    "convert": "features in another file format",
    "index": "make an embedding searchable",
    "search": "find the nearest rows of an embedding",
    "report": "a page on what a run has learned, or on several",
    "export": "a trained model for others: a folder to share, ONNX graphs",
}


def run(name: str) -> None:
    """Runs one of the programs on the arguments that are left."""
    program: Callable[[], None]
    if program_of_this_process() is not None:
        take(stopping.note)  # see `programs.entry`
    with _importing():
        if name == "evaluate":
            from bidnn.programs.evaluate import main as program
        else:
            from bidnn.programs.entry import hydra_program

            program = hydra_program(name)
    try:
        program()
    except KeyboardInterrupt:
        _interrupted()


def main() -> None:
    """Runs what the command line names."""
    name = program_of_this_process()
    if name is None and sys.argv[1:2] and sys.argv[1] in PROGRAMS:
        name = sys.argv.pop(1)
    if name is not None:
        run(name)
    elif sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"bidnn {version('bidnn')}\n")
    elif (near := meant(sys.argv[1:])) is not None:
        sys.stderr.write(f"bidnn: error: {sys.argv[1]}: no such program; did you mean {near}?\n")
        sys.exit(2)
    else:
        if sys.argv[1:] in ([], ["-h"], ["--help"]):
            lines = [f"bidnn {name + ' …':12} {does}" for name, does in PROGRAMS.items()]
            lines += ["bidnn --version", "", "Each program explains itself with --help."]
            lines += ["Anything else is the original's command line:", "", ""]
            sys.stdout.write("\n".join(lines))
            sys.stdout.flush()
        original(sys.argv[1:])


def meant(arguments: Sequence[str]) -> str | None:
    """The program whose name is nearly the first word, if that is no file of the original's."""
    word = arguments[0] if arguments else ""
    if not word.isalpha() or Path(word).exists():
        return None
    return next(iter(get_close_matches(word, PROGRAMS, n=1)), None)


def original(arguments: Sequence[str]) -> None:
    """The original's command line; exits with status 1 and one line if something is wrong."""
    from bidnn.original.command_line import parse
    from bidnn.original.verbosity import LEVELS

    config = parse(arguments)
    logging.basicConfig(level=LEVELS[config.verbosity], format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(capture=True)
    with _importing():
        from bidnn.estimator import BiDNN
        from bidnn.programs.streams import outlive_streams

    outlive_streams()
    try:
        BiDNN(config).load_dataset().train()
    except (UserError, OSError, CommandFailedError) as error:
        sys.stderr.write(f"bidnn: error: {error}\n")
        sys.exit(1)


@contextmanager
def _importing() -> Iterator[None]:
    """Ctrl-C ends the process while it imports, for seconds: libraries catch what it raises."""
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, _interrupted)
    yield
    if ours:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _interrupted(*_: object) -> None:
    """A line in place of a traceback."""
    sys.stderr.write("interrupted\n")
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":
    main()
