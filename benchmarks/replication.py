"""What spectra is measured against, in formulas written anew.

The public replication of the universal-subspace paper holds all updates as
one float32 matrix, takes their mean away and decomposes the products. torch
computes, as there.
"""

from pathlib import Path

import torch
from safetensors import safe_open

__all__ = ["adapters", "from_files", "spectrum"]


def spectrum(X: torch.Tensor, /) -> torch.Tensor:
    """Return the eigenvalues of the centred products of X (T, D)."""
    centred = X - X.mean(dim=0, keepdim=True)
    return torch.linalg.eigvalsh((centred @ centred.T).double())


def adapters(A: torch.Tensor, B: torch.Tensor, /) -> torch.Tensor:
    """Return the spectrum of T updates B_i A_i, (T, out, r) and (T, r, in)."""
    updates = torch.einsum("tdr,tre->tde", B, A)
    return spectrum(updates.reshape(len(A), -1))


def from_files(paths: list[Path], name: str, /) -> torch.Tensor:
    """Return the spectrum of one tensor of many files."""
    rows = []
    for path in paths:
        with safe_open(path, framework="pt") as file:
            rows.append(file.get_tensor(name).float().reshape(-1))
    return spectrum(torch.stack(rows))
