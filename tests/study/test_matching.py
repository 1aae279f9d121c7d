"""Networks on disk, from headers to what is said of them."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from safetensors.numpy import save_file

import spectra
from spectra.align.permutation import permuted
from spectra.core.errors import UsageError
from spectra.study.networks import read_networks
from tests.align.test_calibrated import copies, unrelated
from tests.checkpoints import adapters, stored, write_dense

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "match.md").read_text("utf-8")
WIDTHS = (4, 12, 8, 2)


def tensors_of(network, prefix="net."):
    """Return the tensors of a network whose last column is the bias."""
    return {
        f"{prefix}{2 * place}.{part}": values
        for place, W in enumerate(network)
        for part, values in (("weight", W[:, :-1]), ("bias", W[:, -1]))
    }


def write(folder, networks, dtype="F64", prefix="net."):
    for name, network in networks.items():
        write_dense(folder / name, tensors_of(network, prefix), dtype)
    return folder


def match(*sources, **settings):
    return spectra.match(spectra.scan(*sources), **settings)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Five noisy copies of one network, their units in other orders."""
    folder = tmp_path_factory.mktemp("noisy")
    return write(folder / "p", copies(0, 5, WIDTHS, 0.1))


@pytest.fixture(scope="module")
def found(noisy):
    return match(noisy)


@pytest.mark.parametrize("dtype", ["F64", "F32", "BF16"])
def test_a_permuted_twin_on_disk_is_the_same_network(tmp_path, dtype):
    networks = copies(1, 3, WIDTHS, 0.0)
    document = match(write(tmp_path / "p", networks, dtype)).document
    reference, *others = document["members"]
    assert reference["moved"] == 0
    for member in others:
        assert member["aligned"] == pytest.approx(1.0, abs=1e-12)
        assert member["unaligned"] < 0.7
        assert member["moved"] > 0.5
    for layer in document["layers"]:
        assert layer["cosine"]["aligned"] == pytest.approx(1.0, abs=1e-12)
    assert document["n_others"] == 2


def test_what_copies_share_is_found(found):
    row = found.document["network"]["cosine"]
    assert row["unaligned"] < 0.5
    assert row["aligned"] > 0.85
    assert {null["p"] for null in row["null"].values()} == {1 / 21}
    assert "more alike, unit by unit" in found.text


def test_what_unrelated_networks_share_is_chance(tmp_path):
    folder = write(tmp_path / "p", unrelated(3, 5, (4, 12, 8, 2)))
    row = match(folder).document["network"]["cosine_to_reference"]
    assert row["aligned"] > row["unaligned"] + 0.1
    for null in row["null"].values():
        assert null["p"] > 0.05
        assert abs(null["mean"] - row["aligned"]) < 0.1


def test_the_order_of_members_does_not_matter(noisy, found):
    members = sorted(noisy.iterdir(), reverse=True)
    assert match(*members).to_json() == found.to_json()
    assert match(noisy, seed=1).to_json() != found.to_json()


def test_weights_and_biases_are_read_as_they_are_stored(tmp_path):
    networks = unrelated(0, 2, WIDTHS)
    folder = write(tmp_path / "p", networks, "F32")
    read = read_networks(spectra.scan(folder).value)
    assert [model.id for model in read.models] == ["m0", "m1"]
    (members,) = read.weights
    for network, member in zip(networks.values(), members, strict=True):
        for W, X in zip(network, member, strict=True):
            assert_allclose(X, stored(W, "F32"), rtol=0)


def test_kernels_stored_inputs_first_are_turned(tmp_path):
    networks = copies(0, 2, (4, 12, 8, 1), 0.0)
    for name, network in networks.items():
        tensors = {
            f"dense_{place}.{part}": values
            for place, W in enumerate(network)
            for part, values in (("kernel", W[:, :-1].T), ("bias", W[:, -1]))
        }
        write_dense(tmp_path / "p" / name, tensors)
    document = match(tmp_path / "p").document
    assert [layer["shape"] for layer in document["layers"]] == [
        [12, 4], [8, 12], [1, 8],
    ]  # fmt: skip
    row = document["network"]["cosine_to_reference"]
    assert row["aligned"] == pytest.approx(1, abs=1e-12)


