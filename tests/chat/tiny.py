"""Checkpoints small enough to make in a test: made from a config and a seed, with a tokenizer of bytes."""

import json
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ': ' }}"
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}{% for p in m['content'] %}"
    "{% if p['type'] == 'image' %}{{ '<image>' }}{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)
SPECIALS = ["<pad>", "<s>", "</s>", "<image>"]


def tokenizer() -> Any:
    """One token a byte, after four special ones; </s> ends."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate([*SPECIALS, *letters])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        additional_special_tokens=["<image>"],
        extra_special_tokens={"image_token": "<image>"},
        chat_template=TEMPLATE,
        padding_side="left",
    )


def language(length: int = 512) -> Any:
    """The config of a two-layer Llama over the tokenizer's 260 tokens."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=260,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=length,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=1.0,  # so that a prompt and a picture sway what comes
    )


def text_model(folder: Path, length: int = 512) -> Path:
    """A tiny text-only chat model in a folder."""
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(language(length)).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def vision_model(folder: Path) -> Path:
    """A tiny LLaVA in a folder: pictures of 16 x 16 as 4 patches."""
    import torch
    from transformers import CLIPVisionConfig, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    torch.manual_seed(0)
    eye = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
        initializer_range=1.0,
    )
    config = LlavaConfig(vision_config=eye, text_config=language(), image_token_index=3)
    model = LlavaForConditionalGeneration(config)
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    pictures = CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


def idefics3_model(folder: Path) -> Path:
    """A tiny Idefics3 in a folder, with its own processor: a picture as tiles of one token each."""
    import torch
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

    torch.manual_seed(0)
    form = Idefics3Processor(
        image_processor=Idefics3ImageProcessorPil(
            size={"longest_edge": 56}, max_image_size={"longest_edge": 28}
        ),
        tokenizer=tokenizer(),
        image_seq_len=1,
        chat_template=TEMPLATE,
    )
    text = language()
    text.vocab_size = len(form.tokenizer)
    eye = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    eye |= {"image_size": 28, "patch_size": 14, "initializer_range": 1.0}
    config = Idefics3Config(vision_config=eye, text_config=text, scale_factor=2, image_token_id=3)
    model = Idefics3ForConditionalGeneration(config)
    model.generation_config.eos_token_id = 2
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    form.save_pretrained(folder)
    return folder


def qwen2_vl_model(folder: Path) -> Path:
    """A tiny Qwen2-VL in a folder, with the settings of its processor, which needs torchvision."""
    import torch
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    torch.manual_seed(0)
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"num_key_value_heads": 2, "vocab_size": 260, "pad_token_id": 0}
    text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}}
    eye = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2}
    config = Qwen2VLConfig(vision_config=eye, text_config=text, image_token_id=3, vision_start_token_id=1)
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    settings = Qwen2VLImageProcessorPil().to_dict() | {"processor_class": "Qwen2VLProcessor"}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder
