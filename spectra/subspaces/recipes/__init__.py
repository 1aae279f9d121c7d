"""The recipes of the paper's released code, each beside its chance."""
