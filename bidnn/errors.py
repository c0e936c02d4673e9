"""The error that is the user's to mend: every program answers it in one line."""


class UserError(ValueError):
    """Something given is not as it must be; the message names it, its place, and the way out."""
