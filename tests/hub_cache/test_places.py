"""Where the cache is."""

import os
import pwd
from pathlib import Path

import pytest

from spectra.core import places
from spectra.core.errors import UsageError
from spectra.core.places import cache_folder


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Start with a home, and with nothing said; return a checkout."""
    for name in ("SPECTRA_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home-of-somebody")
    checkout = tmp_path / "checkout"
    (checkout / "cache").mkdir(parents=True)
    (checkout / "cache" / "README.md").write_text("")
    (checkout / "pyproject.toml").write_text("")
    monkeypatch.setattr(places, "_CHECKOUT", checkout)
    return checkout


def test_what_is_named_wins(monkeypatch, environment):
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("SPECTRA_CACHE", "/named/./here")
    assert cache_folder() == Path("/named/here")
    monkeypatch.setenv("SPECTRA_CACHE", "~/here")
    assert cache_folder() == Path("/home-of-somebody/here")
    monkeypatch.setenv("SPECTRA_CACHE", "here")
    assert cache_folder() == Path.cwd() / "here"
    monkeypatch.setenv("SPECTRA_CACHE", "")
    assert cache_folder() == environment / "cache"


def test_this_is_a_checkout(monkeypatch):
    monkeypatch.undo()
    root = Path(places.__file__).resolve().parents[2]
    assert root == places._CHECKOUT


@pytest.mark.parametrize("missing", ["pyproject.toml", "cache/README.md"])
def test_installed_it_is_the_users_cache(monkeypatch, environment, missing):
    (environment / missing).unlink()
    assert cache_folder() == Path("/home-of-somebody/.cache/spectra")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/spectra")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path("/home-of-somebody/.cache/spectra")


def test_a_checkout_of_somebody_else_is_passed_over(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert cache_folder() == Path("/home-of-somebody/.cache/spectra")


def test_no_home_is_a_usage_error(monkeypatch, environment):
    def nobody(_):
        raise KeyError

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.delenv("HOME")
    assert cache_folder() == environment / "cache"
    (environment / "pyproject.toml").unlink()
    with pytest.raises(UsageError, match="set SPECTRA_CACHE") as caught:
        cache_folder()
    assert caught.value.code == "E_CACHE"


def test_no_home_but_an_account_is_none(monkeypatch, environment):
    (environment / "pyproject.toml").unlink()
    monkeypatch.delenv("HOME")
    home = pwd.getpwuid(os.getuid()).pw_dir
    assert cache_folder() == Path(home) / ".cache" / "spectra"
