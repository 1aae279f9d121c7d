"""Networks of transformers with two layers, saved as checkpoints are."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
)

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{i}" for i in range(40)))

_BLOCKS = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def tokenizer(*, around: bool, side: str = "right") -> Any:
    """Return one of whole words, with or without tokens around a text."""
    own = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]")
    )
    own.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if around:
        own.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    special = {"unk": "[UNK]", "pad": "[PAD]"}
    if not around:
        del special["pad"]
    return PreTrainedTokenizerFast(
        tokenizer_object=own,
        padding_side=side,
        truncation_side=side,
        model_max_length=24,
        **{f"{name}_token": text for name, text in special.items()},
    )


def bert(folder: Path, *, side: str = "right") -> Any:
    """Save a masked language model; return its encoder."""
    torch.manual_seed(0)
    config = BertConfig(**_BLOCKS, vocab_size=44, max_position_embeddings=32)
    model = BertForMaskedLM(config).eval()
    model.save_pretrained(folder)
    tokenizer(around=True, side=side).save_pretrained(folder)
    return model.bert


def gpt2(folder: Path, *, side: str = "right") -> Any:
    """Save a causal language model; return what is below its head."""
    torch.manual_seed(1)
    config = GPT2Config(
        n_embd=16, n_layer=2, n_head=2, vocab_size=44, n_positions=32
    )
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(folder)
    tokenizer(around=False, side=side).save_pretrained(folder)
    return model.transformer


def t5(folder: Path, *, side: str = "right") -> Any:
    """Save an encoder with a decoder; return the encoder."""
    torch.manual_seed(2)
    config = T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=44
    )
    model = T5ForConditionalGeneration(config).eval()
    model.save_pretrained(folder)
    tokenizer(around=True, side=side).save_pretrained(folder)
    return model.get_encoder()


def vit(folder: Path) -> Any:
    """Save an image classifier; return what is below its head."""
    torch.manual_seed(3)
    config = ViTConfig(**_BLOCKS, image_size=32, patch_size=8)
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    ViTImageProcessor(size=size).save_pretrained(folder)
    return model.vit
