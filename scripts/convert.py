"""Converts features between file formats; the configuration is conf/convert.yaml."""

from bidnn.programs.entry import hydra_program

main = hydra_program("convert")

if __name__ == "__main__":
    main()
