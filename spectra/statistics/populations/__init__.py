"""Two populations, each judged by the directions of the other."""
