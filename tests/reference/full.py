"""Merges of full checkpoints from their definitions, on state dicts.

A state dict maps names to arrays in float64, (out, in) for matrices. The
methods are the twins of `tests.reference.merging`; an update is the whole
difference from the base.
"""

import math
import zlib

import numpy as np

from tests.reference.merging import TWINS, by_model

__all__ = ["merged_states", "run_mergekit"]

OF_MATRICES = {"knots", "tsv-m", "iso-c", "iso-cts", "cart"}


def update(x):
    """Return a difference as factors (A, B, scale), one of them an identity.

    What is no matrix is one row.
    """
    M = x if x.ndim == 2 else x.reshape(1, -1)
    return M, np.eye(len(M)), 1.0


def is_matrix(x):
    return x.ndim == 2 and min(x.shape) > 1


def average(differences, method, options):
    lam = 1.0 if method == "cart" else options.get("lam", 1.0)
    return lam * sum(differences) / len(differences)


def merged_states(method, states, base=None, *, trim="model", **options):
    """Return the state dict that some come to."""
    zero = {name: np.zeros_like(x) for name, x in states[0].items()}
    below = base or zero
    differences = {
        name: [state[name] - below[name] for state in states]
        for name in states[0]
    }
    whole = {
        name: method not in OF_MATRICES or is_matrix(xs[0])
        for name, xs in differences.items()
    }
    updates = {
        name: [update(x) for x in xs]
        for name, xs in differences.items()
        if whole[name]
    }
    found = {}
    if method in {"ties", "knots"} and trim == "model":
        merged = by_model(method, list(updates.values()), **options)
        found = dict(zip(updates, merged, strict=True))
    else:
        for name, each in updates.items():
            more = dict(options)
            if method == "dare":
                seed = options.get("seed", 0)
                more["seed"] = (seed, zlib.crc32(name.encode()))
            if method == "cart":
                side = min(differences[name][0].shape)
                more["keep"] = math.ceil(0.08 * side)
            found[name] = TWINS[method](each, **more)
    for name, xs in differences.items():
        if not whole[name]:
            found[name] = average(xs, method, options)
    return {
        name: below[name] + found[name].reshape(x.shape)
        for name, x in states[0].items()
    }


def run_mergekit(config, load):
    """Return what a configuration of mergekit asks for, by its definitions.

    Those of Goddard et al. (2024) and of its documentation: each tensor
    alone; ``ties`` keeps the int(density n) greatest entries.

    Parameters
    ----------
    config
        As YAML gives it.
    load
        From a model's path to its state dict.
    """
    models = [load(m["model"]["model"]["path"]) for m in config["models"]]
    each = [m["parameters"] for m in config["models"]]
    whole, method = config["parameters"], config["merge_method"]
    weights = [one["weight"] for one in each]
    if method == "linear":
        assert whole["normalize"]
        return {
            name: sum(
                w * m[name] for w, m in zip(weights, models, strict=True)
            )
            / sum(weights)
            for name in models[0]
        }
    base = load(config["base_model"]["model"]["path"])
    found = {}
    for name, below in base.items():
        deltas = [model[name] - below for model in models]
        if method == "ties":
            deltas = [
                greatest(x, one["density"])
                for x, one in zip(deltas, each, strict=True)
            ]
        weighted = [w * x for w, x in zip(weights, deltas, strict=True)]
        if method == "ties":
            assert whole["normalize"]
            sign = np.where(sum(weighted) >= 0, 1, -1)
            agree = [np.sign(x) == sign for x in weighted]
            total = sum(x * a for x, a in zip(weighted, agree, strict=True))
            count = sum(w * a for w, a in zip(weights, agree, strict=True))
            added = whole["lambda"] * total / np.where(count == 0, 1, count)
        else:
            assert not whole["normalize"]
            added = sum(weighted)
        found[name] = below + added
    return found


def greatest(x, density):
    count = int(density * x.size)
    order = np.argsort(-np.abs(x).ravel(), kind="stable")
    kept = np.zeros(x.size)
    kept[order[:count]] = 1
    return x * kept.reshape(x.shape)
