"""The vocabulary of spectra. Standard library only."""
