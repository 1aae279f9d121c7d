"""Features beside transformers itself, one item at a time."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    CLIPConfig,
    CLIPModel,
    ViTImageProcessor,
    ViTMAEConfig,
    ViTMAEModel,
)

import spectra
from spectra.apply.extraction.asked import Asked
from spectra.apply.extraction.network import open_network
from spectra.cli.commands import command_of
from spectra.core.errors import UsageError
from spectra.core.settings import as_json
from tests.study.tiny_networks import bert, gpt2, t5, tokenizer, vit

ROOT = Path(__file__).resolve().parents[2]
TEXTS = (
    "w1 w2 w3",
    "w4",
    " ".join(f"w{i}" for i in range(35)),
    "w5 nobody knows",
    "w6 w7 w8 w9 w10 w11 w12",
    "w13\0w14 w15",
    "w2 w2",
    "\x0c w9",
)
MAKERS = (bert, gpt2, t5)


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing is fetched: a checkpoint's folder is all there is."""

    def refuse(*_):
        raise AssertionError("nothing is to be fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Return each network's folder, and the network."""
    root = tmp_path_factory.mktemp("networks")
    return {
        make.__name__: (root / make.__name__, make(root / make.__name__))
        for make in (*MAKERS, vit)
    }


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_bytes("\n".join(TEXTS).encode())
    return path


def copied(networks, name, tmp_path):
    """Return a copy of a network's folder that a test may break."""
    folder = tmp_path / f"copy-{name}"
    folder.mkdir()
    for file in networks[name][0].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def held(path):
    """Return what a file of features holds, by dataset."""
    found = {}
    with h5py.File(path) as file:
        for pool, group in file.items():
            found |= {f"{pool}/{i}": each[:] for i, each in group.items()}
    return found


def kept(path, key):
    with h5py.File(path) as file:
        return file.attrs[key]


POOLED = {
    "mean": lambda state: state[0].double().mean(0),
    "last": lambda state: state[0, -1].double(),
    "first": lambda state: state[0, 0].double(),
}


def one_by_one(model, inputs):
    """Return features by definition: no padding, one item a call."""
    rows = {}
    for each in inputs:
        with torch.no_grad():
            states = model(**each, output_hidden_states=True).hidden_states
        for name, pool in POOLED.items():
            for i, state in enumerate(states):
                rows.setdefault(f"{name}/{i}", []).append(pool(state).numpy())
    return {name: np.stack(values) for name, values in rows.items()}


def tokens(folder):
    own = AutoTokenizer.from_pretrained(folder)
    own.truncation_side = "right"
    return [
        own(text, truncation=True, max_length=24, return_tensors="pt")
        for text in TEXTS
    ]


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
@pytest.mark.parametrize(
    ("side", "batch"), [("right", 1), ("right", 3), ("left", 3), ("left", 16)]
)
def test_features_are_those_of_one_text_at_a_time(
    make, side, batch, texts, tmp_path
):
    model = make(tmp_path / "m", side=side)
    found = spectra.features(
        tmp_path / "m", tmp_path / "f.h5", texts=texts, pool=tuple(POOLED),
        batch=batch, device="cpu",
    )  # fmt: skip
    expected = one_by_one(model, tokens(tmp_path / "m"))
    features = held(tmp_path / "f.h5")
    assert features.keys() == expected.keys()
    assert len(features) == 9
    for name, values in expected.items():
        assert features[name].dtype == np.float32
        np.testing.assert_allclose(features[name], values, atol=2e-6)
    assert found.document["n_truncated"] == 1
    assert found.document["max_tokens"] == 24


def test_texts_of_several_windows_stay_in_their_rows(networks, tmp_path):
    folder, model = networks["gpt2"]
    lines = [f"w{i % 40} " * (1 + i * 7 % 20) for i in range(40)]
    (tmp_path / "t").write_text("\n".join(lines))
    spectra.features(
        folder, tmp_path / "f.h5", texts=tmp_path / "t", pool=["last"],
        layers=["2"], batch=1,
    )  # fmt: skip
    own = AutoTokenizer.from_pretrained(folder)
    inputs = [own(line, return_tensors="pt") for line in lines]
    expected = one_by_one(model, inputs)["last/2"]
    assert held(tmp_path / "f.h5").keys() == {"last/2"}
    np.testing.assert_allclose(
        held(tmp_path / "f.h5")["last/2"], expected, atol=2e-6
    )


@pytest.fixture
def images(tmp_path):
    """Return a folder of images: colours, greys, a palette, transparency."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, mode in enumerate(("RGB", "L", "RGBA", "P", "RGB"), start=8):
        pixels = rng.integers(0, 255, (40 + i, 50, 3), dtype=np.uint8)
        image = PIL.Image.fromarray(pixels).convert(mode)
        image.save(folder / f"i{i}.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_features_are_those_of_one_image_at_a_time(networks, images, tmp_path):
    folder, model = networks["vit"]
    found = spectra.features(
        folder, tmp_path / "f.h5", images=images, pool=tuple(POOLED), batch=2
    )
    names = ["i8.png", "i9.png", "i10.png", "i11.png", "i12.png"]
    assert json.loads(kept(tmp_path / "f.h5", "items")) == names
    scaled = ViTImageProcessor(size={"height": 32, "width": 32})
    inputs = [
        scaled(PIL.Image.open(images / name).convert("RGB"),
               return_tensors="pt")
        for name in names
    ]  # fmt: skip
    expected = one_by_one(model, inputs)
    features = held(tmp_path / "f.h5")
    assert features.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(features[name], values, atol=2e-6)
    assert found.document["n_skipped"] == 1
    assert found.document["max_tokens"] is None


def test_a_turned_image_is_turned_back(networks, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (32, 32, 3), np.uint8)
    upright = PIL.Image.fromarray(pixels)
    for name, image, turn in (("a", upright, 1), ("b", upright.rotate(90), 6)):
        (tmp_path / name).mkdir()
        exif = PIL.Image.Exif()
        exif[274] = turn
        image.save(tmp_path / name / "i.png", exif=exif)
        spectra.features(
            networks["vit"][0], tmp_path / f"{name}.h5", images=tmp_path / name
        )
    one, other = (held(tmp_path / f"{name}.h5")["mean/2"] for name in "ab")
    np.testing.assert_array_equal(one, other)


def test_which_items_they_are_is_kept(networks, tmp_path):
    (tmp_path / "t").write_bytes(
        b"\xef\xbb\xbfw1 w2\r\n\n \t\nw\xc3\xa4\nw3\n"
    )
    files = [tmp_path / f"{name}.h5" for name in ("bert", "gpt2")]
    for file in files:
        found = spectra.features(
            networks[file.stem][0], file, texts=tmp_path / "t"
        )
        assert found.document["n_items"] == 3
        assert found.document["n_skipped"] == 2
        assert found.document["n_truncated"] == 0
        assert json.loads(kept(file, "items")) == ["1", "4", "5"]
    own = hashlib.sha256(b"texts")
    for text in ("w1 w2", "wä", "w3"):
        raw = text.encode()
        own.update(len(raw).to_bytes(8, "little") + raw)
    assert {kept(file, "items_sha256") for file in files} == {own.hexdigest()}


def test_align_takes_the_most_alike_layers(networks, texts, tmp_path):
    (tmp_path / "t").write_text(
        "\n".join(f"w{i} w{i // 2}" for i in range(30))
    )
    for name in ("bert", "gpt2"):
        spectra.features(
            networks[name][0], tmp_path / f"{name}.h5", texts=tmp_path / "t"
        )
    found = spectra.alignment(
        tmp_path / "bert.h5", tmp_path / "gpt2.h5", draws=19, k=3,
        metric=["mutual-knn"],
    )  # fmt: skip
    (pair,) = found.pairs
    assert pair["n_items"] == 30
    assert {pair["layer_a"], pair["layer_b"]} <= {
        f"mean/{i}" for i in range(3)
    }
    assert [len(m["layers"]) for m in found.document["models"]] == [3, 3]


def test_the_file_is_of_the_checkpoint(networks, texts, tmp_path):
    folder, _ = networks["bert"]
    found = spectra.features(folder, tmp_path / "f.h5", texts=texts).document
    raw = (folder / "model.safetensors").read_bytes()
    header = raw[8 : 8 + int.from_bytes(raw[:8], "little")]
    (file,) = spectra.scan(folder).value.models[0].files
    digest = hashlib.sha256(file.header_sha256.encode()).hexdigest()
    assert found["fingerprint"] == digest
    assert b"bert.encoder" in header
    assert found["network"] == "BertModel"
    assert found["unused"] == sorted(
        name for name in load_file(folder / "model.safetensors")
        if name.startswith("cls.")
    )  # fmt: skip
    with h5py.File(tmp_path / "f.h5") as f:
        attributes = dict(f.attrs)
    assert attributes.keys() == found.keys() | {"items"}
    for key, value in found.items():
        text = attributes[key]
        assert value == (text if isinstance(value, str | int) else
                         json.loads(text))  # fmt: skip


def test_the_two_towers_of_clip(images, texts, tmp_path):
    torch.manual_seed(4)
    blocks = {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32,
    }  # fmt: skip
    config = CLIPConfig(
        text_config=blocks | {"vocab_size": 44, "eos_token_id": 3},
        vision_config=blocks | {"image_size": 32, "patch_size": 8},
    )
    model = CLIPModel(config).eval()
    model.save_pretrained(tmp_path / "clip")
    tokenizer(around=True).save_pretrained(tmp_path / "clip")
    size = {"height": 32, "width": 32}
    scaled = ViTImageProcessor(size=size)
    scaled.save_pretrained(tmp_path / "clip")
    spectra.features(tmp_path / "clip", tmp_path / "t.h5", texts=texts)
    spectra.features(tmp_path / "clip", tmp_path / "i.h5", images=images)
    expected = one_by_one(model.text_model, tokens(tmp_path / "clip"))
    np.testing.assert_allclose(
        held(tmp_path / "t.h5")["mean/2"], expected["mean/2"], atol=2e-6
    )
    name = json.loads(kept(tmp_path / "i.h5", "items"))[0]
    pixels = scaled(PIL.Image.open(images / name), return_tensors="pt")
    expected = one_by_one(model.vision_model, [pixels])
    np.testing.assert_allclose(
        held(tmp_path / "i.h5")["mean/2"][:1], expected["mean/2"], atol=2e-6
    )


def refusal(*arguments, **options):
    """Return what is refused; nothing is written by it."""
    out = Path(arguments[1])
    with pytest.raises(UsageError) as caught:
        spectra.features(*arguments, **options)
    assert not out.exists()
    assert list(out.parent.glob("*.tmp")) == []
    return f"{caught.value.code}: {caught.value}"


def test_weights_that_would_be_random_are_refused(networks, texts, tmp_path):
    folder = copied(networks, "bert", tmp_path)
    weights = load_file(folder / "model.safetensors")
    lost = "bert.encoder.layer.1.output.dense.weight"
    rest = {name: each for name, each in weights.items() if name != lost}
    save_file(rest, folder / "model.safetensors", {"format": "pt"})
    told = refusal(folder, tmp_path / "f.h5", texts=texts)
    assert told.startswith("E_EXTRACT: weights of the network are not in")
    assert "encoder.layer.1.output.dense.weight" in told
    rest[lost] = torch.zeros(16, 31)
    save_file(rest, folder / "model.safetensors", {"format": "pt"})
    told = refusal(folder, tmp_path / "f.h5", texts=texts)
    assert "have another shape in the checkpoint" in told
    assert "encoder.layer.1.output.dense.weight" in told
    other = {f"timm.{name}": each for name, each in weights.items()}
    save_file(other, folder / "model.safetensors", {"format": "pt"})
    assert " more" in refusal(folder, tmp_path / "f.h5", texts=texts)


class Marks:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


def test_a_pickle_is_never_opened(networks, texts, tmp_path):
    folder = copied(networks, "bert", tmp_path)
    mark = tmp_path / "mark"
    torch.save({"bert.w": Marks(mark)}, folder / "pytorch_model.bin")
    (folder / "tokenizer.pkl").write_bytes(b"not a pickle")
    spectra.features(folder, tmp_path / "f.h5", texts=texts)
    (folder / "model.safetensors").unlink()
    told = refusal(folder, tmp_path / "g.h5", texts=texts)
    assert told.startswith("E_EXTRACT: ")
    assert "PICKLE_REFUSED" in told
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["bert", "unheard-of"])
def test_code_of_a_checkpoint_is_never_run(networks, texts, tmp_path, kind):
    folder = copied(networks, "bert", tmp_path)
    mark = tmp_path / "mark"
    (folder / "own.py").write_text(f"import os; os.mkdir({str(mark)!r})\n")
    own = {f"Auto{part}": "own.Own" for part in ("Config", "Model")}
    for name, more in (
        ("config.json", {"auto_map": own, "model_type": kind}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": "own.Own"}}),
    ):
        content = json.loads((folder / name).read_text()) | more
        content["attn_implementation"] = "stranger/kernel"
        content["_attn_implementation"] = "stranger/kernel"
        (folder / name).write_text(json.dumps(content))
    if kind == "bert":
        spectra.features(folder, tmp_path / "f.h5", texts=texts)
        spectra.features(networks["bert"][0], tmp_path / "g.h5", texts=texts)
        one, other = (held(tmp_path / f"{name}.h5") for name in "fg")
        np.testing.assert_array_equal(one["mean/2"], other["mean/2"])
    else:
        told = refusal(folder, tmp_path / "f.h5", texts=texts)
        assert "transformers cannot load it" in told
        with pytest.raises(UsageError, match="transformers cannot load it"):
            open_network(folder, "texts", Asked())
    assert not mark.exists()


def test_a_network_that_masks_at_random_is_refused(images, tmp_path):
    config = ViTMAEConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, image_size=32, patch_size=8,
    )  # fmt: skip
    ViTMAEModel(config).save_pretrained(tmp_path / "mae")
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size).save_pretrained(tmp_path / "mae")
    told = refusal(tmp_path / "mae", tmp_path / "f.h5", images=images)
    assert "gives the same items other features each time" in told


def without_tokenizer(folder):
    (folder / "tokenizer.json").unlink()


def with_larger_vocabulary(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    content["model"]["vocab"]["nobody"] = 44
    (folder / "tokenizer.json").write_text(json.dumps(content))


def quantised(folder):
    content = json.loads((folder / "config.json").read_text())
    content["quantization_config"] = {"quant_method": "gptq"}
    (folder / "config.json").write_text(json.dumps(content))


def an_adapter(folder):
    (folder / "config.json").unlink()
    factors = {"A": torch.zeros(2, 4), "B": torch.zeros(4, 2)}
    weights = {
        f"base_model.model.q.lora_{side}.weight": factor
        for side, factor in factors.items()
    }
    (folder / "model.safetensors").unlink()
    save_file(weights, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2}
    (folder / "adapter_config.json").write_text(json.dumps(config))


def with_a_weight_that_is_no_number(folder):
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.LayerNorm.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (without_tokenizer, "no tokenizer can be loaded: no tokenizer.json"),
        (with_larger_vocabulary, "the tokenizer has a token 44"),
        (quantised, "is quantised"),
        (an_adapter, "is an adapter"),
        (with_a_weight_that_is_no_number, "features of mean/0 are no finite"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_no_features_come_of(broken, words, networks, texts, tmp_path):
    folder = copied(networks, "bert", tmp_path)
    broken(folder)
    told = refusal(folder, tmp_path / "f.h5", texts=texts)
    assert told.startswith("E_EXTRACT: ")
    assert words in told


def test_images_need_their_settings(networks, images, tmp_path):
    folder = copied(networks, "vit", tmp_path)
    (folder / "preprocessor_config.json").unlink()
    told = refusal(folder, tmp_path / "f.h5", images=images)
    assert told.startswith("E_EXTRACT: no image processor can be loaded")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"w1\nw\xff\n", "is not UTF-8 in line 2"),
        (b"\n\n \n", "holds no text"),
        (None, "No such file"),
    ],
)
def test_texts_that_cannot_be_used(content, words, networks, tmp_path):
    if content is not None:
        (tmp_path / "t").write_bytes(content)
    told = refusal(
        networks["bert"][0], tmp_path / "f.h5", texts=tmp_path / "t"
    )
    assert told.startswith("E_ITEMS: ")
    assert words in told


def test_a_text_without_a_token_is_named(networks, tmp_path):
    (tmp_path / "t").write_text("w1\n\nw2 \x1c \nw3\n\u200b\n")
    spectra.features(
        networks["gpt2"][0], tmp_path / "f.h5", texts=tmp_path / "t"
    )
    folder = copied(networks, "gpt2", tmp_path)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {
        "type": "Replace", "pattern": {"Regex": "w3|\u200b"}, "content": ""
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(content))
    told = refusal(folder, tmp_path / "g.h5", texts=tmp_path / "t")
    assert told.startswith("E_ITEMS: the text of line 4 has no token")


def test_a_broken_image_is_named(networks, images, tmp_path):
    (images / "i10.png").write_bytes(b"\x89PNG broken")
    told = refusal(networks["vit"][0], tmp_path / "f.h5", images=images)
    assert told.startswith("E_ITEMS: i10.png is no image")
    for image in images.glob("*.png"):
        image.unlink()
    told = refusal(networks["vit"][0], tmp_path / "f.h5", images=images)
    assert told.startswith("E_ITEMS: ")
    assert "holds no image" in told


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"pool": ["max"]}, "E_EXTRACT: there is no pooling 'max'"),
        ({"dtype": "int8"}, "E_EXTRACT: there is no dtype"),
        ({"batch": 0}, "E_EXTRACT: batch 0"),
        ({"max_tokens": 1}, "E_EXTRACT: 1 tokens leave no room"),
        ({"layers": ["7"]}, "E_NO_LAYER: of layers 0 to 2 none matches"),
        ({"device": "tpu"}, "E_DEVICE: there is no device 'tpu'"),
        ({"device": "cuda:x"}, "E_DEVICE: there is no device 'cuda:x'"),
        ({"device": "cuda:999"}, "E_DEVICE: torch finds"),
        ({"images": "images"}, "E_ITEMS: features are either"),
    ],
)
def test_options_that_cannot_be(options, code, networks, texts, tmp_path):
    given = {"texts": texts} | options
    told = refusal(networks["bert"][0], tmp_path / "f.h5", **given)
    assert told.startswith(code)


def test_where_nothing_may_be_written(networks, texts, tmp_path):
    folder = networks["bert"][0]
    told = refusal(folder, tmp_path / "f.npy", texts=texts)
    assert told.startswith("E_OUTPUT: ")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["mean/0"] = np.ones(3)
    with pytest.raises(UsageError, match="was not made by this command"):
        spectra.features(folder, tmp_path / "other.h5", texts=texts)
    for name in "ab":
        (tmp_path / "two" / name).mkdir(parents=True)
        weights = {"w": torch.ones(2, 2)}
        save_file(weights, tmp_path / "two" / name / "model.safetensors")
    told = refusal(tmp_path / "two", tmp_path / "f.h5", texts=texts)
    assert told.startswith("E_MODEL: ")
    assert "2 checkpoints, not one" in told


def test_half_the_bytes(networks, texts, tmp_path):
    folder = copied(networks, "bert", tmp_path)
    for name, half in (("f", False), ("h", True)):
        spectra.features(
            folder, tmp_path / f"{name}.h5", texts=texts, half=half
        )
    whole, half = (held(tmp_path / f"{name}.h5")["mean/2"] for name in "fh")
    assert half.dtype == np.float16
    np.testing.assert_array_equal(half, whole.astype(np.float16))
    weights = load_file(folder / "model.safetensors")
    weights["bert.embeddings.LayerNorm.bias"] += 1e5
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    told = refusal(folder, tmp_path / "g.h5", texts=texts, half=True)
    assert "features of mean/0 are no finite numbers of float16" in told


def test_a_network_that_computes_in_bfloat16(networks, texts, tmp_path):
    for dtype in ("float32", "bfloat16"):
        spectra.features(
            networks["bert"][0], tmp_path / f"{dtype}.h5", texts=texts,
            dtype=dtype,
        )  # fmt: skip
    one, other = (held(tmp_path / f"{d}.h5")["mean/2"]
                  for d in ("float32", "bfloat16"))  # fmt: skip
    size = np.linalg.norm(one)
    assert 1e-4 * size < np.linalg.norm(one - other) < 2e-2 * size


def test_what_was_there_stays_when_it_is_stopped(networks, texts, tmp_path):
    folder, out = networks["bert"][0], tmp_path / "f.h5"
    spectra.features(folder, out, texts=texts)
    before = out.read_bytes()

    def stop(event):
        assert event.total == len(TEXTS)
        if event.done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        spectra.features(folder, out, texts=texts, batch=2, on_event=stop)
    assert out.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        "f.h5", "texts.txt"
    ]  # fmt: skip


@pytest.mark.slow
def test_killed_in_the_middle(networks, texts, tmp_path):
    folder, out = networks["bert"][0], tmp_path / "f.h5"
    code = (
        "import os, signal, sys, spectra\n"
        "def kill(event):\n"
        "    if event.done > 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "spectra.features(sys.argv[1], sys.argv[2], texts=sys.argv[3],"
        " batch=1, on_event=kill)\n"
    )
    words = [sys.executable, "-c", code, str(folder), str(out), str(texts)]
    done = subprocess.run(
        words, check=False, capture_output=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    spectra.features(folder, out, texts=texts)
    assert list(tmp_path.glob(".*")) == []


def test_without_the_packages(networks, texts, tmp_path, monkeypatch):
    for name in ("inputs", "network"):
        part = f"spectra.apply.extraction.{name}"
        monkeypatch.delitem(sys.modules, part, raising=False)
        monkeypatch.delattr(f"spectra.apply.extraction.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    told = refusal(networks["bert"][0], tmp_path / "f.h5", texts=texts)
    assert told.startswith("E_EXTRA: features needs torch, transformers")
    assert "hf-spectra[features]" in told


def test_the_command(networks, texts, tmp_path, capsys):
    words = [str(networks["bert"][0]), "--texts", str(texts), "-o"]
    words += [str(tmp_path / "f.h5"), "--pool", "last", "--layers", "2"]
    command_of("features").main(words, standalone_mode=False)
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert lines[1].split() == ["last/2", "16"]
    assert lines[2] == "texts that were cut: 1"
    assert lines[3].startswith("BertModel: 1 layer of 8 items -> ")
    command_of("features").main([*words, "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    assert document["layers"] == [{"name": "last/2", "width": 16}]
    page = (ROOT / "docs" / "features.md").read_text("utf-8")
    explained = {
        part
        for text in re.findall(r"`([^`\n]+)`", page)
        for part in text.split(".")
    }
    assert document.keys() | {"items"} <= explained
    assert set(as_json(Asked())) <= explained
