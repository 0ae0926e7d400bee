"""Small drawn copies of the data sets, in every layout that their adapters read."""
