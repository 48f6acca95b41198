import keras
import numpy as np
import pytest

from keras_muse.models import PictureTextScorer
from tests.helpers.tiny import randomize
from tests.helpers.tiny import to_numpy


def small_scorer(**changes):
    keras.utils.set_random_seed(0)
    return PictureTextScorer(
        **{"hidden_dim": 32, "embedding_dim": 8, "dropout": 0.0, **changes}
    )


def tiny_pairs(num_rows, num_things=40):
    """Features of pictures and texts that have a hidden thing in common."""
    generator = np.random.default_rng(0)
    things = generator.integers(num_things, size=num_rows)
    image_of, text_of = (
        generator.standard_normal((num_things, dim)) for dim in (1280, 384)
    )
    noise = generator.standard_normal((num_rows, 1280))
    return {
        "image_features": (image_of[things] + noise).astype("float32"),
        "text_features": text_of[things].astype("float32"),
        "caption_ids": things.astype("int32"),
    }


def test_loss_is_the_mean_of_both_directions():
    scorer = small_scorer()
    x = tiny_pairs(6, num_things=4)
    assert len(set(x["caption_ids"])) < 6
    outputs = {name: to_numpy(value) for name, value in scorer(x).items()}
    logits = outputs["image"] @ outputs["text"].T / 0.07
    losses = []
    for i, thing in enumerate(x["caption_ids"]):
        # Another row with the same caption is no wrong answer.
        wrong = x["caption_ids"] != thing
        for scores in (logits[i], logits[:, i]):
            all_scores = np.append(scores[wrong], scores[i])
            losses.append(np.log(np.exp(all_scores).sum()) - scores[i])
    actual = scorer.compute_loss(x, y_pred=scorer(x))
    assert float(actual) == pytest.approx(np.mean(losses), rel=1e-4)


def test_learns_what_pictures_and_texts_have_in_common():
    scorer = small_scorer()
    x = tiny_pairs(400)
    train, test = (
        {name: value[rows] for name, value in x.items()}
        for rows in (slice(320), slice(320, None))
    )
    scorer.compile(keras.optimizers.Adam(1e-2))
    scorer.fit(train, batch_size=64, epochs=8, verbose=0)
    outputs = {name: to_numpy(value) for name, value in scorer(test).items()}
    found = (outputs["image"] @ outputs["text"].T).argmax(axis=1)
    right = test["caption_ids"][found] == test["caption_ids"]
    assert right.mean() > 0.9  # chance is 1 of 40


def test_the_scale_has_an_upper_bound():
    scorer = small_scorer()
    x = tiny_pairs(4)
    scorer.log_scale.assign(np.log(100.0))
    at_bound = float(scorer.compute_loss(x, y_pred=scorer(x)))
    scorer.log_scale.assign(10.0)
    assert float(scorer.compute_loss(x, y_pred=scorer(x))) == pytest.approx(
        at_bound, rel=1e-4
    )


def pictures():
    return np.random.default_rng(0).integers(0, 256, (3, 48, 48, 3), "uint8")


def test_score_is_the_cosine_of_each_pair():
    scorer = small_scorer()
    randomize(scorer, 0.5)
    texts = ["a red apple", "a cat", "the moon"]
    images = scorer.image_embeddings(pictures())
    of_texts = scorer.text_embeddings(texts)
    for embeddings in (images, of_texts):
        np.testing.assert_allclose(
            np.linalg.norm(embeddings, axis=1), 1, atol=1e-5
        )
    np.testing.assert_allclose(
        scorer.score(pictures(), texts), np.diag(images @ of_texts.T), atol=1e-6
    )
    # Whole pictures and texts decide, not their batch.
    np.testing.assert_allclose(
        scorer.score(pictures()[1:2], texts[1:2]),
        scorer.score(pictures(), texts)[1:2],
        atol=1e-5,
    )


def test_a_text_is_the_mean_of_its_tokens():
    scorer = small_scorer()
    states, mask = scorer.frozen.text_encoder.encode(["a cat"], verbose=0)
    expected = states[0][mask[0]].mean(axis=0)
    np.testing.assert_allclose(
        scorer.frozen.text_features(["a cat"])[0], expected, atol=1e-5
    )


