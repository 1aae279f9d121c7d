"""A population as what its members share and what each is besides."""
