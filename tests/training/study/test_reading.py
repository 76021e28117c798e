"""Every kind of part becomes numbers and has an encoder; what is described is what is there."""

import io

import numpy as np
import pytest
import torch

from polymodal.media import Audio, Image, Series, Text, Video
from polymodal.training.study.reading import RATE, choose, describe_frame, describe_sound, encoder, reader

PITCH, CENTROID, CROSSINGS, ENERGY = 27, 26, 25, 24  # places among the 28 means


def tone(hertz, seconds=0.5, loud=0.5):
    return loud * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)


def test_sound_is_56_numbers_that_say_pitch_and_brightness():
    low, high = describe_sound(tone(125.0)), describe_sound(tone(320.0))
    assert low.shape == (56,)
    assert low[PITCH] == pytest.approx(0.125, rel=0.02)
    assert high[PITCH] == pytest.approx(0.320, rel=0.02)
    assert low[CROSSINGS] == pytest.approx(2 * 125 / RATE, rel=0.2)
    assert low[CENTROID] < high[CENTROID] < describe_sound(tone(3000.0))[CENTROID]


def test_louder_is_more_energy_and_noise_has_no_pitch():
    quiet, loud = describe_sound(tone(200.0, loud=0.05)), describe_sound(tone(200.0, loud=0.5))
    assert loud[ENERGY] - quiet[ENERGY] == pytest.approx(2 * np.log(10), abs=0.01)
    noise = describe_sound(np.random.default_rng(0).normal(0, 0.1, RATE))
    assert noise[PITCH] < 0.02
    assert noise[CENTROID] == pytest.approx(4.0, abs=0.3)


@pytest.mark.parametrize("wave", [np.zeros(RATE), np.zeros(1), np.full(100, 0.3)])
def test_silence_and_clicks_are_numbers_too(wave):
    assert np.isfinite(describe_sound(wave)).all()


def test_sound_at_another_rate_is_refused():
    with pytest.raises(ValueError, match="16000 Hz, given 8000"):
        describe_sound(np.zeros(100), 8000)


def test_picture_is_64_numbers_by_quarter():
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :15] = 255  # top left white
    found = describe_frame(pixels).reshape(4, 2, 8)
    np.testing.assert_allclose(found[:, 0].sum(1), 1)
    assert found[0, 0, 7] == 1
    assert (found[1:, 0, 0] == 1).all()
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::4] = 255
    upright = describe_frame(stripes).reshape(4, 2, 8)[:, 1]
    lying = describe_frame(stripes.transpose(1, 0, 2)).reshape(4, 2, 8)[:, 1]
    assert (upright.argmax(1) != lying.argmax(1)).all()
    assert np.isfinite(describe_frame(np.zeros((1, 1, 3), np.uint8))).all()


def test_how_a_kind_is_read():
    assert [choose(kind, "auto") for kind in ("text", "audio", "image", "video", "series")] == [
        "ngrams",
        "describe",
        "pixels",
        "describe",
        "series",
    ]
    assert choose("text", "roberta-base") == "roberta-base"
    assert choose("series", "roberta-base") == "series"
    with pytest.raises(ValueError, match="text cannot be read as 'logmel'; known: auto, ngrams, letters"):
        choose("text", "logmel")


def film():
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="avi") as box:
        track = box.add_stream("mpeg4", rate=10)
        track.width, track.height, track.pix_fmt = 32, 32, "yuv420p"
        for i in range(20):
            pixels = np.full((32, 32, 3), 10 * i, np.uint8)
            box.mux(track.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        box.mux(track.encode())
    return Video(buffer.getvalue())


PARTS = {
    "text": Text("What a day"),
    "audio": Audio(tone(200.0), rate=RATE),
    "image": Image(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)),
    "series": Series(np.arange(12.0).reshape(3, 4)),
}


@pytest.mark.parametrize(
    ("kind", "how", "shape"),
    [
        ("text", "ngrams", (1024,)),
        ("text", "letters", (10,)),
        ("audio", "describe", (56,)),
        ("audio", "logmel", (48, 64)),
        ("image", "pixels", (256,)),
        ("image", "patches", (1, 3072)),
        ("image", "describe", (128,)),
        ("video", "describe", (128,)),
        ("video", "patches", (4, 3072)),
        ("series", "series", (3, 4)),
    ],
)
def test_each_way_gives_numbers_and_has_an_encoder(kind, how, shape):
    part = film() if kind == "video" else PARTS[kind]
    array = reader(kind, how)(part)
    assert array.shape == shape
    assert np.isfinite(array).all()
    t, width = (1, shape[0]) if len(shape) == 1 and how != "letters" else (shape[0], shape[-1])
    model = encoder(kind, how, width, tokens=t > 1, dim=8, dropout=0.0)
    x = torch.from_numpy(np.asarray(array)).reshape(1, t, -1)
    x = x.squeeze(2) if how == "letters" else x.float()
    out = model.eval()(x, torch.ones(1, t, dtype=torch.bool))
    assert out.vector.shape == (1, 8)


def test_pretrained_model_gives_its_mean_token_frozen_and_its_input_tuned(tmp_path):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "a", "day"]
    BertTokenizerFast(vocab={word: i for i, word in enumerate(words)}).save_pretrained(tmp_path)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=8, max_position_embeddings=16, **small)).save_pretrained(tmp_path)
    text = Text("what a day")
    assert reader("text", str(tmp_path))(text).shape == (16,)
    prepared = reader("text", f"tune:{tmp_path}")(text)
    assert prepared.shape == (5, 2)
    model = encoder("text", f"tune:{tmp_path}", 2, tokens=True, dim=8, dropout=0.0)
    out = model(torch.from_numpy(prepared)[None], torch.ones(1, 5, dtype=torch.bool))
    assert out.vector.shape == (1, 8)
    assert any(p.requires_grad for name, p in model.named_parameters() if ".model." in f".{name}")
