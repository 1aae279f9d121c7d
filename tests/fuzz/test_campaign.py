"""A fixed number of mutants of each reader, and how to come back to one."""

from random import Random

import pytest

from tests.fuzz import __main__ as command
from tests.fuzz.campaign import Finding, campaign, tally
from tests.fuzz.headers import Headers

NAMES = (
    "index", "adapter_config", "config", "card", "kohya", "adapter",
    "diffusers", "catalog", "run", "journal",
)  # fmt: skip


def test_every_target_has_its_tests(known):
    assert set(known) == {"header", *NAMES}


def test_headers_agree_with_safetensors():
    found = tally(Headers(), seed=6, count=5_000)
    assert 500 < found["accepted"] < 2_500


@pytest.mark.slow
def test_two_hundred_thousand_headers_agree_with_safetensors():
    found = tally(Headers(), seed=7, count=200_000)
    assert found.total() == 200_000
    assert 20_000 < found["accepted"] < 100_000
    read_by_the_library = {code for code in found if "safetensors" in code}
    assert len(read_by_the_library) >= 8, read_by_the_library


@pytest.mark.parametrize("name", NAMES)
def test_other_readers_keep_their_promises(known, name):
    found = tally(known[name], seed=6, count=100)
    assert len(found) > 1 or name == "card"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_other_readers_keep_their_promises_for_longer(known, name):
    assert tally(known[name], seed=7, count=1_000).total() == 1_000


@pytest.mark.parametrize("name", ["header", *NAMES])
def test_a_mutant_depends_on_its_number_alone(known, name):
    random = Random(5 * 2**40 + 9)
    one = known[name].mutant(random)
    random.seed(5 * 2**40 + 9)
    assert known[name].mutant(random) == one


class Touchy:
    """A target that does not bear one byte."""

    name = "touchy"

    def mutant(self, random):
        return random.randbytes(2)

    def check(self, mutant):
        assert 7 not in mutant
        return "accepted"


def test_a_finding_names_what_it_takes_to_see_it_again():
    with pytest.raises(Finding, match="touchy: mutant") as caught:
        tally(Touchy(), seed=3, count=10_000)
    found = caught.value
    assert 7 in found.mutant
    with pytest.raises(Finding) as again:
        next(campaign(Touchy(), seed=3, start=found.number))
    assert again.value.mutant == found.mutant


def test_the_command_writes_the_mutant_down(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        command, "targets", lambda folder: {"touchy": Touchy()}
    )
    assert command.main(["--seconds", "60", "--seed", "3"]) == 1
    (path,) = tmp_path.iterdir()
    assert 7 in path.read_bytes()
    said = capsys.readouterr().out
    assert f"--replay {path.name}" in said
    assert "--seed 3 --start" in said
    with pytest.raises(AssertionError):
        command.main(["--only", "touchy", "--replay", path.name])


def test_the_command_ends_when_it_is_time(monkeypatch, capsys):
    class Calm(Touchy):
        def check(self, mutant):
            return "accepted"

    monkeypatch.setattr(command, "targets", lambda folder: {"calm": Calm()})
    assert command.main(["--seconds", "0.1", "--seed", "3"]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert command.main(["--only", "other"]) == 2
