"""`spectra.adapt` beside dense twins, autograd and unmodified PEFT."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from peft import PeftModel
from safetensors.numpy import load_file
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

import spectra
from spectra.apply import adaptation
from spectra.apply.adaptation.forms import FORMS as FORMS_TABLE
from spectra.apply.adaptation.stack import stacked
from spectra.core.errors import IntegrityError, UsageError
from spectra.subspaces.recipes.table import Factors
from tests.checkpoints import adapters, factors, write_adapter, write_dense

PAGE = (Path(__file__).parents[2] / "docs" / "adapt.md").read_text("utf-8")
SHAPES = {"block.first": (24, 16), "block.second": (20, 24)}
RANKS = [4, 2, 6, 3, 4]
FORMS = ("model-axis", "jd-full", "subspace-adapter")
KINDS = ("Linear", "Conv1D")


class Block(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        for name, (out, into) in SHAPES.items():
            module = (
                torch.nn.Linear(into, out)
                if kind == "Linear"
                else Conv1D(out, into)
            )
            setattr(self, name.removeprefix("block."), module)

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


class Net(torch.nn.Module):
    def __init__(self, kind="Linear"):
        super().__init__()
        self.block = Block(kind)

    def forward(self, x):
        return self.block(x)


def net(kind="Linear", dtype=torch.float32):
    torch.manual_seed(0)
    return Net(kind).to(dtype)


def inputs(dtype=torch.float32):
    torch.manual_seed(1)
    return torch.randn(3, 5, 16, dtype=dtype)


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Return a run, its members' maps by layer, and one adapter besides."""
    folder = tmp_path_factory.mktemp("adapt")
    _, members = adapters(folder / "p", RANKS, SHAPES)
    maps = {
        name: np.stack([s * B @ A for A, B, s in (m[name] for m in order)])
        for order in [[members[key] for key in sorted(members)]]
        for name in SHAPES
    }
    rng = np.random.default_rng(9)
    other = {
        name: factors(rng, out, 5, into)
        for name, (out, into) in SHAPES.items()
    }
    write_adapter(folder / "other", other, 10)
    run = spectra.fit(spectra.scan(folder / "p"), folder / "run.h5")
    stored = {
        name: 2.0 * B.astype(np.float32).astype(float) @ A.astype(np.float32)
        for name, (A, B) in other.items()
    }
    return run, maps, stored, folder


def directions(run, maps, name, k):
    """Return the mean and k directions, (out, in) each, as vectors say."""
    X = maps[name].reshape(len(maps[name]), -1)
    mean = X.mean(axis=0)
    V = np.linalg.svd(X - mean, full_matrices=False)[2][:k]
    # Signs are the convention of the run.
    own = run.subspace(name, k).coefficients.T @ X
    V *= np.sign(np.sum(V * own, axis=1))[:, None]
    shape = maps[name].shape[1:]
    return mean.reshape(shape), V.reshape(-1, *shape)


def weight(model, name):
    W = model.get_submodule(name).weight
    return W.T if isinstance(model.get_submodule(name), Conv1D) else W


