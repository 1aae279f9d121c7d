"""The encoder under an update, and how often its answers are right."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from peft import LoraConfig
from safetensors.numpy import load_file
from transformers import AutoModel, AutoTokenizer

from analyses.minilm_lora.train import BATCH, MAX_TOKENS, Example, Task

Array = NDArray[np.float32]
Update = Mapping[str, Array]
"""What is added to a map of the base, by the map's name."""


@dataclass(frozen=True)
class Questions:
    """A task with the head of its own adapter.

    Attributes
    ----------
    tune, test
        Disjoint parts of the task's test examples, half of each positive.
    all
        All its test examples.
    weight, bias
        The head, (384,) and a number.
    """

    folder: str
    train: tuple[Example, ...]
    tune: tuple[Example, ...]
    test: tuple[Example, ...]
    all: tuple[Example, ...]
    weight: Array
    bias: float

    def right(self, features: Array, examples: Sequence[Example]) -> int:
        """Return how many examples the head answers rightly."""
        said = features @ self.weight + self.bias > 0
        return int(np.sum(said == (np.array([y for _, y in examples]) > 0)))


def questions(task: Task, folder: Path, n_tune: int, n_test: int) -> Questions:
    """Return a task with its head, its test examples in two parts.

    ``make_task`` lists positives first, both in random order.
    """
    head = load_file(folder / task.folder / "head.safetensors")
    half, each = len(task.test) // 2, n_tune // 2
    stop = each + n_test // 2
    yes, no = task.test[:half], task.test[half:]
    return Questions(
        folder=task.folder,
        train=task.train,
        tune=yes[:each] + no[:each],
        test=yes[each:stop] + no[each:stop],
        all=task.test,
        weight=head["weight"][0],
        bias=float(head["bias"][0]),
    )


def read_update(folder: Path) -> dict[str, Array]:
    """Return the update of an adapter that PEFT has written."""
    config = LoraConfig.from_pretrained(folder)
    factors = load_file(folder / "adapter_model.safetensors")
    scale = config.lora_alpha / config.r
    return {
        name.removeprefix("base_model.model.").removesuffix(
            ".lora_A.weight"
        ): scale
        * factors[name.replace("lora_A", "lora_B")].astype(np.float32)
        @ A.astype(np.float32)
        for name, A in factors.items()
        if ".lora_A." in name
    }


class Encoder:
    """MiniLM with mean pooling, to which an update is added.

    Parameters
    ----------
    base
        Folder of the base model with its tokenizer.
    """

    def __init__(self, base: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(
            base, local_files_only=True
        )
        self.model = AutoModel.from_pretrained(
            base, add_pooling_layer=False, local_files_only=True
        ).eval()
        self.maps = dict(self.model.named_modules())
        self.own = {
            name: module.weight.detach().clone()
            for name, module in self.maps.items()
            if name.endswith((".query", ".value"))
        }
        self.tokens: dict[str, list[int]] = {}

    @torch.no_grad()
    def take(self, update: Update) -> None:
        """Add an update to the base; what was added before is gone."""
        if set(update) - set(self.own):
            raise KeyError(sorted(set(update) - set(self.own)))
        for name, weight in self.own.items():
            self.maps[name].weight.copy_(weight)
            if name in update:
                self.maps[name].weight += torch.from_numpy(update[name])

    @torch.inference_mode()
    def features(self, texts: Iterable[str]) -> dict[str, Array]:
        """Return the mean of the last hidden states, of each text."""
        for text in (texts := sorted(set(texts))):
            if text not in self.tokens:
                self.tokens[text] = self.tokenizer(
                    text, truncation=True, max_length=MAX_TOKENS
                )["input_ids"]
        texts.sort(key=lambda text: len(self.tokens[text]))
        found: dict[str, Array] = {}
        for start in range(0, len(texts), 4 * BATCH):
            some = texts[start : start + 4 * BATCH]
            tokens = self.tokenizer.pad(
                {"input_ids": [self.tokens[text] for text in some]},
                return_tensors="pt",
            )
            hidden = self.model(**tokens).last_hidden_state
            mask = tokens["attention_mask"].unsqueeze(-1)
            pooled = (hidden * mask).sum(1) / mask.sum(1)
            found |= zip(some, pooled.numpy(), strict=True)
        return found

    def right(
        self, update: Update, tasks: Sequence[Questions], part: str
    ) -> list[int]:
        """Return how many examples of a part each task gets right."""
        self.take(update)
        asked = [getattr(task, part) for task in tasks]
        found = self.features(text for part in asked for text, _ in part)
        return [
            task.right(np.stack([found[text] for text, _ in part]), part)
            for task, part in zip(tasks, asked, strict=True)
        ]