def test_a_wrapper_in_names_does_not_part_networks(tmp_path):
    networks = copies(0, 2, WIDTHS, 0.0)
    write(tmp_path / "p", {"m0": networks["m0"]})
    write(tmp_path / "p", {"m1": networks["m1"]}, prefix="module.net.")
    (chain,) = match(tmp_path / "p").document["chains"]
    assert chain == ["net.0", "net.2", "net.4"]


def test_relatives_count_once_and_copies_not_at_all(tmp_path):
    """A fine-tune is aligned and shown, and is no second witness."""
    networks = unrelated(0, 3, WIDTHS)
    rng = np.random.default_rng(1)
    networks["m1-tuned"] = [
        W + 0.01 * rng.standard_normal(W.shape) for W in networks["m1"]
    ]
    alone = match(write(tmp_path / "alone", unrelated(0, 3, WIDTHS)))
    folder = write(tmp_path / "p", networks)
    shutil.copytree(folder / "m2", folder / "m2-copy")
    document = match(folder).document
    assert document["n_others"] == 2
    groups = {m["id"]: m["group"] for m in document["members"]}
    assert groups == {"m0": 0, "m1": 1, "m1-tuned": 1, "m2": 2}
    assert document["network"] == alone.document["network"]
    assert document["left_out"] == [
        {"id": "m2-copy", "reason": "is a copy of m2"}
    ]


def test_relatives_alone_are_nothing_to_compare(tmp_path):
    (network,) = unrelated(0, 1, WIDTHS).values()
    near = [1.01 * W + 1e-3 for W in network]
    write(tmp_path / "p", {"a": network, "b": near})
    with pytest.raises(UsageError, match="descend from one another") as raised:
        match(tmp_path / "p")
    assert raised.value.code == "E_NOTHING_TO_COMPARE"


def test_the_lone_and_the_broken_are_told(noisy, tmp_path):
    folder = tmp_path / "p"
    shutil.copytree(noisy, folder)
    write(folder, {"wider": unrelated(0, 1, (4, 13, 2))["m0"]})
    broken = [W.copy() for W in unrelated(1, 1, WIDTHS)["m0"]]
    broken[1][0, -1] = np.nan
    write(folder, {"broken": broken})
    document = match(folder).document
    assert document["left_out"] == [
        {"id": "wider", "reason": "has other chains of layers than most"}
    ]
    (entry,) = document["quarantine"]
    assert (entry["id"], entry["code"]) == ("broken", "NONFINITE")
    assert "net.2.bias" in entry["detail"]
    assert [m["id"] for m in document["members"]] == [
        f"m{i}" for i in range(5)
    ]


def test_one_of_several_networks_in_a_checkpoint(tmp_path):
    left, right = copies(0, 3, WIDTHS, 0.1), unrelated(1, 3, (5, 9, 3))
    for name in left:
        tensors = tensors_of(left[name], "left.")
        tensors |= tensors_of(right[name], "right.")
        write_dense(tmp_path / "p" / name, tensors)
    both = match(tmp_path / "p").document
    one = match(tmp_path / "p", layers=["left.2*"]).document
    assert len(both["layers"]) == 5
    assert [layer["name"] for layer in one["layers"]] == [
        "left.0", "left.2", "left.4",
    ]  # fmt: skip
    assert one["layers"] == both["layers"][:3]
    assert one["network"] != both["network"]
    with pytest.raises(UsageError, match=r"they are left\.0, left\.2"):
        match(tmp_path / "p", layers=["middle*"])


def attention(name):
    return {f"layers.0.{side}.weight": np.eye(6) for side in "qkv"} | {
        "mlp.0.weight": np.ones((8, 6)) * len(name),
        "mlp.2.weight": np.ones((6, 8)),
    }


def test_what_is_not_recognised_is_named(tmp_path):
    for name in ("a", "bb"):
        write_dense(tmp_path / "p" / name, attention(name))
    with pytest.raises(UsageError) as raised:
        match(tmp_path / "p")
    assert raised.value.code == "E_SYMMETRY"
    assert raised.value.exit_code == 2
    assert (
        "a holds layers.0.k.weight 6 x 6, layers.0.q.weight 6 x 6,"
        " layers.0.v.weight 6 x 6, ..." in str(raised.value)
    )
    folder, _ = adapters(tmp_path / "lora", [2, 2], {"q": (6, 5)})
    with pytest.raises(UsageError, match=r"q\.lora_A\.weight 2 x 5") as raised:
        match(folder)
    assert raised.value.code == "E_SYMMETRY"