def set_numbers(adapted, seed=5):
    """Give all that is trained values of the members' size."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for each in adapted.parameters():
            each.copy_(torch.randn_like(each) * 0.3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_at_zero_the_model_is_what_it_was(population, form, kind):
    model, x = net(kind), inputs()
    before = model(x)
    adapted = spectra.adapt(model, population[0], k=3, form=form)
    assert torch.equal(model(x), before)
    set_numbers(adapted)
    assert not torch.allclose(model(x), before, atol=1e-3)
    adapted.remove()
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("init", ["zero", "mean"])
def test_outputs_and_gradients_are_those_of_a_dense_twin(
    population, kind, init
):
    run, maps, *_ = population
    model, x = net(kind, torch.float64), inputs(torch.float64)
    adapted = spectra.adapt(model, run, k=3, init=init)
    set_numbers(adapted)
    model(x).sin().sum().backward()
    h, own = x, []
    for name, c in adapted.coefficients.items():
        mean, V = directions(run, maps, name, 3)
        own.append(torch.tensor(c, requires_grad=True))
        W = weight(model, name) + torch.tensor(mean) * (init == "mean")
        W = W + torch.einsum("l,loi->oi", own[-1], torch.tensor(V))
        bias = model.get_submodule(name).bias
        h = linear(torch.tanh(h) if len(own) > 1 else h, W, bias)
    h.sin().sum().backward()
    assert_allclose(model(x).detach(), h.detach(), atol=1e-6)
    for mine, twin in zip(adapted.parameters(), own, strict=True):
        assert mine.dtype == torch.float64
        assert twin.grad.abs().min() > 1e-3
        assert_allclose(mine.grad, twin.grad, atol=1e-5)


@pytest.mark.parametrize("form", FORMS[1:])
def test_forms_with_frames_are_those_of_a_dense_twin(population, form):
    model, x = net(dtype=torch.float64), inputs(torch.float64)
    adapted = spectra.adapt(model, population[0], k=3, form=form, rank=2)
    set_numbers(adapted)
    model(x).sin().sum().backward()
    h, own = x, []
    for name, one in zip(SHAPES, adapted.hooked, strict=True):
        U, Vh = one.layer.B, one.layer.A
        assert_allclose(U.T @ U, np.eye(3), atol=1e-12)
        assert_allclose(Vh @ Vh.T, np.eye(3), atol=1e-12)
        own.append(one.trained.detach().clone().requires_grad_())
        core = own[-1] if form == "jd-full" else own[-1][1].T @ own[-1][0]
        W = weight(model, name) + U @ core @ Vh
        bias = model.get_submodule(name).bias
        h = linear(torch.tanh(h) if len(own) > 1 else h, W, bias)
    h.sin().sum().backward()
    for mine, twin in zip(adapted.parameters(), own, strict=True):
        assert_allclose(mine.grad, twin.grad, atol=1e-10)
    n = {"jd-full": 3 * 3, "subspace-adapter": 2 * 3 * 2}[form]
    assert [p.numel() for p in adapted.parameters()] == [n, n]


def test_frames_hold_more_than_the_joint_directions_of_each_side(population):
    """Alternating steps start there, and never lose."""
    run, maps, *_ = population
    adapted = spectra.adapt(net(), run, k=3, form="jd-full", init="mean")
    for name, one in zip(SHAPES, adapted.hooked, strict=True):
        X, layer = maps[name], one.layer
        U, Vh = layer.B.double().numpy(), layer.A.double().numpy()
        left = np.linalg.svd(np.concatenate(list(X), axis=1))[0][:, :3]
        right = np.linalg.svd(np.concatenate(list(X)))[2][:3]
        kept = np.sum((U.T @ X @ Vh.T) ** 2)
        assert kept > np.sum((left.T @ X @ right.T) ** 2) - 1e-6
        S = U.T @ X.mean(axis=0) @ Vh.T
        assert_allclose(adapted.coefficients[name], S, atol=1e-6)


def test_the_start_of_two_factors_is_the_nearest_of_its_rank(population):
    run, maps, *_ = population
    adapted = spectra.adapt(
        net(), run, k=6, form="subspace-adapter", rank=2, init="mean"
    )
    for name, one in zip(SHAPES, adapted.hooked, strict=True):
        U, Vh = one.layer.B.double().numpy(), one.layer.A.double().numpy()
        held = U @ (U.T @ maps[name].mean(axis=0) @ Vh.T) @ Vh
        W, s, Zh = np.linalg.svd(held)
        best = (W[:, :2] * s[:2]) @ Zh[:2]
        assert np.linalg.norm(best) > 0.01
        assert_allclose(one.update().update(), best, atol=1e-6)


def test_gradients_go_into_the_coefficients_alone(population):
    model = net()
    model.head = torch.nn.Linear(20, 2)
    adapted = spectra.adapt(model, population[0], k=2)
    model.head.requires_grad_()
    model.head(model(inputs())).sum().backward()
    assert all(p.grad is None for p in model.block.parameters())
    assert all(p.grad is not None for p in model.head.parameters())
    assert [p.grad.shape for p in adapted.parameters()] == [(2,), (2,)]
    assert adapted.document["n_trained"] == 4
    assert {n for n, _ in model.named_parameters()} == {
        "block.first.weight", "block.first.bias", "block.second.weight",
        "block.second.bias", "head.weight", "head.bias",
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_peft_loads_what_is_saved(population, tmp_path, form, kind):
    model, x = net(kind), inputs()
    adapted = spectra.adapt(model, population[0], k=3, form=form, init="mean")
    set_numbers(adapted)
    document = adapted.save(tmp_path / "out")
    loaded = PeftModel.from_pretrained(net(kind), tmp_path / "out")
    assert_allclose(loaded(x).detach(), model(x).detach(), atol=1e-5)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["r"] == config["lora_alpha"] == document["rank"]
    assert config["use_rslora"] is False
    assert config["fan_in_fan_out"] is (kind == "Conv1D")
    full = {"model-axis": 19, "jd-full": 3, "subspace-adapter": 3}[form]
    assert [row["rank"] for row in document["layers"]] == [
        min(full, *shape) for shape in SHAPES.values()
    ]
    assert document["error"] == 0
    assert document == json.loads(
        (tmp_path / "out" / "adaptation.json").read_text()
    )
    found = {
        row["name"]: np.float32(row["coefficients"])
        for row in document["layers"]
    }
    for name, numbers in adapted.coefficients.items():
        assert_array_equal(found[name], numbers)


def test_a_lower_rank_is_the_best_of_that_rank(population, tmp_path):
    run, maps, *_ = population
    model = net()
    adapted = spectra.adapt(model, run, k=4, init="mean")
    set_numbers(adapted)
    document = adapted.save(tmp_path / "out", rank=3)
    tensors = load_file(tmp_path / "out" / "adapter_model.safetensors")
    missed = total = 0.0
    for row, one in zip(document["layers"], adapted.hooked, strict=True):
        mean, V = directions(run, maps, row["name"], 4)
        x = mean + np.tensordot(one.numbers().astype(float), V, axes=1)
        W, s, Zh = np.linalg.svd(x)
        root = f"base_model.model.{row['module']}.lora_"
        stored = tensors[f"{root}B.weight"] @ tensors[f"{root}A.weight"]
        assert_allclose(stored, (W[:, :3] * s[:3]) @ Zh[:3], atol=1e-5)
        lost = np.linalg.norm(s[3:]) / np.linalg.norm(s)
        assert row["error"] == pytest.approx(lost, rel=1e-4)
        assert row["norm"] == pytest.approx(np.linalg.norm(s), rel=1e-5)
        missed, total = missed + np.sum(s[3:] ** 2), total + np.sum(s**2)
    whole = np.sqrt(missed / total)
    assert document["error"] == pytest.approx(whole, rel=1e-4)
    again = adapted.save(tmp_path / "out")
    assert again["error"] == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("not ours")
    with pytest.raises(UsageError) as caught:
        adapted.save(tmp_path / "mine")
    assert caught.value.code == "E_OUTPUT"


def test_nothing_trained_is_an_adapter_of_zeros(population, tmp_path):
    adapted = spectra.adapt(net(), population[0], k=2)
    document = adapted.save(tmp_path / "out")
    assert (document["rank"], document["error"]) == (1, 0)
    loaded = PeftModel.from_pretrained(net(), tmp_path / "out")
    assert torch.equal(loaded(inputs()), net()(inputs()))


def test_what_is_not_finite_is_not_written(population, tmp_path):
    adapted = spectra.adapt(net(), population[0], k=2)
    with torch.no_grad():
        next(adapted.parameters())[0] = torch.nan
    with pytest.raises(UsageError, match=r"block\.first is not finite"):
        adapted.save(tmp_path / "out")
    with pytest.raises(UsageError, match="rank 0"):
        adapted.save(tmp_path / "out", rank=0)
    assert not (tmp_path / "out").exists()


def test_a_projection_has_the_coordinates_of_project(population):
    run, maps, stored, folder = population
    adapted = spectra.adapt(net(), run, k=4, init=folder / "other")
    placed = spectra.project(run, folder / "other")
    for row in placed.layers:
        c = adapted.coefficients[row["name"]].astype(float)
        mean, V = directions(run, maps, row["name"], 4)
        wanted = np.tensordot(V, stored[row["name"]] - mean, axes=2)
        assert_allclose(c, wanted, atol=1e-5)
        for k in (1, 4):
            share = np.sum(c[:k] ** 2) / row["deviation"] ** 2
            assert share == pytest.approx(row["captured"][str(k)], rel=1e-4)


def test_with_all_directions_a_member_is_itself(population):
    run, maps, _, folder = population
    adapted = spectra.adapt(net(), run, k=16, init=folder / "p" / "a02")
    assert [len(c) for c in adapted.coefficients.values()] == [4, 4]
    for name, one in zip(SHAPES, adapted.hooked, strict=True):
        assert_allclose(one.update().update(), maps[name][2], atol=1e-6)


def basis_of(adapted):
    """Return the mean and the directions that a model holds, as vectors."""
    found = []
    for one in adapted.hooked:
        k = len(one.trained)
        rows = []
        for c in (np.zeros(k), *np.eye(k)):
            with torch.no_grad():
                one.trained.copy_(torch.tensor(c))
            rows.append(one.update().update())
        mean, *others = rows
        found.append(np.stack([mean, *(x - mean for x in others)]))
    return found


def test_the_control_keeps_everything_but_the_position(population):
    run = population[0]
    own, turned, again, other = (
        basis_of(
            spectra.adapt(
                net(), run, k=4, init="mean", random=random, seed=seed
            )
        )
        for random, seed in ((False, 0), (True, 0), (True, 0), (True, 1))
    )
    for a, b, c, d in zip(own, turned, again, other, strict=True):
        assert_array_equal(b, c)
        X, Y, Z = (x.reshape(len(x), -1) for x in (a, b, d))
        assert_allclose(X @ X.T, Y @ Y.T, atol=1e-5)
        assert_allclose(np.linalg.svd(a)[1], np.linalg.svd(b)[1], atol=1e-5)
        mixed = np.einsum("l,loi->oi", [1, 0.5, -1, 2, 3], a)
        same = np.einsum("l,loi->oi", [1, 0.5, -1, 2, 3], b)
        assert_allclose(
            np.linalg.svd(mixed)[1], np.linalg.svd(same)[1], atol=1e-5
        )
        # Two frames of 4 in 384 and more dimensions.
        for position in (Y, Z):
            assert np.sum((X[1:] @ position[1:].T) ** 2) < 0.3
        assert np.sum((Y[1:] @ Z[1:].T) ** 2) < 0.3


def test_a_random_position_has_no_preferred_sign():
    """The mean of rotations is zero in each entry; that of QR's Q is not."""
    member = Factors(np.eye(1, 3), np.eye(3, 1))
    rng = np.random.default_rng(0)
    drawn = [stacked([member]).turned(rng) for _ in range(2000)]
    for vectors in (np.stack([d.A[0] for d in drawn]),
                    np.stack([d.B[:, 0] for d in drawn])):  # fmt: skip
        assert np.abs(vectors.mean(axis=0)).max() < 4 / np.sqrt(3 * 2000)
        second = vectors.T @ vectors / 2000
        assert_allclose(second, np.eye(3) / 3, atol=0.03)


