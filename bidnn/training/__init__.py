"""How a model is trained, by Lightning."""
