"""Transformers models made tiny from their configs, saved, and loaded the way real ones are."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from polymodal.nn import Chain, Concat, Dense, Joined, Pretrained, Recurrent, Softmax
from polymodal.testing import check_encoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "film", "was", "un", "##believ", "##able"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny models: bert, roberta, clip, vit, resnet, wav2vec2 (two norms), whisper."""
    import transformers as hf

    torch.manual_seed(0)
    hf.utils.logging.disable_progress_bar()
    hf.utils.logging.set_verbosity_error()
    home = tmp_path_factory.mktemp("models")
    text(hf, home)
    sound(hf, home)
    pictures(hf, home)
    return home


def text(hf: Any, home: Path) -> None:
    hf.BertModel(hf.BertConfig(vocab_size=len(WORDS), max_position_embeddings=9, **SMALL)).save_pretrained(
        home / "bert"
    )
    hf.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(home / "bert")
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"Ġabcdefghijklmnopqrstuvwxyz", "Ġa", "Ġb"]
    tokenizer = hf.RobertaTokenizerFast(
        vocab={piece: i for i, piece in enumerate(pieces)}, merges=[("Ġ", "a"), ("Ġ", "b")]
    )
    tokenizer.save_pretrained(home / "roberta")
    config = hf.RobertaConfig(vocab_size=len(pieces), max_position_embeddings=12, pad_token_id=1, **SMALL)
    hf.RobertaModel(config).save_pretrained(home / "roberta")


def sound(hf: Any, home: Path) -> None:
    for norm in ("group", "layer"):
        config = hf.Wav2Vec2Config(
            conv_dim=(8, 8),
            conv_kernel=(10, 4),
            conv_stride=(5, 4),
            num_feat_extract_layers=2,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
            feat_extract_norm=norm,
            **SMALL,
        )
        hf.Wav2Vec2Model(config).save_pretrained(home / f"wave-{norm}")
        hf.Wav2Vec2FeatureExtractor().save_pretrained(home / f"wave-{norm}")
    sizes = {
        f"{side}_{what}": n
        for side in ("encoder", "decoder")
        for what, n in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))
    }
    whisper = hf.WhisperConfig(
        d_model=16, vocab_size=9, num_mel_bins=8, max_source_positions=50, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None, **sizes,
    )  # fmt: skip
    hf.WhisperModel(whisper).save_pretrained(home / "whisper")
    hf.WhisperFeatureExtractor(feature_size=8, chunk_length=1).save_pretrained(home / "whisper")


def pictures(hf: Any, home: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    clip = hf.CLIPConfig(
        text_config=SMALL | {"vocab_size": 20, "max_position_embeddings": 8},
        vision_config=SMALL | {"image_size": 16, "patch_size": 8},
    )
    hf.CLIPModel(clip).save_pretrained(home / "clip")
    CLIPImageProcessorPil(size={"shortest_edge": 18}, crop_size={"height": 16, "width": 16}).save_pretrained(
        home / "clip"
    )
    hf.ViTModel(hf.ViTConfig(image_size=16, patch_size=8, **SMALL)).save_pretrained(home / "vit")
    resnet = hf.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", image_size=32
    )
    hf.ResNetModel(resnet).save_pretrained(home / "resnet")
    size = {"size": {"height": 32, "width": 32}, "image_mean": [0.4] * 3, "image_std": [0.2] * 3}
    (home / "resnet" / "preprocessor_config.json").write_text(json.dumps(size))


def wave(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, n).astype(np.float32)


def numbers(encoder: Pretrained, value: Any) -> Tensor:
    return torch.from_numpy(encoder.prepare(value))[None]


def test_bert_words_are_means_or_first_of_their_subwords(models: Path) -> None:
    import transformers as hf

    mean, first = (Pretrained(str(models / "bert"), "text", pooling=how) for how in ("mean", "first"))
    x = mean.prepare("the film was unbelievable")
    assert x.tolist() == [[2, -1], [5, 0], [6, 1], [7, 2], [8, 3], [9, 3], [10, 3], [3, -1]]
    theirs = hf.BertModel.from_pretrained(models / "bert").eval()
    hidden = theirs(input_ids=torch.from_numpy(x[:, 0])[None]).last_hidden_state[0].detach().numpy()
    want = np.stack([*hidden[1:4], hidden[4:7].mean(0)])
    np.testing.assert_allclose(mean.embed("the film was unbelievable"), want, atol=1e-6)
    np.testing.assert_allclose(first.embed("the film was unbelievable"), hidden[1:5], atol=1e-6)
    assert np.array_equal(mean.embed(["the", "film"]), mean.embed("the film"))


