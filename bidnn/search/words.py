"""Numbers in messages."""


def counted(number: int, one: str, many: str = "") -> str:
    """So many things, in words.

    Args:
        number: how many.
        one: what one of them is called.
        many: what several are called; one with s, if it is not given.
    """
    return f"{number} {one if number == 1 else many or f'{one}s'}"
