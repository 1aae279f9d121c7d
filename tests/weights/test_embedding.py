"""Vocabularies and input embeddings, as transformers and tokenizers write."""

import json

import numpy as np
import pytest
import transformers
from numpy.testing import assert_array_equal

from spectra.core.errors import Quarantine
from spectra.weights.features import arrays
from spectra.weights.features.embedding import EMBEDDINGS, read_embedding
from spectra.weights.features.vocabulary import read_vocabulary
from spectra.weights.folders import open_folder
from spectra.weights.limits import Limits
from tests.checkpoints import stored, write_dense

NAME = "model.embed_tokens.weight"


def opened(path):
    return open_folder(path, root=path)


def vocabulary(path):
    return read_vocabulary(opened(path), limits=Limits())


def embedding(path):
    return read_embedding(opened(path), limits=Limits())


def tokenizer(vocab, added=()):
    return json.dumps({"model": {"vocab": vocab}, "added_tokens": list(added)})


def code(read, path):
    with pytest.raises(Quarantine) as caught:
        read(path)
    return caught.value.code


WORDS = {"<unk>": 0, "a": 1, "b": 2, "ab": 3, "c": 4}


def bert():
    return transformers.BertTokenizerFast(vocab=WORDS)


def gpt2():
    return transformers.GPT2TokenizerFast(vocab=WORDS, merges=[("a", "b")])


def t5():
    pieces = [(word, -1.0) for word in WORDS]
    return transformers.T5TokenizerFast(vocab=pieces, extra_ids=3)


@pytest.mark.parametrize(
    ("make", "kind"),
    [(bert, "WordPiece"), (gpt2, "BPE"), (t5, "Unigram")],
)
def test_what_transformers_writes(tmp_path, make, kind):
    made = make()
    made.add_tokens(["added"])
    made.save_pretrained(tmp_path)
    text = (tmp_path / "tokenizer.json").read_text("utf-8")
    assert json.loads(text)["model"]["type"] == kind
    found = vocabulary(tmp_path)
    assert found == made.get_vocab()
    assert found.items() >= {**WORDS, "added": len(found) - 1}.items()


def test_a_text_of_one_token_a_line(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("[PAD]\nä\n##b\n".encode())
    assert vocabulary(tmp_path) == {"[PAD]": 0, "ä": 1, "##b": 2}
    (tmp_path / "vocab.txt").write_bytes(b"a\r\nb")
    assert vocabulary(tmp_path) == {"a": 0, "b": 1}


def test_the_json_comes_first(tmp_path):
    (tmp_path / "vocab.txt").write_text("x\n")
    (tmp_path / "tokenizer.json").write_text(tokenizer({"y": 0}))
    assert vocabulary(tmp_path) == {"y": 0}


def test_what_is_not_one_to_one_is_left_out(tmp_path):
    added = [{"id": 0, "content": "a"}, {"id": 1, "content": "twin"}]
    (tmp_path / "tokenizer.json").write_text(
        tokenizer({"a": 0, "b": 1, "c": 2}, added)
    )
    assert vocabulary(tmp_path) == {"a": 0, "c": 2}
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "vocab.txt").write_text("a\nb\na\n")
    assert vocabulary(tmp_path) == {"b": 1}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"model": {}}', '{"model": {"vocab": 3}}',
     tokenizer({"a": "0"}), tokenizer({"a": True}), tokenizer([["a"], []]),
     tokenizer([3]), tokenizer({"a": 1.5}),
     '{"model": {"vocab": {}}, "added_tokens": {"a": 1}}'],
)  # fmt: skip
def test_tokenizers_that_are_none(tmp_path, text):
    (tmp_path / "tokenizer.json").write_text(text)
    assert code(vocabulary, tmp_path) == "VOCABULARY"


def test_texts_that_are_none(tmp_path):
    assert code(vocabulary, tmp_path) == "VOCABULARY"
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    assert code(vocabulary, tmp_path) == "VOCABULARY"


def checkpoint(path, tensors, words, dtype="F32"):
    write_dense(path, tensors, dtype)
    (path / "vocab.txt").write_text("\n".join(words) + "\n")
    return path


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_rows_come_in_the_order_of_the_tokens(tmp_path, dtype, monkeypatch):
    monkeypatch.setattr(arrays, "_BLOCK", 30)  # a few rows at once
    E = np.random.default_rng(0).standard_normal((9, 4))
    path = checkpoint(tmp_path / "m", {NAME: E}, "abcdefghi", dtype)
    found = embedding(path)
    assert found.tensor.name == NAME
    wanted = stored(E, dtype)[[7, 0, 8, 3]]
    assert_array_equal(found.read(["h", "a", "i", "d"]), wanted)


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_by_every_name(tmp_path, name):
    E = np.eye(5, 3)
    tensors = {f"model.{name}.weight": E, "lm_head.weight": 2 * E}
    path = checkpoint(tmp_path / "m", tensors, "abcde")
    assert embedding(path).tensor.name == f"model.{name}.weight"


def test_of_several_the_first_by_the_table(tmp_path):
    tensors = {
        "decoder.embed_tokens.weight": np.eye(5),
        "encoder.embed_tokens.weight": np.eye(5),
        "encoder.embed_positions.weight": np.eye(5),
    }
    path = checkpoint(tmp_path / "m", tensors, "abcde")
    assert embedding(path).tensor.name == "decoder.embed_tokens.weight"
    path = checkpoint(
        tmp_path / "n", {**tensors, "shared.weight": np.eye(5)}, "abcde"
    )
    assert embedding(path).tensor.name == "shared.weight"


def test_names_have_to_end_with_a_whole_part(tmp_path):
    tensors = {"not_shared.weight": np.eye(3), "wte.weight.scale": np.eye(3)}
    path = checkpoint(tmp_path / "m", tensors, "abc")
    assert code(embedding, path) == "EMBEDDING"


def test_tokens_beyond_the_matrix_have_no_row(tmp_path):
    path = checkpoint(tmp_path / "m", {NAME: np.eye(3)}, "abcde")
    assert set(embedding(path).rows) == {"a", "b", "c"}


def test_what_is_no_matrix(tmp_path):
    path = checkpoint(
        tmp_path / "m", {NAME: np.ones(3), "x": np.eye(3)}, "abc"
    )
    assert code(embedding, path) == "EMBEDDING"


def test_rows_that_are_not_finite(tmp_path):
    E = np.eye(3)
    E[1, 1] = np.nan
    path = checkpoint(tmp_path / "m", {NAME: E}, "abc")
    found = embedding(path)
    assert found.read(["a", "c"]).shape == (2, 3)
    assert code(lambda _: found.read(["a", "b"]), path) == "NONFINITE"


def test_a_file_that_changed(tmp_path):
    path = checkpoint(tmp_path / "m", {NAME: np.eye(3)}, "abc")
    found = embedding(path)
    with (path / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert code(lambda _: found.read(["a"]), path) == "SOURCE_CHANGED"
