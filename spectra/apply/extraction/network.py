"""A network of transformers, held to have every weight from its checkpoint."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError

from spectra.apply.extraction.adapted import Adapted, adapt
from spectra.apply.extraction.adapter import Adapter
from spectra.apply.extraction.asked import Asked, unusable
from spectra.apply.extraction.inputs import BROKEN, SAFELY
from spectra.core.errors import UsageError
from spectra.core.text import natural, printable

__all__ = ["Network", "open_network", "quiet"]

Tensor = Any

_TWO_TOWERS = ("clip",)
"""Architectures with a network for texts and one for images."""

_TOWERS = {"texts": "text", "images": "vision"}
"""Before ``_config`` and ``_model``."""

_CUDA = re.compile(r"(torch:)?cuda(:(?P<index>\d{1,3}))?")

_REPEATS = 1e-3
"""Relative difference of the same features computed twice, at most: rounding
of half precision is less, a random mask far more."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network that gives hidden states.

    Attributes
    ----------
    model
        Of transformers.
    unused
        Names of weights that it has no place for, such as heads.
    updated
        Names of its weights that an adapter changed.
    asked
        What is wanted of it.
    device
        Where it is.
    """

    model: Any
    unused: tuple[str, ...]
    updated: tuple[str, ...]
    asked: Asked
    device: Any

    @property
    def n_tokens(self) -> int:
        """Return how many tokens it knows."""
        return int(self.model.get_input_embeddings().weight.shape[0])

    def pooled(
        self, batch: Mapping[str, NDArray[Any]], /
    ) -> dict[str, NDArray[Any]]:
        """Return the features of some items, (items, width), in float32.

        Parameters
        ----------
        batch
            Arrays by the names of the network's arguments.

        Returns
        -------
        dict
            By ``pooling/layer``: ``mean/0`` is of what enters the first
            block, ``mean/1`` of what leaves it.

        Raises
        ------
        UsageError
            E_EXTRACT where the network cannot take it, no layer matches, or
            its states are not one a token.
        """
        with torch.inference_mode():
            states = self._states(batch)
            chosen = {
                str(i): state
                for i, state in enumerate(states)
                if self._wants(str(i))
            }
            if not chosen:
                raise UsageError(
                    "E_NO_LAYER",
                    f"of layers 0 to {len(states) - 1} none matches"
                    f" {self.asked.layers}",
                    advice="name layers by their numbers",
                )
            mask = batch.get("attention_mask")
            return {
                f"{name}/{i}": _pool(name, state, mask).cpu().numpy()
                for name in dict.fromkeys(self.asked.pool)
                for i, state in chosen.items()
            }

    def require_repeatable(self, batch: Mapping[str, NDArray[Any]], /) -> None:
        """Refuse a network that draws random numbers.

        Raises
        ------
        UsageError
            E_EXTRACT where the same items have other features the next time.
        """
        once, again = self.pooled(batch), self.pooled(batch)
        for name, first in once.items():
            size = float((first**2).sum()) ** 0.5
            moved = float(((first - again[name]) ** 2).sum()) ** 0.5
            if moved > _REPEATS * size:
                raise unusable(
                    f"{type(self.model).__name__} gives the same items other"
                    " features each time",
                    "it draws random numbers, such as which patches to mask",
                )

    def _wants(self, layer: str) -> bool:
        globs = self.asked.layers
        return not globs or any(fnmatchcase(layer, glob) for glob in globs)

    def _states(self, batch: Mapping[str, NDArray[Any]]) -> Sequence[Tensor]:
        kind = self.model.dtype
        inputs = {
            name: torch.from_numpy(values).to(
                self.device, kind if values.dtype.kind == "f" else None
            )
            for name, values in batch.items()
        }
        try:
            found = self.model(**inputs, output_hidden_states=True)
        except torch.OutOfMemoryError as error:
            raise unusable(
                f"the device {self.device} has no room for this batch",
                "lower --batch or --max-tokens",
            ) from error
        except BROKEN as error:
            raise _failed(f"{type(self.model).__name__} fails", error) from (
                error
            )
        states = getattr(found, "hidden_states", None)
        if not states:
            raise unusable(
                f"{type(self.model).__name__} gives no hidden states"
            )
        return list(states)


def open_network(
    room: Path,
    kind: Literal["texts", "images"],
    asked: Asked,
    adapter: Adapter | None = None,
    /,
) -> Network:
    """Load a checkpoint into the network of transformers that it names.

    Parameters
    ----------
    room
        The checkpoint's folder, as `gathered`.
    kind
        What it is to read.
    asked
        Device and dtype are taken from it.
    adapter
        Trained on it; None for none.

    Raises
    ------
    UsageError
        E_EXTRACT where transformers has no such network, a weight of it is
        missing from the checkpoint or of another shape, or the adapter does
        not fit; E_DEVICE.
    Quarantine
        Where the adapter cannot be read.
    """
    device, tower = _device(asked.device), ""
    try:
        config = transformers.AutoConfig.from_pretrained(room, **SAFELY)
        if config.model_type in _TWO_TOWERS:
            tower = f"{_TOWERS[kind]}_model."
            config = getattr(config, f"{_TOWERS[kind]}_config")
        network = transformers.MODEL_MAPPING[type(config)]
        model, told = network.from_pretrained(
            room,
            config=config,
            dtype=getattr(torch, asked.dtype),
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_without_pooler(network),
            **SAFELY,
        )
        model = model.eval().to(device)
    except (*BROKEN, SafetensorError) as error:
        raise _failed("transformers cannot load it", error) from error
    _audit(told)
    changed = Adapted((), ())
    if adapter is not None:
        changed = adapt(model, adapter, tower=tower)
    if getattr(config, "is_encoder_decoder", False):
        model = model.get_encoder()
    model.config.use_cache = False
    unused = {*told["unexpected_keys"], *changed.unused}
    return Network(
        model, tuple(sorted(unused, key=natural)), changed.updated, asked,
        device,
    )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Let transformers print nothing, for a ``with`` block."""
    log = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()


