"""The folder of a merged checkpoint: whole, or none that would be loaded."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from spectra.core.errors import UsageError
from spectra.store.atomic import refusing, replacing, sweep
from spectra.store.outputs import check_folder
from spectra.store.shards import INDEX, Shard, is_weights
from spectra.study.merging.asked import is_merged
from spectra.study.merging.papers import PAPERS

__all__ = ["CARD", "FullFolder"]

CARD = "README.md"


@dataclass(frozen=True, slots=True)
class FullFolder:
    """Where a checkpoint is written.

    Attributes
    ----------
    shards
        Its weights.
    papers
        Names of what else is written, beside the card.
    """

    path: Path
    shards: Sequence[Shard]
    papers: Collection[str]

    @property
    def names(self) -> list[str]:
        """Return the names of all files, the index before the others."""
        index = [INDEX] if len(self.shards) > 1 else []
        return [*index, CARD, *self.papers, *self._weights]

    @property
    def _weights(self) -> list[str]:
        return [shard.name for shard in self.shards]

    def check(self, inputs: Collection[str], /) -> None:
        """Refuse a folder that holds anything but an older merge.

        Parameters
        ----------
        inputs
            Files that are read.

        Raises
        ------
        UsageError
            E_OUTPUT.
        """
        held = list(self.path.iterdir()) if self.path.is_dir() else []
        weights = [each for each in held if is_weights(each)]
        files = [each for each in weights if each.name != INDEX]
        ours = [each.name for each in files if is_merged(each)]
        if len(ours) < len(files):
            raise UsageError(
                "E_OUTPUT",
                f"{self.path} holds weights that were not made by this"
                " command",
                advice="choose another",
            )
        check_folder(
            self.path,
            {*self.names, *(each.name for each in weights), *PAPERS},
            mark=(ours or self._weights)[0],
            is_ours=is_merged,
            inputs=inputs,
        )

    @contextmanager
    def drafts(self) -> Iterator[Mapping[str, Path]]:
        """Give a path for each file, which it is renamed from in the end.

        What would be loaded is taken away before the first rename and comes
        back with the last one: a crash between them leaves no checkpoint of
        parts that do not belong together. The same command makes it whole.
        """
        if self.path.is_dir():
            with refusing(self.path):
                sweep(self.path)
        found: dict[str, Path] = {}
        with ExitStack() as stack:
            # Left in the opposite order: weights, papers, the index.
            for name in self.names:
                if name == self._weights[0]:
                    stack.push(_in_the_end(self._clear))
                found[name] = stack.enter_context(replacing(self.path / name))
            stack.push(_in_the_end(self._close))
            yield found

    def _close(self) -> None:
        """Take the index of an older merge away."""
        with refusing(self.path):
            (self.path / INDEX).unlink(missing_ok=True)

    def _clear(self) -> None:
        """Take away what an older merge has and this one has not."""
        with refusing(self.path):
            for each in self.path.iterdir():
                if each.name not in self.names and each.suffix != ".tmp":
                    each.unlink()


def _in_the_end(do: Callable[[], None]) -> Callable[..., None]:
    """Return what an `ExitStack` calls, which acts where nothing failed."""

    def leave(kind: object, *_: object) -> None:
        if kind is None:
            do()

    return leave
