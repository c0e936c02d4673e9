"""What this program's speed is: one table, and the same as JSON.

python benchmarks/bench.py                  # everything
python benchmarks/bench.py step-tiny        # one row, or several by name
python benchmarks/bench.py --list           # the names
"""

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Callable
from datetime import date
from pathlib import Path

import large
import linear
import peer
import reading
import shuffle
import step
import tables
import text
import torch
from rows import HEAD, Row

BENCHES: dict[str, Callable[[], list[Row]]] = {
    "step-tiny": lambda: [step.steps("step, tiny", step.TINY, "plain", "≤ 1.1")],
    "step-tiny-fast": lambda: [step.steps("step, tiny, fast", step.TINY, "fast", "≤ 1.0, aim 0.5")],
    "step-tiny-observed": lambda: [step.observed("step, tiny, observed", step.TINY, "≤ 1.1")],
    "epoch-tiny": lambda: [step.epoch("epoch of 11 steps, besides them", "plain", "≤ 0.1")],
    "epoch-tiny-fast": lambda: [step.epoch("the same, fast", "fast", "≤ 0.1")],
    "step-paper": lambda: [step.steps("step, paper's size", step.PAPER, "plain", "≤ 1.0")],
    "step-paper-fast": lambda: [
        step.steps("step, paper's size, fast", step.PAPER, "fast", "≤ 0.75, aim 0.5")
    ],
    "libsvm": text.libsvm,
    "tables": tables.tables,
    "hdf5": tables.hdf5,
    "large-train": large.train,
    "large-embed": large.embed,
    "large-narrow": large.narrow,
    "large-sparse": large.sparse,
    "many-rows": large.many,
    "shuffle": shuffle.sorted_rows,
    "linear": linear.grow,
    "peers": lambda: peer.training() + reading.reading(),
    "matrix-rate": peer.matrix_rate,
}


def main() -> None:
    """Runs what is asked for, prints each line as it is there, and writes all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="all if none is given")
    parser.add_argument("--list", action="store_true", help="show the names")
    parser.add_argument("--json", type=Path, default=Path("runs/bench.json"), help="where to")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(BENCHES))
        return
    unknown = [name for name in arguments.names if name not in BENCHES]
    if unknown:
        parser.error(f"{', '.join(unknown)}: no such row; there are {', '.join(BENCHES)}")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, torch {torch.__version__}, {date.today()}\n{HEAD}")
    rows = []
    for name in arguments.names or BENCHES:
        try:
            found = BENCHES[name]()
        except ImportError as error:
            print(f"{name}: left out, {error}; pip install it to measure this row", flush=True)
            continue
        for row in found:
            print(row, flush=True)
            rows.append({"bench": name, **dataclasses.asdict(row), "ratio": row.ratio})
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    result = {"machine": machine, "torch": torch.__version__, "date": str(date.today())}
    arguments.json.write_text(json.dumps({**result, "rows": rows}, indent=2) + "\n")
    print(f"also in {arguments.json}")


if __name__ == "__main__":
    main()
