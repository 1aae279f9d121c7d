"""Every way of merging against a twin on full matrices, and symmetries."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from spectra.apply.merging.choice import chosen
from spectra.apply.merging.methods import METHODS
from spectra.apply.merging.stacked import Stacked
from spectra.apply.merging.trimming import counted, least_kept, trimmed
from spectra.subspaces.recipes.table import Factors
from tests.apply.updates import (
    FOUR,
    METHOD,
    close,
    drawn,
    merged,
    minilm,
    needed,
    regauged,
    tuples,
)
from tests.reference.merging import TWINS, by_model, least_of

CASES = [
    ("mean", {}),
    ("weighted", {"weights": FOUR}),
    ("task-arithmetic", {}),
    ("task-arithmetic", {"lam": 0.3}),
    ("ties", {}),
    ("ties", {"density": 0.7, "lam": 0.5}),
    ("ties", {"density": 1.0}),
    ("ties", {"density": 0.4, "space": "core"}),
    ("dare", {}),
    ("dare", {"density": 0.3, "lam": 2.0, "seed": 7}),
    ("dare", {"density": 0.6, "seed": (7, 1), "space": "core"}),
    ("knots", {}),
    ("knots", {"density": 0.6, "lam": 0.5, "compare": "V"}),
    ("knots", {"density": 0.5, "space": "core"}),
    ("knots", {"density": 0.5, "compare": "V", "space": "core"}),
    ("knots", {"inner": "mean"}),
    ("tsv-m", {}),
    ("tsv-m", {"keep": 2, "lam": 0.5}),
    ("iso-c", {}),
    ("iso-c", {"lam": 0.5}),
    ("iso-cts", {}),
    ("iso-cts", {"common": 0.4, "lam": 0.5}),
    ("iso-cts", {"common": 0.0}),
    ("cart", {}),
    ("cart", {"keep": 2, "lam": 0.3}),
    ("subspace", {"k": 2}),
    ("subspace", {"k": 1, "weights": FOUR}),
]
"""Each method with its defaults and with every option that it takes."""

SHAPES = [((40, 30), (2, 4, 3, 1)), ((30, 44), (4,) * 4), ((11, 20), (4,) * 4)]
"""Mixed ranks; one rank; more directions than there are outputs."""

BOUND = [
    (name, {"space": "core"})
    for name, method in METHOD.items()
    if "space" in method.takes
]
"""Entries of the cores are those along some axes."""


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def case_id(case):
    return " ".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


@pytest.mark.parametrize(("shape", "ranks"), SHAPES)
@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_each_method_is_its_definition(rng, case, shape, ranks):
    name, options = case
    updates = drawn(rng, shape, ranks)
    close(
        merged(name, updates, **options),
        TWINS[name](tuples(updates), **options),
    )


@pytest.fixture(scope="module")
def real(populations):
    return minilm(populations, "layer.3.attention.self.value")


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_each_method_is_its_definition_on_real_adapters(real, case):
    name, options = case
    if "weights" in options:
        options = options | {"weights": np.linspace(-0.5, 2, len(real))}
    close(merged(name, real, **options), TWINS[name](tuples(real), **options))


def test_every_method_and_option_has_a_twin():
    assert list(TWINS) == [method.name for method in METHODS]
    for method in METHODS:
        options = {
            name: parameter
            for name, parameter in inspect.signature(
                method.merge
            ).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        # Where the share is counted is known to whoever sees all layers.
        if "least" in options:
            assert "trim" in method.takes
            assert method.entries is not None
        taken = set(method.takes) - {"trim"}
        assert taken == set(options) - {"least"}
        assert set(method.needs) == {
            name
            for name, parameter in options.items()
            if parameter.default is parameter.empty
        }
        tried = {key for name, case in CASES if name == method.name
                 for key in case}  # fmt: skip
        assert tried == taken
        assert method.cite
        assert method.note


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in METHOD), *BOUND]
)
def test_the_gauge_matters_where_the_axes_do(rng, name, options):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    others = [regauged(rng, update) for update in updates]
    is_bound = "space" in options
    options = options | needed(name)
    a, b = (merged(name, u, **options) for u in (updates, others))
    if is_bound:
        assert np.abs(a - b).max() > 1e-3 * np.abs(a).max()
    else:
        close(b, a, 1e-9)
    # Along the updates' own axes it never does.
    a, b = (merged(name, u, "updates", **options) for u in (updates, others))
    close(b, a, 1e-9)


@pytest.mark.parametrize("name", METHOD)
def test_axes_do_not_matter(rng, name):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    options = needed(name)
    a, b = (merged(name, updates, axes, **options)
            for axes in ("factors", "updates"))  # fmt: skip
    close(b, a)


@pytest.mark.parametrize("name", [n for n, m in METHOD.items() if m.is_linear])
def test_sums_of_stacked_factors_are_those_of_cores(rng, name):
    """More directions than the layer has on one side, on both, and fewer."""
    for shape in ((40, 30), (8, 30), (40, 8), (7, 6)):
        updates = drawn(rng, shape, (2, 4, 3, 1))
        options = needed(name)
        found = METHOD[name].merge(Stacked(updates), **options)
        close(found.lifted(), merged(name, updates, **options))
        close(found.lifted(), TWINS[name](tuples(updates), **options))


@pytest.mark.parametrize("name", METHOD)
def test_how_many_rows_are_formed_at_once_does_not_matter(
    rng, name, monkeypatch
):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    options = needed(name)
    found = []
    for nbytes in (1, 8 * 4 * 30 * 7, 2**24):
        monkeypatch.setattr("spectra.apply.merging.entries.BLOCK", nbytes)
        found.append(merged(name, updates, **options))
    close(found[0], found[2])
    close(found[1], found[2])


@pytest.mark.parametrize("space", ["dense", "core"])
@pytest.mark.parametrize("name", ["ties", "knots"])
@pytest.mark.parametrize("density", [0.05, 0.3, 1.0])
def test_trimming_over_all_layers_is_that_of_the_authors_code(
    rng, name, space, density
):
    """Whose members are one vector each; layers of unequal norms show it."""
    layers = [
        drawn(rng, shape, (2, 4, 3)) for shape in ((20, 15), (9, 30), (12, 8))
    ]
    choice = chosen(name, {"density": density, "space": space}, "abc")
    gathered = [choice.gathered(updates) for updates in layers]
    least = least_kept(
        lambda digits: sum(choice.counted(g, digits) for g in gathered),
        3, density,
    )  # fmt: skip
    wanted = by_model(
        name, [tuples(updates) for updates in layers], density, space
    )
    for g, updates, one in zip(gathered, layers, wanted, strict=True):
        close(choice.merge(g, 0, least=least).lifted(), one)
        alone = choice.merge(g, 0).lifted()
        if density < 1:
            assert np.abs(alone - one).max() > 1e-3 * np.abs(one).max()
        close(alone, TWINS[name](tuples(updates), density, space=space))


def test_equal_magnitudes_are_kept_together():
    """A quarter would be one of them."""
    stack = np.array([[3.0, -3.0, 1.0, 0.5]])[:, None]
    least = least_kept(lambda d: counted(Held(stack), d), 1, 0.25)
    assert trimmed(stack, least).tolist() == [[[3.0, -3.0, 0.0, 0.0]]]


class Held:
    """Entries that are held as they are."""

    def __init__(self, *stacks):
        self.stacks = stacks

    def __len__(self):
        return len(self.stacks[0])

    def blocks(self):
        return enumerate(self.stacks)


@given(
    st.lists(
        st.lists(st.floats(allow_nan=False), min_size=3, max_size=3),
        min_size=1,
        max_size=30,
    ),
    st.floats(0.01, 1),
    st.integers(1, 30),
)
def test_the_least_that_is_kept_is_that_of_a_sorted_list(rows, density, at):
    """Of zeros, denormals, infinities and equal magnitudes too."""
    stack = np.array(rows).T[:, None]
    parts = [part for part in np.split(stack, [at], axis=2) if part.size]
    least = least_kept(
        lambda digits: counted(Held(*parts), digits), 3, density
    )
    for one, found in zip(stack, least, strict=True):
        size, wanted = np.abs(one), least_of(one, density)
        assert_array_equal(size >= found, size >= wanted)


@pytest.mark.parametrize("axes", ["factors", "updates"])
@pytest.mark.parametrize("name", [name for name in METHOD if name != "dare"])
def test_the_order_of_the_updates_does_not_matter(rng, name, axes):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    order = [2, 0, 3, 1]
    options = needed(name)
    a = merged(name, updates, axes, **options)
    if "weights" in options:
        options["weights"] = [options["weights"][i] for i in order]
    b = merged(name, [updates[i] for i in order], axes, **options)
    close(b, a, 1e-9)


@pytest.mark.parametrize("name", METHOD)
@pytest.mark.parametrize("c", [1e-7, -1.0, 3e5])
def test_all_updates_times_c_give_c_times_the_merge(rng, name, c):
    updates = drawn(rng, (40, 30), (2, 4, 3, 1))
    scaled = [Factors(u.A, u.B, c * u.scale) for u in updates]
    options = needed(name)
    close(
        merged(name, scaled, **options) / c, merged(name, updates, **options)
    )


@pytest.mark.parametrize("name", METHOD)
def test_one_update_that_is_zero_and_all_that_are(rng, name):
    trained = drawn(rng, (12, 15), (2, 3, 1))
    idle = Factors(np.ones((2, 15)), np.zeros((12, 2)), 1.0)
    options = needed(name)
    found = merged(name, [*trained, idle], **options)
    close(found, TWINS[name](tuples([*trained, idle]), **options))
    assert not merged(name, [idle] * 4, **options).any()
    if "space" in METHOD[name].takes:
        # The axes that are published are also those of idle factors.
        options["space"] = "core"
        found = merged(name, [*trained, idle], **options)
        assert np.isfinite(found).all()
        assert not merged(name, [idle] * 4, **options).any()
