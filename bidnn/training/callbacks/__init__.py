"""What happens beside the training: one callback per file."""
