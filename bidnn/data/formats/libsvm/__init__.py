"""libsvm text: its grammar, its reader and writer, and the cache of what was read."""
