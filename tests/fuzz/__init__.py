"""Readers of foreign bytes, held against mutants without end.

A `~tests.fuzz.campaign.Target` makes a mutant from a random generator and
checks what a reader says of it; any exception of the check is a finding.
``make fuzz`` goes on until it finds one, the tests make a fixed number.
"""
