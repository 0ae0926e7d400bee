"""What can be said of a drawn scene, and the tokenizer of those words."""
