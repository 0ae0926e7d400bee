"""Adapters of published data sets, one file each."""
