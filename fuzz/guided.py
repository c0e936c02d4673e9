"""Fuzzes the libsvm reader by coverage, with libFuzzer's arguments; needs `pip install atheris`.

python fuzz/guided.py -runs=1000000 -max_len=600 -rss_limit_mb=8000

The memory that it takes is the instrument's: fuzz/libsvm.py, over the same inputs, takes none.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["bidnn.data"]):
    from libsvm import check


def main() -> None:
    """Runs until the number of runs is reached, or something is found."""
    findings = Path(__file__).parent / "findings"
    findings.mkdir(exist_ok=True)
    sys.argv.append(f"-artifact_prefix={findings}/")
    atheris.Setup(sys.argv, lambda data: check(data) and None)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
