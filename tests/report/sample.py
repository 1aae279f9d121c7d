"""A small population with planted structure, and a report with every key."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import Quarantined
from spectra.subspaces.result import (
    BaseFit,
    BaseSide,
    LayerFit,
    Member,
    PopulationFit,
    SideFit,
)

LEVELS = ("1", "4", "16")
VERDICTS = (
    "shared",
    "not-shared",
    "shared-initialisation",
    "explained-by-norms",
    "weakly-shared",
    "shared-mean-only",
    "shared-lineage",
    "too-few-models",
)
HOSTILE = (
    '<img src=x onerror="document.title=1">',
    "</script><script>document.title=2</script>",
    '=HYPERLINK("//evil","click")',
    "a\u202egnp.exe\x1b[31m",
    "| pipe | **bold** [link](javascript:x)\n# head",
    "{{ 7 * 7 }} {% raw %} ' onclick='x",
    "half \ud800 pair\u2028line",
    "W" * 300,
)
"""Names that strangers may give; each aims at another sink."""


def names_of(n: int, *, hostile: bool) -> list[str]:
    """Return `n` distinct checkpoint names, hostile ones first."""
    first = HOSTILE if hostile else ()
    plain = [f"lab-{i % 5}/adapter-task-{i:03d}" for i in range(n)]
    return [*first, *plain][:n]


def frames(rng: np.random.Generator, n: int, d: int, q: int) -> Any:
    """Return `n` random orthonormal frames, in four families."""
    common = rng.standard_normal((4, d, q))
    own = rng.standard_normal((n, d, q))
    mixed = own + 1.2 * common[np.arange(n) % 4]
    return np.linalg.qr(mixed)[0]


def side_fit(U: NDArray[np.float64], s: NDArray[np.float64]) -> SideFit:
    """Return one side of members with frames U and singular values s."""
    joint = np.einsum("nik,nk,njk->ij", U, s**2, U)
    mean = np.einsum("nik,njk->ij", U, U) / len(U)
    cross = np.einsum("aik,bil->abkl", U, U)
    return SideFit(
        eigenvalues=np.linalg.eigvalsh(joint)[::-1][:64],
        trace=float((s**2).sum()),
        projector_mean=np.linalg.eigvalsh(mean)[::-1][:64],
        overlap=(cross**2).sum((2, 3)),
        consensus=((U.mT @ np.linalg.eigh(mean)[1][:, :-17:-1]) ** 2).sum(1),
        base=BaseSide(np.full(32, 1 / 32), np.full(32, 0.1), 4, 0.9, None),
    )


def layer_fit(index: int, n: int, *, name: str) -> LayerFit:
    """Return the fit of one layer of rank-4 updates of 48 x 32."""
    rng = np.random.default_rng(index)
    U, V = frames(rng, n, 48, 4), frames(rng, n, 32, 4)
    s = np.sort(rng.lognormal(0.0, 0.4, (n, 4)))[:, ::-1]
    updates = np.einsum("nik,nk,njk->nij", U, s, V).reshape(n, -1)
    return LayerFit(
        name=name,
        architecture="low-rank-5a1e0c77",
        shape=(48, 32),
        kind="low-rank",
        members=tuple(range(n)),
        duplicates=(),
        inner=updates @ updates.T,
        h=np.zeros(n),
        reference_energy=0.0,
        rounding=np.zeros(n),
        resolution=7e-9,
        singular_values=s,
        ranks=np.full(n, 4),
        output=side_fit(U, s),
        input=side_fit(V, s),
        initial=np.einsum("iab,jab->ij", V, V),
        base=BaseFit(np.ones(32), 5.7, None),
    )


def layer_report(layer: LayerFit, verdict: str) -> dict[str, Any]:
    """Return the layer's part of the report; nulls are made up."""
    n = len(layer.members)
    G = layer.gram
    J = np.eye(n) - 1 / n
    eigenvalues = np.linalg.eigvalsh(J @ G @ J)[::-1][: n - 1]
    share = np.cumsum(eigenvalues) / eigenvalues.sum()
    even = np.linalg.eigvalsh(J @ np.diag(np.diagonal(G)) @ J)[::-1][: n - 1]
    levels = [k for k in LEVELS if int(k) < n]
    evr = {k: float(share[int(k) - 1]) for k in levels}
    norms = {
        k: float(np.cumsum(even)[int(k) - 1] / even.sum()) for k in levels
    }
    axis = {
        "verdict": verdict,
        "reasons": [f"effect of {verdict}", "p_adjusted 0.005 < 0.01"],
        "energy": float(eigenvalues.sum()),
        "mean_fraction": float(G.sum() / (n * np.trace(G))),
        "eigenvalues": [float(v) for v in eigenvalues[:-1]] + [None],
        "floor": 7e-9 * float(eigenvalues[0]),
        "evr": evr,
        "expected_isotropic": {k: int(k) / (n - 1) for k in levels},
        "expected_norms": norms,
        "null": {"strength": {"draws": 199, "evr": {
            k: {"mean": norms[k] * 1.03, "q95": norms[k] * 1.06,
                "p": 0.005, "p_adjusted": 0.015}
            for k in levels}}},
        "unit_norm_evr": {k: 0.9 * evr[k] for k in levels},
        "participation_ratio": float(
            eigenvalues.sum() ** 2 / (eigenvalues**2).sum()
        ),
        "held_out": held_out(levels, n),
    }  # fmt: skip
    return {
        "name": layer.name,
        "architecture": layer.architecture,
        "kind": layer.kind,
        "shape": list(layer.shape),
        "n_models": n,
        "model_axis": axis,
        "output_side": side_report(layer.output, layer, 0),
        "input_side": side_report(layer.input, layer, 1),
        "stability": {
            "split_half": dict.fromkeys(levels, 0.31),
            "split_half_null": dict.fromkeys(levels, 0.12),
            "davis_kahan": "vacuous",
            "saturation": {"still_growing": True},
        },
        "base_alignment": {
            "output_side": {"word": "top"},
            "input_side": {"word": None},
        },
        "verdict": verdict,
        "reasons": [
            f"{layer.name}: what a reader is told of {verdict}",
            "effect at k = 4 at least 0.031",
        ],
    }