def _pool(name: str, state: Tensor, mask: NDArray[Any] | None) -> Tensor:
    """Return one row an item of (items, tokens, width).

    Texts are filled up behind, so an item's first token stands at 0 and its
    last one before what the mask leaves out.
    """
    if state.ndim != 3 or (
        mask is not None and state.shape[1] != mask.shape[1]
    ):
        raise unusable(
            f"its hidden states are {' x '.join(map(str, state.shape))}, not"
            " items x tokens x width"
        )
    if name == "first":
        return state[:, 0].float()
    if mask is None:
        return (
            state[:, -1].float() if name == "last" else state.float().mean(1)
        )
    there = torch.from_numpy(mask).to(state.device)
    many = there.sum(1)
    if name == "last":
        return state[torch.arange(len(state)), many - 1].float()
    # What stands where nothing is may be anything, also no number.
    kept = state.float().masked_fill(there[..., None] == 0, 0.0)
    return kept.sum(1) / many[:, None]


def _without_pooler(network: Any) -> dict[str, bool]:
    """Return how to leave out the layer behind the last hidden state.

    Many checkpoints were saved without it, and no hidden state depends on it.
    """
    known = inspect.signature(network.__init__).parameters
    return {"add_pooling_layer": False} if "add_pooling_layer" in known else {}


def _audit(told: Mapping[str, Any]) -> None:
    """Refuse a network with weights that did not come from the checkpoint."""
    mismatched = [entry[0] for entry in told["mismatched_keys"]]
    for names, what in (
        (mismatched, "have another shape in the checkpoint"),
        (told["missing_keys"], "are not in the checkpoint"),
    ):
        if names:
            listed = sorted(names, key=natural)
            shown = ", ".join(printable(name, 80) for name in listed[:3])
            more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
            raise unusable(
                f"weights of the network {what}, and would be random: {shown}"
                f"{more}",
                "name a checkpoint that has all weights under transformers'"
                " names",
            )


def _device(name: str) -> Any:
    many = torch.cuda.device_count()
    if name in {"cpu", "torch:cpu"} or (name == "auto" and not many):
        return torch.device("cpu")
    if name == "auto":
        return torch.device("cuda")
    found = _CUDA.fullmatch(name)
    if found is None:
        raise UsageError(
            "E_DEVICE",
            f"there is no device {printable(name, 40)!r}",
            advice="use auto, cpu or cuda",
        )
    if int(found["index"] or 0) >= many:
        raise UsageError(
            "E_DEVICE",
            f"torch finds {many} CUDA devices",
            advice="check nvidia-smi, or use --device cpu",
        )
    return torch.device(name.removeprefix("torch:"))


def _failed(what: str, error: BaseException) -> UsageError:
    lines = [line.strip() for line in str(error).split("\n") if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    return unusable(f"{what}: {printable(reason, 200)}")
