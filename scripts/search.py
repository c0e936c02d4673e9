"""Finds the nearest rows of an embedding; the configuration is conf/search.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("search")