def held_out(levels: list[str], n: int) -> dict[str, Any]:
    """Return made-up held-out values, each told from the others."""
    return {
        "folds": n // 2,
        "by_group": True,
        "r2": {
            "mean": 0.021,
            "mean_low": -0.007,
            "mean_high": 0.044,
            "basis": {k: 0.02 * int(k) ** 0.5 for k in levels},
            "basis_only": {k: 0.013 * int(k) ** 0.5 for k in levels},
            "random": {k: 0.004 * int(k) for k in levels},
            "secondary": dict.fromkeys(levels),
        },
        "captured": {k: 0.11 * int(k) ** 0.5 for k in levels},
        "captured_random": {k: 0.017 * int(k) for k in levels},
        "effect": {"k": 4, "value": 0.152, "low": 0.031, "high": 0.273},
    }


def side_report(side: SideFit, layer: LayerFit, axis: int) -> dict[str, Any]:
    """Return a side's part of the report, its null not drawn."""
    assert side.eigenvalues is not None
    rows, columns = np.triu_indices(len(layer.members), 1)
    share = np.cumsum(side.eigenvalues) / side.trace
    return {
        "verdict": None if axis else "weakly-shared",
        "reasons": [],
        "evr": {k: float(share[int(k) - 1]) for k in LEVELS},
        "null": {},
        "projector_mean": [float(v) for v in side.projector_mean],
        "overlap_mean": float((side.overlap / 4)[rows, columns].mean()),
        "overlap_null": 4 / layer.shape[axis],
        "consensus": [{"shared_by": 3 + axis, "of": len(layer.members)}],
    }