def test_roberta_words(models: Path) -> None:
    encoder = Pretrained(str(models / "roberta"), "text")
    assert encoder.prepare("ac b")[:, 1].tolist() == [-1, 0, 0, 1, -1]
    assert encoder.embed("ac b").shape == (2, 16)


@pytest.mark.parametrize(("name", "places"), [("bert", 9), ("roberta", 10)])
def test_long_and_empty_texts(models: Path, name: str, places: int) -> None:
    encoder = Pretrained(str(models / name), "text")
    assert len(encoder.prepare("a " * 40)) == places
    assert encoder.embed("a " * 40).shape == (places - 2, 16)
    x = numbers(encoder, "")
    assert not encoder(x, torch.ones(x.shape[:2], dtype=torch.bool)).mask.any()


def test_two_tower_text(models: Path) -> None:
    import transformers as hf

    hf.AutoTokenizer.from_pretrained(models / "bert").save_pretrained(models / "clip")
    encoder = Pretrained(str(models / "clip"), "text")
    assert encoder.embed("the film").shape == (2, 16)
    assert not [name for name, _ in encoder.named_parameters() if "vision" in name]


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_wave_frames_are_the_models_own(models: Path, norm: str) -> None:
    import transformers as hf

    encoder = Pretrained(str(models / f"wave-{norm}"), "audio")
    assert (encoder.rate, encoder.width, encoder.dim) == (16000, 1, 16)
    x = wave(900)
    theirs = hf.Wav2Vec2Model.from_pretrained(models / f"wave-{norm}").eval()
    normal = (x - x.mean()) / np.sqrt(x.var() + 1e-7)
    want = theirs(torch.from_numpy(normal)[None]).last_hidden_state[0].detach()
    np.testing.assert_allclose(encoder.embed(x), want, atol=1e-5)
    assert encoder.embed(x[:3]).shape == (1, 16)


def test_whisper_hears_its_whole_window(models: Path) -> None:
    encoder = Pretrained(str(models / "whisper"), "audio")
    assert (encoder.width, encoder.prepare(wave(500)).shape) == (8, (100, 8))
    assert encoder.embed(wave(500)).shape == (50, 16)


