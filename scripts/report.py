"""Draws a page on a run, or on several; the configuration is conf/report.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("report")
