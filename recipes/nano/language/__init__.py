"""Instructions for drawn scenes, and their tokenizer."""
