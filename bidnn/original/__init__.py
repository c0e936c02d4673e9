"""What the original program's users have: its settings, command line and model files."""
