"""`python -m bidnn`: the original's command line."""

from bidnn.original import main

if __name__ == "__main__":
    main()