def test_a_narrow_model_trains_in_float32(population):
    model = net(dtype=torch.bfloat16)
    adapted = spectra.adapt(model, population[0], k=4)
    set_numbers(adapted)
    y = model(inputs(torch.bfloat16))
    assert y.dtype == torch.bfloat16
    y.sum().backward()
    assert {p.grad.dtype for p in adapted.parameters()} == {torch.float32}
    wide = net()
    twin = spectra.adapt(wide, population[0], k=4)
    set_numbers(twin)
    assert_allclose(
        y.float().detach(), wide(inputs()).detach(), rtol=0.1, atol=0.05
    )


def test_a_model_that_holds_the_base(population, tmp_path):
    holder = torch.nn.ModuleDict({"encoder": net()})
    adapted = spectra.adapt(holder, population[0], k=2, layers=["*first"])
    assert [one.module for one in adapted.hooked] == ["encoder.block.first"]
    assert repr(adapted) == (
        "Adaptation(2 numbers trained in 1 layer (model-axis, start zero))"
    )


def test_a_run_file_will_do(population):
    run = population[0]
    x = inputs()
    models = net(), net()
    for model, basis in zip(models, (run, run.path), strict=True):
        spectra.adapt(model, basis, k=2, init="mean")
    assert torch.equal(models[0](x), models[1](x))


