"""Compares methods over missing rates and seeds; the configuration is conf/compare.yaml."""

from bidnn.programs.compare import run
from bidnn.programs.entry import hydra_program

main = hydra_program("compare")(run)

if __name__ == "__main__":
    main()
