"""Compares methods over missing rates and seeds; the configuration is conf/compare.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("compare")
