"""Amounts of memory: read, measured, and refused before they are taken."""

import numpy as np
import pytest

from spectra.backend.memory import Budget, parse_bytes, resident_bytes
from spectra.core.errors import BudgetError, UsageError


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("4GiB", 4 * 2**30),
        ("4gib", 4 * 2**30),
        ("1.5 MiB", 3 * 2**19),
        ("800MB", 800 * 10**6),
        ("2000", 2000),
        ("1k", 1000),
    ],
)
def test_amounts(text, nbytes):
    assert parse_bytes(text) == nbytes


@pytest.mark.parametrize("text", ["", "four", "4 GiBs", "-1", "1e9", "4PiB"])
def test_other_text_is_refused(text):
    with pytest.raises(UsageError, match="not an amount of memory"):
        parse_bytes(text)


def test_resident_memory_grows_with_what_is_touched():
    before = resident_bytes()
    block = np.ones(2**23)
    assert resident_bytes() - before > 0.9 * block.nbytes


def test_a_worker_gets_its_share_of_what_is_left():
    limit = resident_bytes() * 4 + 2**30
    one = Budget.of_process(limit, workers=1).nbytes
    two = Budget.of_process(limit, workers=2).nbytes
    assert 0 < one < limit
    assert abs(two - one / 2) < 0.05 * one


def test_what_does_not_fit_is_refused_with_both_numbers():
    budget = Budget(3 * 2**20)
    budget.require("a step", 3 * 2**20)
    with pytest.raises(BudgetError, match="needs 5 MiB but 3 MiB") as caught:
        budget.require("a step", 5 * 2**20)
    assert caught.value.exit_code == 8
    assert Budget.of_process(1, workers=1).nbytes == 0
