"""A trained model for others: a folder with a card, the Hugging Face Hub, ONNX."""
