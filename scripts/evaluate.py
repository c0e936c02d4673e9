"""Says what the vectors in a file are worth; `--help` lists the measures."""

from bidnn.programs.evaluate import main

if __name__ == "__main__":
    main()
