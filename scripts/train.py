"""Trains a model; the configuration is conf/train.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("train")
