"""Files beside weights, and weights by their names, as `scan` reads them.

There is no library to compare with, but there is what must be so: a fault has
a code that is documented, and what is accepted was there before.
"""

import json
import math

import spectra
from spectra.core.errors import SpectraError
from spectra.weights.catalog_file import catalog_from, catalog_text
from tests.fuzz.documented import documented
from tests.fuzz.drafts import draft_of
from tests.fuzz.grammar import changed
from tests.fuzz.headers import drawn, file_like, reference
from tests.fuzz.octets import bent
from tests.fuzz.trees import Pairs, grown, text_of

__all__ = ["Metadata", "Paper", "Weights"]


class Paper:
    """Mutants of one small file of a checkpoint.

    Parameters
    ----------
    name
        Of the target.
    folder
        Of the checkpoint, which is sound with the first seed.
    file
        That is changed.
    seeds
        What it may hold, as bytes.
    check_layer
        Raises where a layer's source is not what the file says, if given.
    is_json
        Whether mutants may be made of its grammar.
    """

    def __init__(
        self, name, folder, file, seeds, *, check_layer=None, is_json=True
    ):
        self.name, self.folder = name, folder
        self.path, self.seeds = folder / file, seeds
        self.trees = [grown(seed) for seed in seeds] if is_json else []
        self.check_layer = check_layer
        self.held = _held(folder)

    def mutant(self, random):
        """Return the next content of the file."""
        if not self.trees or random.random() < 0.3:
            return bent(random.choice(self.seeds), random)
        tree = random.choice(self.trees)
        for _ in range(random.choice((1, 1, 2, 3))):
            tree = changed(tree, random)
        return text_of(tree).encode(errors="surrogatepass")

    def check(self, mutant):
        """Scan the folder with it."""
        self.path.write_bytes(mutant)
        outcome, models = scanned(self.folder)
        for model in models:
            assert {_place(ref) for ref in _refs(model)} <= self.held
            if self.check_layer is not None:
                fields = json.loads(mutant, parse_int=float)
                for _, layer in model.layers:
                    self.check_layer(layer, fields)
        return outcome


class Weights:
    """Mutants of weights whose names mean something, such as adapters'."""

    def __init__(self, name, folder, file):
        self.name, self.folder = name, folder
        self.path = folder / file
        self.raw = self.path.read_bytes()
        self.draft = draft_of(self.raw)

    def mutant(self, random):
        """Return the next content of the file."""
        if random.random() < 0.2:
            return bent(self.raw, random)
        return drawn(self.draft, random)

    def check(self, mutant):
        """Scan the folder with it."""
        self.path.write_bytes(mutant)
        outcome, models = scanned(self.folder)
        theirs = reference(mutant)
        for model in models:
            assert [file.path for file in model.files] == [str(self.path)]
            for ref in _refs(model):
                dtype, shape, content = theirs[ref.name]
                assert ref.dtype == dtype
                # Convolutions are matrices, fused layers are rows of one.
                assert math.prod(ref.shape) <= math.prod(shape)
                assert mutant[ref.start : ref.stop] in content
        return outcome


class Metadata(Weights):
    """Mutants of a JSON text that the metadata of weights holds."""

    def __init__(self, name, folder, file, key):
        super().__init__(name, folder, file)
        texts = dict(dict(self.draft.header)["__metadata__"])
        self.key, self.tree = key, grown(texts[key])

    def mutant(self, random):
        """Return the next content of the file."""
        tree = self.tree
        for _ in range(random.choice((1, 1, 2, 3))):
            tree = changed(tree, random)
        metadata = Pairs([(self.key, str(text_of(tree)))])
        rest = [p for p in self.draft.header if p[0] != "__metadata__"]
        header = Pairs([("__metadata__", metadata), *rest])
        return file_like(header, bytes(self.draft.content), random)


def scanned(folder):
    """Return the outcome of a scan, and the models that it accepts."""
    try:
        catalog = spectra.scan(folder).value
    except SpectraError as fault:
        return documented(fault.code), ()
    codes = sorted({documented(entry.code) for entry in catalog.quarantine})
    text = catalog_text(catalog)
    assert catalog_from(text, path="f") == catalog
    return " ".join(codes) or "accepted", catalog.models


def _refs(model):
    return [ref for _, layer in model.layers for ref in layer.tensors]


def _place(ref):
    return ref.file, ref.start, ref.stop, ref.dtype


def _held(folder):
    """Return where the tensors of sound files lie, as the library says."""
    places = set()
    for path in folder.glob("*.safetensors"):
        raw = path.read_bytes()
        start = 8 + int.from_bytes(raw[:8], "little")
        for _, entry in grown(raw[8:start]):
            fields = dict(entry)
            if "data_offsets" in fields:
                begin, end = (start + at for at in fields["data_offsets"])
                places.add((str(path), begin, end, fields["dtype"]))
    return places