@pytest.mark.parametrize(
    ("change", "options", "code", "says"),
    [
        ("none", {"form": "none"}, "E_ADAPT", "no form"),
        ("none", {"k": 0}, "E_ADAPT", "k 0 is not"),
        ("none", {"rank": 0}, "E_ADAPT", "rank 0 is not"),
        ("none", {"layers": ["none"]}, "E_NOTHING_TO_COMPARE", ""),
        ("none", {"init": "nowhere"}, "E_SOURCE", "nowhere"),
        ("gone", {}, "E_ADAPT", "has 0 modules 'block.first'"),
        ("twice", {}, "E_ADAPT", "has 2 modules 'block.first'"),
        ("shape", {}, "E_ADAPT", "block.first is of shape"),
        ("kind", {}, "E_ADAPT", "block.first is a Tanh"),
    ],
)
def test_a_refusal_leaves_the_model_as_it_was(
    population, change, options, code, says
):
    model = net()
    if change == "gone":
        model = torch.nn.Sequential(torch.nn.Linear(16, 24))
    elif change == "twice":
        model = torch.nn.ModuleDict({"a": net(), "b": net()})
    elif change == "shape":
        model.block.first = torch.nn.Linear(16, 23)
    elif change == "kind":
        model.block.first = torch.nn.Tanh()
    with pytest.raises(UsageError) as caught:
        spectra.adapt(model, population[0], **options)
    assert caught.value.code == code
    assert says in str(caught.value)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_an_adapter_without_a_layer_is_refused(population, tmp_path):
    rng = np.random.default_rng(0)
    write_adapter(tmp_path / "a", {"block.first": factors(rng, 24, 2, 16)}, 2)
    with pytest.raises(UsageError, match=r"no update of block\.second"):
        spectra.adapt(net(), population[0], init=tmp_path / "a")


