"""Small weights by name: a folder for each model."""
