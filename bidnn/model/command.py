"""The user's command, and how the file that was just written is handed to it.

`{output}` becomes the environment variable BIDNN_OUTPUT in quotes, whose value the shell never
reads as a part of the command, whatever the file's name is.
"""

import re

from bidnn.errors import UserError

PLACE, VARIABLE = "{output}", "BIDNN_OUTPUT"
# Where it would be no argument by itself: in quotes, after a backslash, in a comment, and in a
# here-document or arithmetic, of which the end is not looked for.
_ODD = re.compile(
    r"""'[^']*'? | "(?:\\.|[^"\\])*"? | `(?:\\.|[^`\\])*`? | \\.?
    | (?:^|(?<=[\s;&|()]))\#[^\n]* | (?:<<|\$\(\().*""",
    re.VERBOSE | re.DOTALL,
)


def check_command(command: str) -> None:
    """Refuses `{output}` in quotes of the user's own.

    Raises:
        UserError: with the way out.
    """
    if _ODD.sub(" ", command).count(PLACE) < command.count(PLACE):
        raise UserError(
            f"output.command: {PLACE} is in quotes, a comment, or after << or $((; it is one "
            f'argument by itself, so write it without quotes, or use "${VARIABLE}" there'
        )


def fill_command(command: str) -> str:
    """The command with the variable in the place of the file."""
    return command.replace(PLACE, f'"${VARIABLE}"')
