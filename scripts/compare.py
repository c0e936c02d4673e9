"""Compares methods over missing rates and seeds; the configuration is conf/compare.yaml."""

from bidnn.programs.entry import hydra_program

main = hydra_program("compare")

if __name__ == "__main__":
    main()
