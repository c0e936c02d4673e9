"""Malformed inputs made of well-formed ones, and the loop that tries them."""

import argparse
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FINDINGS = Path(__file__).parent / "findings"


def mutate(data: bytes, tokens: Sequence[bytes], draw: random.Random) -> bytes:
    """Some of: tokens put in, parts cut out or doubled, bytes and bits changed, the end cut off."""
    for _ in range(draw.randint(1, 4)):
        start = draw.randrange(len(data) + 1)
        end = min(len(data), start + draw.choice((0, 1, 2, 8, 64)))
        part, token = data[start:end], draw.choice(tokens)
        match draw.choices(range(5), (9, 3, 3, 2, 3))[0]:
            case 0:
                part = token + part * draw.randint(0, 1)
            case 1:
                part = b""
            case 2:
                part += part
            case 3:
                part = draw.randbytes(len(part))
            case 4:
                part = bytes(value ^ (1 << draw.randrange(8)) for value in part)
        data = data[:start] + part + (data[end:] if draw.random() < 0.97 else b"")
    return data


def run(
    check: Callable[[bytes], bool], seeds: Sequence[bytes], tokens: Sequence[bytes], count: int
) -> None:
    """Tries that many inputs, or replays one; exits with status 1 at the first finding.

    Args:
        check: whether an input was accepted; raises if something is not as it must be.
        seeds: well-formed inputs.
        tokens: what malformed ones are made of besides.
        count: inputs, unless the command line says otherwise.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--replay", type=Path, help="a file of fuzz/findings")
    arguments = parser.parse_args()
    if arguments.replay:
        print("accepted" if check(arguments.replay.read_bytes()) else "refused")
        return
    draw, started, accepted = random.Random(arguments.seed), time.monotonic(), 0
    for number in range(arguments.count):
        data = mutate(draw.choice(seeds), tokens, draw)
        try:
            accepted += check(data)
        except BaseException as error:
            FINDINGS.mkdir(exist_ok=True)
            found = FINDINGS / f"{Path(sys.argv[0]).stem}-{arguments.seed}-{number}"
            found.write_bytes(data)
            print(f"input {number}: {error!r}; --replay {found} repeats it")
            raise
    seconds = time.monotonic() - started
    print(
        f"{arguments.count} inputs, {accepted} accepted, {arguments.count - accepted} refused, "
        f"no finding, {seconds:.0f} s"
    )
