"""Members as vectors: spectra, held-out tests, effect, stability."""
