"""Adapters to other frameworks and tools; each module requires the package that it is named after."""
