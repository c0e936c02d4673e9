"""Files and arrays in, batches of modality pairs out."""
