"""Embeds or completes rows with a trained model; the configuration is conf/embed.yaml."""

from bidnn.__main__ import run

if __name__ == "__main__":
    run("embed")
