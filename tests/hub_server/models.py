"""The models of these tests: an open one, and one of each other sort."""

from tests.hub import Repository

TOKEN = "hf_" + "a" * 34
WEIGHTS = bytes(range(256)) * 40
FILES = {
    "config.json": b'{"model_type": "t"}',
    "sub/deep/a b+c%.txt": b"nested",
    "sub/model.safetensors": WEIGHTS,
}
BASE = Repository(
    "org/base",
    FILES,
    ("safetensors",),
    license="mit",
    card={"language": "en"},
    config={"model_type": "t"},
    library_name="transformers",
    pipeline_tag="text-generation",
    num_parameters=7_000_000_000,
    downloads=5,
    created_at="2024-05-01T00:00:00.000Z",
    refs={"v1": "", "old": "1" * 40},
)
ADAPTER = Repository(
    "ann/Adapter",
    FILES,
    ("peft", "safetensors"),
    base_models=("adapter", ("org/base",)),
    downloads=9,
    created_at="2024-02-01T00:00:00.000Z",
)
GATED = Repository("org/gated", FILES, ("safetensors",), gated="manual")
PRIVATE = Repository("org/private", FILES, private=True)
DISABLED = Repository("org/disabled", FILES, disabled=True)
OLD = Repository("org/old", moved_to="ann/Adapter")
ALL = (BASE, ADAPTER, GATED, PRIVATE, DISABLED, OLD)
PUBLIC = ["org/base", "ann/Adapter", "org/gated", "org/disabled"]
