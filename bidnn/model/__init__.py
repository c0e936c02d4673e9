"""What is trained and kept: the model, how rows are scaled and embedded by it, and its files."""
