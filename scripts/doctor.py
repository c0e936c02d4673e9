"""Measures rows before a training; the configuration is conf/doctor.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("doctor")
