"""The programs behind scripts/: configuration in, files out."""
