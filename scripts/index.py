"""Makes an embedding searchable; the configuration is conf/index.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("index")
