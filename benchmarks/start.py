"""How long programs take to start, as multiples of `import torch`.

python benchmarks/start.py --times 5 "bidnn train --help"
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from statistics import median

BASE = "import torch"
STARTS = {
    BASE: ["-c", "import torch"],
    "import bidnn": ["-c", "import bidnn"],
    "from bidnn import load": ["-c", "from bidnn import load"],
    "from bidnn import BiDNN": ["-c", "from bidnn import BiDNN"],
    "bidnn --version": ["-m", "bidnn", "--version"],
    "bidnn train --help": ["-m", "bidnn", "train", "--help"],
    "bidnn train --help model.hdn": ["-m", "bidnn", "train", "--help", "model.hdn"],
    "bidnn embed --help": ["-m", "bidnn", "embed", "--help"],
    "bidnn evaluate --help": ["-m", "bidnn", "evaluate", "--help"],
}


def measure(arguments: list[str]) -> tuple[float, float]:
    """Seconds of processor and of wall clock that one start takes."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return processor, ended - started


def main() -> None:
    """Prints the table; the starts take turns, so that other work on the machine hits all alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="starts to measure; else all")
    parser.add_argument("--times", type=int, default=5)
    told = parser.parse_args()
    if unknown := set(told.names) - set(STARTS):
        parser.error(f"no start is called {unknown.pop()!r}; there are: {', '.join(STARTS)}")
    times, names = told.times, dict.fromkeys([BASE, *(told.names or STARTS)])
    rounds = [{name: measure(STARTS[name]) for name in names} for _ in range(times)]
    medians = {
        name: [median(one[name][kind] for one in rounds) for kind in (0, 1)] for name in names
    }
    base = medians[BASE]
    print(f"{'median of ' + str(times):32} processor s  ratio   wall s  ratio")
    for name, (processor, wall) in medians.items():
        ratios = processor / base[0], wall / base[1]
        print(f"{name:32} {processor:11.2f} {ratios[0]:6.2f} {wall:8.2f} {ratios[1]:6.2f}")


if __name__ == "__main__":
    main()