def fit_of(n: int, n_layers: int, *, hostile: bool) -> PopulationFit:
    """Return a fit of `n` members and `n_layers` layers."""
    ids = names_of(n, hostile=hostile)
    layers = [f"layers.{i}.self_attn.q_proj" for i in range(n_layers)]
    if hostile:
        layers[: len(HOSTILE)] = HOSTILE[:n_layers]
    models = tuple(
        Member(
            id=name,
            revision=f"{index:040x}",
            path=f"/pop/{index}",
            architecture="low-rank-5a1e0c77",
            license=("apache-2.0", None, name)[index % 3],
            base_claim=None,
            nbytes=1000,
            fingerprint=f"{index:064x}",
        )
        for index, name in enumerate(ids)
    )
    return PopulationFit(
        models=models,
        layers=tuple(
            layer_fit(index, n, name=name) for index, name in enumerate(layers)
        ),
        quarantine=(
            Quarantined(ids[0], None, "ST_OFFSETS", f"hole before {ids[1]}"),
            Quarantined(ids[1], layers[0], "NAN", "3 values are not finite"),
        ),
        left_out=(Quarantined(ids[2], None, "LEFT_ALONE", "no layer shared"),),
        n_scanned=n + 2,
        started_from_zero=False,
        settings={"rank": 16, "base": None, "layers": [layers[0]]},
        environment={"spectra": "0.1.0", "numpy": np.__version__},
    )


def report_of(fit: PopulationFit) -> dict[str, Any]:
    """Return a report of `fit` with every key of the schema."""
    ids = [model.id for model in fit.models]
    layers = [
        layer_report(layer, VERDICTS[index % len(VERDICTS)])
        for index, layer in enumerate(fit.layers)
    ]
    named = "; ".join(ids[:8])
    counts = dict.fromkeys(VERDICTS, 0)
    for layer in layers:
        counts[layer["verdict"]] += 1
    return {
        "schema": "spectra-report/1",
        "version": "0.1.0",
        "settings": {
            "fit": dict(fit.settings),
            "overlap": {"draws": 199, "k": [], "groups": None},
        },
        "environment": dict(fit.environment),
        "population": {
            "n_scanned": fit.n_scanned,
            "n_models": len(ids),
            "n_unique": len(ids) - 1,
            "n_groups": len(ids) - 2,
            "n_effective": len(ids) - 2.75,
            "initialisation": grouping_of(ids, 0.3),
            "lineage": grouping_of(ids, 0.5),
            "models": [
                {
                    "id": model.id,
                    "revision": model.revision,
                    "license": model.license,
                    "group": f"g{index // 2}",
                    "init_group": None,
                    "duplicate_of": ids[3] if index == 4 else None,
                    "norm": 1.25 + index / 8,
                }
                for index, model in enumerate(fit.models)
            ],
        },
        "layers": layers,
        "verdict": {
            "counts": counts,
            "text": f"Of {len(layers)} layers {counts['shared']} share"
            f" directions; those of {ids[-1]} too; {named}.",
        },
        "coverage": [
            {"kind": "attention query", "status": "analysed", "reason": None,
             "n_tensors": 1234, "example": f"{layers[0]['name']}.weight"},
            {"kind": "norm", "status": "refused", "reason": "LIMIT_DIM",
             "n_tensors": 2, "example": layers[-1]["name"]},
            {"kind": "norm", "status": "skipped", "reason": "SKIP_EMPTY",
             "n_tensors": 7, "example": ids[0]},
            {"kind": "norm", "status": "skipped", "reason": "SKIP_NOT_MATRIX",
             "n_tensors": 30, "example": ids[1]},
        ],
        "quarantine": [asdict(entry) for entry in fit.quarantine],
        "left_out": [asdict(entry) for entry in fit.left_out],
    }  # fmt: skip


def grouping_of(ids: list[str], threshold: float) -> dict[str, Any]:
    """Return a partition in which the first two belong together."""
    return {
        "threshold": threshold,
        "stable_range": [0.08, 0.71],
        "groups": [ids[:2], *([name] for name in ids[2:])],
    }
