"""Few numbers that are trained, where a population's updates lie."""
