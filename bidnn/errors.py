"""The errors that a program answers in one line: what is the user's to fix, and a stop."""

import signal


def counted(number: int, what: str, many: str = "") -> str:
    """A number and what it is of, for messages: `1 row`, `2 rows`, `0 queries`.

    Args:
        number: how many.
        what: in the singular.
        many: in the plural; with an s if it is not given.
    """
    return f"{number} {what if number == 1 else many or f'{what}s'}"


class UserError(ValueError):
    """Something given is not as it must be; the message names it, its place, and the way out."""


class CommandFailedError(RuntimeError):
    """The command failed, and `on_failure` is `stop`."""


class StoppedError(BaseException):
    """The training was told to stop by a signal; nothing but the end of the program may catch it.

    Attributes:
        signal: which one.
    """

    def __init__(self, number: int, kept: str) -> None:
        """Says what was kept.

        Args:
            number: of the signal.
            kept: which checkpoint there is.
        """
        super().__init__(f"stopped by {signal.Signals(number).name}; {kept}")
        self.signal = number
