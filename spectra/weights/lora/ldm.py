"""The two names of each block of Stable Diffusion's UNet.

The published checkpoints count its blocks through (``input_blocks_4_1``),
diffusers groups them by resolution (``down_blocks_1_attentions_0``). Every
UNet of Stable Diffusion 1, 2 and XL has two layers a block on the way down
and three on the way up, which makes the names one to one.

References
----------
``make_unet_conversion_map`` in ``library/sdxl_model_util.py`` of
kohya-ss/sd-scripts; ``_maybe_map_sgm_blocks_to_diffusers`` of diffusers.
"""

import re

__all__ = ["diffusers_name"]

# Two layers and a sampler on the way down, three layers on the way up.
_IN_A_BLOCK = 3

# There, the number of the first of these blocks, and in diffusers.
_BLOCKS = tuple(
    (re.compile(rf"{there}(?:_(?P<inner>.+))?"), first, here)
    for there, first, here in (
        (r"input_blocks_(\d+)_0_op", 1, "down_blocks_{}_downsamplers_0_conv"),
        (r"input_blocks_(\d+)_0", 1, "down_blocks_{}_resnets_{}"),
        (r"input_blocks_(\d+)_1", 1, "down_blocks_{}_attentions_{}"),
        (r"middle_block_()0", 0, "mid_block_resnets_0"),
        (r"middle_block_()1", 0, "mid_block_attentions_0"),
        (r"middle_block_()2", 0, "mid_block_resnets_1"),
        (
            r"output_blocks_(\d+)_[12]_conv",
            0,
            "up_blocks_{}_upsamplers_0_conv",
        ),
        (r"output_blocks_(\d+)_0", 0, "up_blocks_{}_resnets_{}"),
        (r"output_blocks_(\d+)_1", 0, "up_blocks_{}_attentions_{}"),
    )
)

_IN_RESNETS = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}
_OUTSIDE = {
    "time_embed_0": "time_embedding_linear_1",
    "time_embed_2": "time_embedding_linear_2",
    "label_emb_0_0": "add_embedding_linear_1",
    "label_emb_0_2": "add_embedding_linear_2",
    "input_blocks_0_0": "conv_in",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
}


def diffusers_name(name: str, /) -> str:
    """Return a module of the UNet as diffusers names it.

    Parameters
    ----------
    name
        With underscores for dots; other names come back as they are.

    Examples
    --------
    >>> diffusers_name("input_blocks_4_1_proj_in")
    'down_blocks_1_attentions_0_proj_in'
    >>> diffusers_name("down_blocks_1_attentions_0_proj_in")
    'down_blocks_1_attentions_0_proj_in'
    """
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    for pattern, first, here in _BLOCKS:
        found = pattern.fullmatch(name)
        if found:
            number = int(found[1] or 0) - first
            inner = found["inner"] or ""
            parts = (
                here.format(*divmod(number, _IN_A_BLOCK)),
                _IN_RESNETS.get(inner, inner),
            )
            return "_".join(part for part in parts if part)
    return name
