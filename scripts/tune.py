"""Searches for the best settings of a training; the configuration is conf/tune.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("tune")
