"""Writes a trained model for others; the configuration is conf/export.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("export")
