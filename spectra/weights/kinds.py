"""What a tensor is for, told by the words of its name."""

import re

__all__ = ["KINDS", "kind_of"]

KINDS = (
    "attention query",
    "attention key",
    "attention value",
    "attention, several in one",
    "attention output",
    "attention, other",
    "mlp",
    "embedding",
    "norm",
    "bias",
    "convolution",
    "other",
)

_LONGEST = 200
"""Signs that are looked at, from the end: names are foreign."""

_SPLIT = re.compile(r"[./]")
# What stands behind a module's name, and around what PEFT trains.
_ENDING = re.compile(
    r"\d+|weight|bias|kernel|scale|gamma|beta|alpha|default|base_layer"
    r"|modules_to_save|original_module|lora_\w+|running_\w+"
    r"|num_batches_tracked|masked_bias"
)
_BIAS = re.compile(r"(\w+_)?bias")
_NORM = re.compile(
    r"(\w+_)?\w*norm(alization)?\d*(_\w+)?|(\w+_)?ln(\d*|_\w+)|(\w+_)?bn\d*"
)
_ATTENTION = re.compile(r"\w*(attn|attention)\w*")

# The innermost word, whatever is around it, and what it may be besides inside
# an attention.
_PARTS = {
    "attention, several in one": (
        r"c_attn|\w*qkv\w*|query_key_value|to_kv|kv_\w+", r"in_proj\w*|kv",
    ),
    "attention query": (
        r"(\w+_)?q(_[ab])?_proj|to_q|q_lin|q_attn|wq", r"q|query\w*",
    ),
    "attention key": (r"(\w+_)?k_proj|to_k|k_lin|wk", r"k|key\w*"),
    "attention value": (r"(\w+_)?v_proj|to_v|v_lin|wv", r"v|value\w*"),
    "attention output": (
        r"o_proj|to_out|to_add_out|out_lin",
        r"o|wo|out|out_proj|c_proj|proj|projection|dense|output",
    ),
}  # fmt: skip
_ALONE, _INSIDE = (
    {kind: re.compile(words[i]) for kind, words in _PARTS.items()}
    for i in range(2)
)

# Of any word, the innermost that is known.
_AROUND = {
    "convolution": re.compile(r"(\w+_)?conv(_?[123]d)?_?\d*(_\w+)?"),
    "mlp": re.compile(
        r"mlp\w*|\w+_mlp|ffn?|\w+_ffn?|feed_?forward|intermediate|c_fc"
        r"|experts?|\w*moe\w*|router|(gate|up|down|gate_up)_proj|fc_?\d+"
        r"|lin(ear)?\d|w[123]|dense_\w+_to_\w+|denserelu\w+"
    ),
    "embedding": re.compile(
        r"\w*embed\w*|wte|wpe|\w+_emb|(cls|class|dist|mask)_token"
    ),
}


def kind_of(name: str, /, *, n_axes: int = 0) -> str:
    """Return the kind of a tensor, one of `KINDS`.

    Its name's words are conventions: "other" is what none of them fits.

    Parameters
    ----------
    name
        Of the tensor, as its file has it.
    n_axes
        Of its shape, where that is known: with more than two it is a
        convolution, unless its name says otherwise.

    Examples
    --------
    >>> kind_of("encoder.layer.3.attention.self.query.weight")
    'attention query'
    >>> kind_of("encoder.layer.3.attention.output.LayerNorm.bias")
    'norm'
    >>> kind_of("model.layers.0.mlp.down_proj.weight")
    'mlp'
    >>> kind_of("lm_head.weight")
    'other'
    """
    words = _SPLIT.split(name[-_LONGEST:].lower())
    words = [word for word in words if word] or [""]
    ending = words[-1]
    while len(words) > 1 and _ENDING.fullmatch(words[-1]):
        words.pop()
    if _NORM.fullmatch(words[-1]):
        return "norm"
    if _BIAS.fullmatch(ending):
        return "bias"
    last = "convolution" if n_axes > 2 else "other"
    return _part(words) or _around(words) or last


def _part(words: list[str]) -> str | None:
    """Return which part of an attention a module is."""
    *around, last = words
    inside = any(_ATTENTION.fullmatch(word) for word in around[-2:])
    for kinds in (_ALONE, _INSIDE) if inside else (_ALONE,):
        for kind, pattern in kinds.items():
            if pattern.fullmatch(last):
                return kind
    return None


def _around(words: list[str]) -> str | None:
    for word in reversed(words):
        for kind, pattern in _AROUND.items():
            if pattern.fullmatch(word):
                return kind
    if any(_ATTENTION.fullmatch(word) for word in words[-2:]):
        return "attention, other"
    # The second matrix of BERT's feed-forward, beside attention.output.dense.
    return "mlp" if words[-2:] == ["output", "dense"] else None
