"""Several updates of one layer made into one, from their factors."""
