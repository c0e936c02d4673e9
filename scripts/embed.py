"""Embeds or completes rows with a trained model; the configuration is conf/embed.yaml."""

from bidnn.programs.embed import run
from bidnn.programs.entry import hydra_program

main = hydra_program("embed")(run)

if __name__ == "__main__":
    main()