def test_pixels_and_patches_are_the_libraries_own(models: Path) -> None:
    import transformers as hf
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    encoder = Pretrained(str(models / "clip"), "image")
    for pixels in (PIXELS, PIXELS.transpose(1, 0, 2)):
        theirs = CLIPImageProcessorPil.from_pretrained(models / "clip")(pixels, return_tensors="pt")
        ours = encoder.prepare(pixels).reshape(3, 16, 16)
        np.testing.assert_allclose(ours, theirs["pixel_values"][0], atol=1e-6)
    whole = hf.CLIPModel.from_pretrained(models / "clip").eval()
    want = whole.vision_model(**theirs).last_hidden_state[0].detach()
    np.testing.assert_allclose(encoder.embed(pixels), want, atol=1e-5)
    first = Pretrained(str(models / "clip"), "image", pooling="first")
    x = numbers(first, np.stack([PIXELS, PIXELS]))
    out = first(x, torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(out.vector, out.tokens[:, 0])
    assert out.tokens.shape == (1, 2 * 5, 16)


def test_pictures_without_settings_and_maps(models: Path) -> None:
    vit, resnet = (Pretrained(str(models / name), "image") for name in ("vit", "resnet"))
    assert vit.prepare(PIXELS).shape == (1, 3 * 16 * 16)
    assert vit.prepare(np.zeros_like(PIXELS)).min() == -1
    assert resnet.embed(PIXELS).shape == (4 * 4, 12)
    assert resnet.dim == 12


@pytest.mark.parametrize("tune", [False, True])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("bert", "text"),
        ("roberta", "text"),
        ("wave-group", "audio"),
        ("wave-layer", "audio"),
        ("clip", "image"),
        ("resnet", "image"),
    ],
)
def test_contract(models: Path, name: str, kind: str, tune: bool) -> None:
    def draw(t: int) -> Tensor:
        if kind == "text":
            return torch.stack([torch.randint(5, 11, (1, t)), torch.arange(t)[None] // 2], 2)
        return (
            torch.randn(1, 60 * t, 1)
            if kind == "audio"
            else torch.randn(1, t, 3 * (16 if name == "clip" else 32) ** 2)
        )

    if name == "resnet" and tune:
        return  # batch norm in training mode needs more than one number a channel
    check_encoder(lambda: Pretrained(str(models / name), kind, tune=tune), t=4, draw=draw)


def test_frozen_stays_frozen_and_tuned_learns(models: Path) -> None:
    for tune in (False, True):
        encoder = Pretrained(str(models / "bert"), "text", tune=tune).train()
        x = numbers(encoder, "the film")
        out = encoder(x, torch.ones(x.shape[:2], dtype=torch.bool))
        assert encoder.model.training is out.vector.requires_grad is tune
        assert any(p.requires_grad for p in encoder.parameters()) is tune


def test_joined_saves_all_it_needs(models: Path, tmp_path: Path) -> None:
    """Reloading works where the checkpoints are gone: models and their readers are in the folder."""
    encoders = {
        "text": Chain(Pretrained(str(models / "bert"), "text", tune=True), Recurrent(16, 6)),
        "audio": Pretrained(str(models / "wave-layer"), "audio"),
        "image": Chain(Pretrained(str(models / "clip"), "image"), Dense(16, 4)),
    }
    model = Joined(encoders, Concat({"text": 6, "audio": 16, "image": 4}, 5), Softmax(5, 2)).eval()
    with torch.no_grad():
        for parameter in model.encoders["text"].parameters():
            parameter.add_(0.01)
    readers = [model.encoders["text"].members[0], model.encoders["audio"], model.encoders["image"].members[0]]
    inputs = {
        name: numbers(reader, value)
        for name, reader, value in zip(encoders, readers, ["the film", wave(700), PIXELS], strict=True)
    }
    masks = {name: torch.ones(x.shape[:2], dtype=torch.bool) for name, x in inputs.items()}
    present = torch.ones(1, 3, dtype=torch.bool)
    model.save_pretrained(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "moved")
    loaded = Joined.from_pretrained(tmp_path / "moved")
    assert torch.equal(loaded(inputs, masks, present), model(inputs, masks, present))
    assert str(models) not in (tmp_path / "moved" / "config.json").read_text()
    again = loaded.encoders["text"].members[0]
    assert np.array_equal(again.prepare("the film"), readers[0].prepare("the film"))
    assert np.array_equal(loaded.encoders["image"].members[0].prepare(PIXELS), readers[2].prepare(PIXELS))
    loaded.save_pretrained(tmp_path / "two")
    twice = Joined.from_pretrained(tmp_path / "two")
    assert torch.equal(twice(inputs, masks, present), model(inputs, masks, present))
    assert {row["name"]: row["macs"] > 0 for row in model.cost({"text": 5, "audio": 700})}["encoder audio"]


def test_wrong_names_and_kinds_say_so(models: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no text model at 'no/such/place': give a folder"):
        Pretrained("no/such/place", "text")
    with pytest.raises(FileNotFoundError, match="no image model at"):
        Pretrained(str(tmp_path), "image")
    with pytest.raises(ValueError, match="reads text, audio or image, not 'smell'"):
        Pretrained("any", "smell")
    with pytest.raises(ValueError, match="pooling is mean or first, not 'max'"):
        Pretrained("any", "text", pooling="max")
    with pytest.raises(ValueError, match=r"model '.*bert' reads text, not image"):
        Pretrained(str(models / "bert"), "image")
    silent = shutil.copytree(models / "wave-group", tmp_path / "silent")
    (silent / "preprocessor_config.json").unlink()
    with pytest.raises(FileNotFoundError, match="comes without what prepares its audio"):
        Pretrained(str(silent), "audio")
