"""Fuzzes the libsvm reader by coverage, with libFuzzer's arguments; needs `pip install atheris`.

python fuzz/guided.py -runs=1000000 -max_len=400
"""

import sys

import atheris

with atheris.instrument_imports(include=["bidnn.data"]):
    from libsvm import check


def main() -> None:
    """Runs until the number of runs is reached, or something is found."""
    atheris.Setup(sys.argv, lambda data: check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
