"""Other people's frameworks; each module needs the package that it is named after."""
