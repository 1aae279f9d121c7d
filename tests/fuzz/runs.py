"""What a fit leaves behind: its run file, and the journal of a broken one.

A mutant of a run file is that file. A mutant of a journal is a folder, as
JSON: a list of names, each with what stands there.
"""

import base64
import contextlib
import json
import shutil

import spectra
from spectra.core.errors import IntegrityError, SpectraError, UsageError
from spectra.store.journal import Journal
from spectra.store.runfile import is_run, read_report
from spectra.store.seal import BLOCK
from spectra.study.verify import verify
from spectra.subspaces.result import LayerOutcome
from tests.checkpoints import adapters
from tests.fuzz.octets import bent

__all__ = ["Journals", "Runs"]

_HEX = "0123456789abcdef"


def _fitted(folder):
    """Return the path of a small run."""
    shapes = {"q": (5, 4), "v": (4, 6)}
    adapters(folder / "a", [2, 2, 1], shapes)
    run = spectra.fit(spectra.scan(folder / "a"), folder / "run.h5")
    return run.path


class Runs:
    """Mutants of one run file: none may pass for what was written."""

    name = "run"

    def __init__(self, folder):
        self.path = _fitted(folder)
        self.raw = self.path.read_bytes()

    def mutant(self, random):
        """Return the next file: its block changed more often than the rest."""
        block, rest = self.raw[:BLOCK], self.raw[BLOCK:]
        odd = random.random()
        if odd < 0.3:
            return bent(block, random) + rest
        if odd < 0.5:
            # Where HDF5 begins: it is asked what a file is without its seal.
            return bent(block[:9], random) + bent(block[9:] + rest, random)
        if odd < 0.6:
            return block + bent(rest[:2048], random) + rest[2048:]
        return bent(self.raw, random)

    def check(self, mutant):
        """Load it; only the bytes that were written may be loaded."""
        self.path.write_bytes(mutant)
        is_run(self.path)
        codes = {_refusal(spectra.load, self.path)}
        codes.add(_refusal(read_report, self.path))
        if mutant == self.raw:
            assert codes == {"accepted"}
        else:
            assert codes <= {"E_INTEGRITY", "E_SCHEMA"}
        return " ".join(sorted(codes))


def _refusal(read, path):
    try:
        read(path)
    except (IntegrityError, UsageError) as fault:
        return fault.code
    return "accepted"


class Journals:
    """Mutants of a journal's folder: a unit is whole, or not there."""

    name = "journal"

    def __init__(self, folder):
        value = spectra.load(_fitted(folder)).value
        self.run = folder / "broken.h5"
        self.folder = folder / "broken.h5.work"
        self.folder.mkdir()
        kept = Journal(self.folder)
        outcomes = [
            *(LayerOutcome(layer, ()) for layer in value.layers),
            LayerOutcome(None, ()),
        ]
        self.units = {}
        for number, outcome in enumerate(outcomes):
            unit = kept.keep(f"{number:x}" * 64, outcome)
            self.units[unit.key] = (unit, unit.path.read_bytes())
        self.kept = kept

    def mutant(self, random):
        """Return the next folder."""
        files = [
            [unit.path.name, "file", content]
            for unit, content in self.units.values()
        ]
        for _ in range(random.choice((1, 1, 2, 3))):
            random.choice(_CHANGES)(random.choice(files), files, random)
        return json.dumps(
            [
                [name, kind, base64.b64encode(content).decode()]
                for name, kind, content in files
            ]
        ).encode()

    def check(self, mutant):
        """Find each key, and look at all of it as `verify` does."""
        self._fill(json.loads(mutant))
        try:
            state = verify(self.run)
            whole, lost = state.n_layers, len(state.lost)
            found = [key for key in self.units if self._is_found(key)]
        except SpectraError as fault:
            return fault.code
        assert len(found) <= whole
        with contextlib.suppress(SpectraError):
            self.kept.clear()
        return f"{len(found)} found, {lost} lost"

    def _fill(self, entries):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        for name, kind, text in entries:
            path = self.folder / name
            if path.exists() or path.is_symlink():
                continue
            if kind == "folder":
                path.mkdir()
            elif kind == "link":
                path.symlink_to("nowhere")
            else:
                path.write_bytes(base64.b64decode(text))

    def _is_found(self, key):
        unit = self.kept.find(key)
        if unit is None:
            return False
        sound, content = self.units[key]
        assert unit.path.read_bytes() == content
        assert unit == sound
        return True


def _bend(entry, _, random):
    entry[2] = bent(entry[2], random)


def _rename(entry, _, random):
    """One digit of the key, or of the hash, becomes another."""
    place = random.randrange(len(entry[0]))
    new = random.choice((random.choice(_HEX), "", "x", "."))
    entry[0] = entry[0][:place] + new + entry[0][place + 1 :]


def _exchange(entry, files, random):
    """Two files take each other's content."""
    other = random.choice(files)
    entry[2], other[2] = other[2], entry[2]


def _another(entry, files, random):
    """A second file of the same key, which has no hash that fits."""
    key = entry[0][:64]
    digest = "".join(random.choices(_HEX, k=64))
    name = random.choice((f"{key}.{digest}", f"{key}.txt", f"{key}."))
    files.append([name, "file", bent(entry[2], random)])


def _foreign(_, files, random):
    name = random.choice(
        ("notes.txt", ".hidden", f".{'0' * 64}.tmp", "lock", "manifest.json")
    )
    files.append([name, "file", bent(b"[1, 2]", random)])


def _of_another_kind(entry, _, random):
    entry[1] = random.choice(("folder", "link"))


def _lose(entry, files, _):
    if len(files) > 1:
        files.remove(entry)


_CHANGES = (
    _bend, _bend, _rename, _rename, _exchange, _another, _foreign,
    _of_another_kind, _lose,
)  # fmt: skip
