"""Trains a model; the configuration is conf/train.yaml."""

from bidnn.programs.entry import hydra_program
from bidnn.programs.train import run

main = hydra_program("train")(run)

if __name__ == "__main__":
    main()
