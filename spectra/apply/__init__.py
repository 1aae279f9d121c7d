"""What is made of a population: projections, and merged updates."""
