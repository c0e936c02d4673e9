"""Says what the vectors in a file are worth; `--help` lists the measures."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("evaluate")
