"""Adapters to other frameworks; each module requires the package of its name."""