def test_full_weights_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        W = rng.standard_normal((24, 16), dtype=np.float32)
        write_dense(tmp_path / f"m{i}", {"block.first.weight": W})
    run = spectra.fit(spectra.scan(tmp_path))
    with pytest.raises(UsageError, match="no layer of PEFT's LoRA adapters"):
        spectra.adapt(net(), run)


def test_part_of_a_module_is_refused(tmp_path):
    rng = np.random.default_rng(0)
    name = "blocks.0.attn.qkv"
    for i in range(3):
        layers = {name: factors(rng, 24, 2, 8)}
        write_adapter(tmp_path / f"m{i}", layers, 2)
    run = spectra.fit(spectra.scan(tmp_path))
    assert len(run.layers) == 3
    with pytest.raises(UsageError, match="one module of several layers"):
        spectra.adapt(net(), run)


def test_members_that_have_changed_are_refused(tmp_path):
    adapters(tmp_path / "p", [2, 2, 2], {"block.first": (24, 16)})
    run = spectra.fit(spectra.scan(tmp_path / "p"))
    path = tmp_path / "p" / "a01" / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="not made of the bytes"):
        spectra.adapt(net(), run)


def test_without_torch_it_says_what_to_install(population, monkeypatch):
    model = net()
    monkeypatch.delattr(adaptation, "hooks", raising=False)
    monkeypatch.delitem(sys.modules, "spectra.apply.adaptation.hooks")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UsageError, match=r"hf-spectra\[torch\]") as caught:
        spectra.adapt(model, population[0])
    assert caught.value.code == "E_EXTRA"


def test_the_names_do_not_import_torch():
    code = (
        "import sys, spectra; spectra.adapt, spectra.Adaptation;"
        " print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout == "False\n"


def test_the_lines_of_the_page(population, tmp_path, monkeypatch):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shutil.copy(population[0].path, tmp_path / "run.h5")
    monkeypatch.chdir(tmp_path)
    model, twin, x = net(), net(), inputs()
    set_numbers(spectra.adapt(twin, population[0], k=4, init="mean"))
    with torch.no_grad():
        y = twin(x)
    first = torch.nn.functional.mse_loss(model(x), y)
    names = {"model": model, "batches": [(x, y)] * 30}
    exec(block, names)  # noqa: S102 - our own page
    last = torch.nn.functional.mse_loss(model(x), y)
    assert last < 0.3 * first
    adapted = names["adapted"]
    assert {c.shape for c in adapted.coefficients.values()} == {(4,)}
    assert (tmp_path / "new-task" / "adapter_model.safetensors").is_file()


def test_the_page_has_every_key_and_form(population, tmp_path):
    adapted = spectra.adapt(net(), population[0], k=2)
    document = adapted.save(tmp_path / "out")
    words = set(re.findall(r"`([^`\n]+)`", PAGE))
    keys = {*document, *(key for row in document["layers"] for key in row)}
    assert keys <= words
    rows = re.findall(r"^\| (`.+?`) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall("`([^`]+)`", row)}
    assert named - {f'"{init}"' for init in ("zero", "mean")} - {*FORMS} == (
        {*document}
    )
    assert [form.name for form in FORMS_TABLE] == list(FORMS)
