"""What `bidnn tune` searches, how its trials are shared, and what it says in the end."""
