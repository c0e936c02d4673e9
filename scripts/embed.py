"""Embeds or completes rows with a trained model; the configuration is conf/embed.yaml."""

from bidnn.programs.entry import hydra_program

main = hydra_program("embed")

if __name__ == "__main__":
    main()