def test_integers_are_no_layers_and_still_something_in_a_module(tmp_path):
    for name, network in copies(0, 2, WIDTHS, 0.1).items():
        tensors = {k: v.copy() for k, v in tensors_of(network).items()}
        for folder, counter in (("beside", "index"), ("within", "net.index")):
            (tmp_path / folder / name).mkdir(parents=True)
            save_file(
                tensors | {counter: np.ones((2, 2), dtype=np.int64)},
                tmp_path / folder / name / "model.safetensors",
            )
    assert len(match(tmp_path / "beside").layers) == 3
    with pytest.raises(UsageError) as raised:
        match(tmp_path / "within")
    assert raised.value.code == "E_SYMMETRY"


def test_one_network_is_nothing_to_compare(tmp_path):
    write(tmp_path / "p", unrelated(0, 1, WIDTHS))
    with pytest.raises(
        UsageError, match="1 of 1 checkpoints can be"
    ) as raised:
        match(tmp_path / "p")
    assert raised.value.code == "E_NOTHING_TO_COMPARE"


def test_fewer_draws_than_a_p_needs_are_refused(noisy):
    with pytest.raises(UsageError, match="19 draws resolve no p") as raised:
        match(noisy, draws=19)
    assert raised.value.code == "E_DRAWS"


def test_progress_is_told_to_the_end(noisy):
    events = []
    match(noisy, on_event=events.append)
    assert [event.done for event in events] == list(range(1, 42))
    assert {event.total for event in events} == {41}


def test_the_object_shows_what_the_document_says(found, tmp_path):
    assert repr(found) == "Match(5 networks, 3 layers)"
    assert json.loads(found.to_json()) == found.document
    page = found._repr_html_()
    aligned = found.document["members"][1]["aligned"]
    assert f"<td>{aligned:.3f}</td></tr>" in page
    assert page.count("<tr>") == 6
    networks = copies(0, 2, WIDTHS, 0.1)
    hostile = {"<b>a": networks["m0"], "m1": networks["m1"]}
    assert "<b>" not in match(write(tmp_path / "p", hostile))._repr_html_()


def test_the_page_explains_the_document(found):
    explained = set(re.findall(r"`(\w+)`", PAGE))
    document = found.document
    keys = set(document) | set(document["members"][0])
    keys |= set(document["layers"][0]) | set(document["network"]["cosine"])
    keys |= set(document["network"]["cosine"]["null"])
    keys |= set(document["network"]["cosine"]["null"]["entries"])
    keys = {key for key in keys if not key.endswith("_reason")}
    assert keys - explained == set()
    rows = set(re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE))
    assert rows - keys == set()
    for name, kept in document["nulls"].items():
        assert f"**{name}**" in PAGE
        assert kept in " ".join(PAGE.split())


def test_ani_is_more_alike_than_chance_only_after_alignment(populations):
    """Eight seeds of four networks each, and a fine-tune of every one."""
    document = match(populations / "ani", layers=["O.*"]).document
    assert document["chains"] == [["O.1", "O.2", "O.3", "O.4"]]
    assert document["n_others"] == 7
    groups = [member["group"] for member in document["members"]]
    assert groups == [*range(8), *range(8)]
    row = document["network"]["cosine"]
    assert row["unaligned"] < 0.05
    assert row["aligned"] > 0.15
    assert row["null"]["entries"]["high"] < 0.1
    assert row["null"]["entries"]["high"] < row["null"]["rotated"]["mean"]
    assert row["null"]["rotated"]["high"] < row["aligned"]


def test_ani_twins_are_found_in_real_weights(populations, tmp_path):
    """Real networks of three hidden layers, their units put in disorder."""
    catalog = spectra.scan(populations / "ani").value
    read = read_networks(catalog, layers=["H.*"])
    rng = np.random.default_rng(0)
    network = read.weights[0][0]
    orders = [rng.permutation(len(W)) for W in network[:-1]]
    twins = {"a": network, "b": permuted(network, orders)}
    document = match(write(tmp_path / "p", twins)).document
    row = document["network"]["cosine_to_reference"]
    assert row["aligned"] == pytest.approx(1, abs=1e-12)
    assert row["unaligned"] < 0.2