def test_preset_has_the_towers_only(tmp_path):
    scorer = small_scorer()
    randomize(scorer, 0.5)
    expected = scorer.score(pictures(), ["a", "b", "c"])
    scorer.save_to_preset(str(tmp_path / "scorer"))
    size = sum(f.stat().st_size for f in (tmp_path / "scorer").iterdir())
    assert size < 1_000_000
    loaded = PictureTextScorer.from_preset(str(tmp_path / "scorer"))
    assert loaded.get_config() == scorer.get_config()
    np.testing.assert_allclose(
        loaded.score(pictures(), ["a", "b", "c"]), expected, atol=1e-6
    )


def test_texts_that_are_not_one_a_picture_raise():
    with pytest.raises(ValueError, match="Received: 2 texts, 3 pictures"):
        small_scorer().score(pictures(), ["a", "b"])


# === With a network of its own ===


def coloured_pairs(num_rows, size=64):
    """Squares of eight colours on grey, and features of their names."""
    generator = np.random.default_rng(0)
    things = generator.integers(8, size=num_rows)
    bits = np.stack([things >> i & 1 for i in range(3)], axis=1)
    images = generator.integers(100, 150, (num_rows, size, size, 3), "uint8")
    inside = slice(size // 4, -size // 4)
    images[:, inside, inside] = bits[:, None, None] * 255
    names = np.random.default_rng(1).standard_normal((8, 384))
    return {
        "images": images,
        "text_features": names[things].astype("float32"),
        "caption_ids": things.astype("int32"),
    }


def test_own_eyes_learn_along():
    scorer = small_scorer(image_network="own")
    assert scorer.own_network.trainable_weights
    x = coloured_pairs(128)
    scorer.compile(keras.optimizers.Adam(2e-3))
    scorer.fit(x, batch_size=32, epochs=6, verbose=0)
    # Pictures of another size are brought to that of the network.
    images = coloured_pairs(64, size=96)
    of_images = scorer.image_embeddings(images["images"])
    of_texts = to_numpy(scorer.text_tower(images["text_features"]))
    found = (of_images @ of_texts.T).argmax(axis=1)
    right = images["caption_ids"][found] == images["caption_ids"]
    assert right.mean() > 0.9  # chance is 1 of 8


def test_own_eyes_are_in_the_preset(tmp_path):
    scorer = small_scorer(image_network="own")
    randomize(scorer, 0.1)
    expected = scorer.score(pictures(), ["a", "b", "c"])
    scorer.save_to_preset(str(tmp_path / "scorer"))
    loaded = PictureTextScorer.from_preset(str(tmp_path / "scorer"))
    np.testing.assert_allclose(
        loaded.score(pictures(), ["a", "b", "c"]), expected, atol=1e-6
    )
    # It looks with no other network.
    assert "_look" not in vars(loaded.frozen)


def test_unknown_eyes_raise():
    with pytest.raises(ValueError, match="`image_network` must be one of"):
        small_scorer(image_network="vgg16")


def test_what_is_kept_by_the_names_of_layers_fits_a_later_scorer(tmp_path):
    scorer = small_scorer(image_network="own")
    scorer.own_network.convolutions[0].trainable = False
    scorer.quantize("int8", filters=lambda x: "text_tower" in str(x.path))
    scorer.save_to_preset(tmp_path / "preset")
    loaded = PictureTextScorer.from_preset(tmp_path / "preset")
    assert not loaded.own_network.convolutions[0].trainable
    for a, b in zip(loaded.weights, scorer.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(a), to_numpy(b))
    tuned = small_scorer()
    names = [x.name for x in tuned.text_tower.layers if "dense" in x.name]
    tuned.enable_lora(2, names)
    tuned.save_lora_weights(tmp_path / "tuned.lora.h5")
    small_scorer().load_lora_weights(tmp_path / "tuned.lora.h5")
