"""`python -m bidnn`: the original's command line."""

import logging
import sys
from collections.abc import Sequence

from bidnn.errors import UserError
from bidnn.estimator import BiDNN
from bidnn.original.command_line import parse
from bidnn.training.callbacks.run_command import CommandFailedError

LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.INFO)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line; exits with status 1 and one line if something is wrong."""
    config = parse(arguments)
    logging.basicConfig(level=LEVELS[config.verbosity], format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(capture=True)
    try:
        BiDNN(config).load_dataset().train()
    except (UserError, OSError, CommandFailedError) as error:
        sys.stderr.write(f"bidnn: error: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
