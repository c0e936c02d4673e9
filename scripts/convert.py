"""Converts features between file formats; the configuration is conf/convert.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("convert")
