"""Populations that share nothing, drawn from small matrices."""
