"""Data sets of samples, independent of tokenizer and model."""
