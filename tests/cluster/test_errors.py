"""What goes wrong on a worker is the same error where it is told."""

import pickle

import pytest

from spectra.core import errors
from spectra.hub.failures import HubError
from spectra.subspaces.products import TooFewMembersError

MADE = [
    errors.UsageError("E_BASE", "there is none", advice="name one"),
    errors.IncompleteError("E_NETWORK", "it broke off"),
    errors.StorageError("E_DISK_FULL", "run.h5", "no space"),
    errors.LockedError("run.h5", "process 1"),
    errors.AuthError("it is refused", advice="log in"),
    errors.IntegrityError("run.h5", "is not whole", advice="again"),
    errors.BudgetError("layer h.0", needs=2**30, allowed=2**20),
    errors.Quarantine("ST_OFFSETS", "they overlap"),
    HubError("E_NETWORK", "it is not there"),
]


def kinds(cls=errors.SpectraError):
    for each in cls.__subclasses__():
        yield from (each, *kinds(each))


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_in_another_process(error):
    error.add_note("kept 3 layers")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert type(again) is type(error)
    assert (str(again), again.args) == (str(error), error.args)
    assert vars(again) == vars(error)
    assert again.__notes__ == ["kept 3 layers"]
    assert again.exit_code == error.exit_code


def test_every_kind_is_tried():
    """But for one that does not leave the layer that it ends."""
    ours = {each for each in kinds() if each.__module__.startswith("spectra")}
    assert ours - {type(error) for error in MADE} <= {TooFewMembersError}
