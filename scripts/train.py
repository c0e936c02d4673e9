"""Trains a model; the configuration is conf/train.yaml."""

from bidnn.programs.entry import hydra_program

main = hydra_program("train")

if __name__ == "__main__":
    main()
