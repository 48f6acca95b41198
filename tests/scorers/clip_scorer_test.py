import keras
import keras_hub
import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from keras_muse.metrics.networks import CLIPScorer
from tests.helpers import tiny_clip
from tests.helpers.golden_networks import noisy_pictures
from tests.helpers.golden_networks import to_model_range

IMAGE_SIZE, PATCH_SIZE, DIM = 32, 8, 16


@pytest.fixture(scope="module")
def theirs():
    """A small random `CLIPModel` of transformers."""
    torch.manual_seed(0)
    settings = tiny_clip.text_config()
    vision = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH_SIZE,
        "initializer_factor": 6.0,
    }
    config = transformers.CLIPConfig(
        text_config=settings, vision_config=vision, projection_dim=DIM
    )
    model = transformers.CLIPModel(config).eval()
    tiny_clip.shake(model)
    return model


def make_backbone():
    sizes = {
        "hidden_dim": 16,
        "num_layers": 2,
        "num_heads": 2,
        "intermediate_dim": 24,
    }
    return keras_hub.models.CLIPBackbone(
        keras_hub.models.CLIPVisionEncoder(
            PATCH_SIZE, image_shape=(IMAGE_SIZE, IMAGE_SIZE, 3), **sizes
        ),
        keras_hub.models.CLIPTextEncoder(
            len(tiny_clip.pieces()),
            16,
            max_sequence_length=tiny_clip.LENGTH,
            **sizes,
        ),
        DIM,
    )


def make_tokenizer():
    return keras_hub.models.CLIPTokenizer(
        {piece: i for i, piece in enumerate(tiny_clip.pieces())},
        tiny_clip.MERGES,
    )


def copy_weights(model, backbone):
    tensors = {k: v.numpy() for k, v in model.state_dict().items()}

    def fill(layer, name):
        if isinstance(layer, keras.layers.LayerNormalization):
            layer.gamma.assign(tensors[f"{name}.weight"])
        else:
            kernel = tensors[f"{name}.weight"].T
            layer.kernel.assign(kernel.reshape(layer.kernel.shape))
        bias = getattr(layer, "beta", None)
        if bias is None:
            bias = layer.bias
        if bias is not None:
            bias.assign(tensors[f"{name}.bias"].reshape(bias.shape))

    def fill_encoder(encoder, name):
        for i, layer in enumerate(encoder.encoder_layers):
            at = f"{name}.encoder.layers.{i}"
            fill(layer.layer_norm_1, f"{at}.layer_norm1")
            fill(layer.layer_norm_2, f"{at}.layer_norm2")
            fill(layer.dense_1, f"{at}.mlp.fc1")
            fill(layer.dense_2, f"{at}.mlp.fc2")
            attention = layer.attention
            fill(attention.query_dense, f"{at}.self_attn.q_proj")
            fill(attention.key_dense, f"{at}.self_attn.k_proj")
            fill(attention.value_dense, f"{at}.self_attn.v_proj")
            fill(attention.output_dense, f"{at}.self_attn.out_proj")

    vision, text = backbone.vision_encoder, backbone.text_encoder
    fill_encoder(vision, "vision_model")
    fill_encoder(text, "text_model")
    fill(vision.pre_layer_norm, "vision_model.pre_layrnorm")
    fill(vision.layer_norm, "vision_model.post_layernorm")
    fill(text.layer_norm, "text_model.final_layer_norm")
    fill(backbone.vision_projection, "visual_projection")
    fill(backbone.text_projection, "text_projection")
    at = "vision_model.embeddings"
    vision.embedding.class_embedding.assign(tensors[f"{at}.class_embedding"])
    vision.embedding.patch_embedding.kernel.assign(
        tensors[f"{at}.patch_embedding.weight"].transpose(2, 3, 1, 0)
    )
    vision.embedding.position_embedding.embeddings.assign(
        tensors[f"{at}.position_embedding.weight"]
    )
    # Zeros in a new model of KerasHub; its presets bring them.
    positions = np.arange((IMAGE_SIZE // PATCH_SIZE) ** 2 + 1)
    vision.embedding.position_ids.assign(positions[None])
    at = "text_model.embeddings"
    text.embedding.token_embedding.embeddings.assign(
        tensors[f"{at}.token_embedding.weight"]
    )
    text.embedding.position_embedding.position_embeddings.assign(
        tensors[f"{at}.position_embedding.weight"]
    )


@pytest.fixture(scope="module")
def scorer(theirs):
    backbone = make_backbone()
    copy_weights(theirs, backbone)
    return CLIPScorer(backbone, make_tokenizer())


def unit_length(x):
    return (x / x.norm(dim=-1, keepdim=True)).detach().numpy()


@pytest.mark.parametrize(
    "height, width", [(32, 32), (20, 20), (50, 37), (64, 121)]
)
def test_image_embeddings_equal_transformers(theirs, scorer, height, width):
    images = noisy_pictures(height, width)
    size = {"shortest_edge": IMAGE_SIZE}
    crop = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = transformers.CLIPImageProcessorPil(size=size, crop_size=crop)
    pixels = processor(
        [Image.fromarray(image) for image in images], return_tensors="pt"
    )
    outputs = theirs.visual_projection(
        theirs.vision_model(**pixels).pooler_output
    )
    expected = unit_length(outputs)
    actual = scorer.image_embeddings(images)
    assert actual.shape == (2, DIM) and actual.dtype == "float32"
    np.testing.assert_allclose(actual, expected, atol=1e-4)
    # The pictures are told apart.
    assert np.abs(expected[0] - expected[1]).max() > 1e-2


def test_text_embeddings_equal_transformers(theirs, scorer, tmp_path):
    tiny_clip.save_tokenizer(tmp_path)
    token_ids = tiny_clip.reference_ids(tmp_path, tiny_clip.TEXTS)
    outputs = theirs.text_projection(theirs.text_model(token_ids).pooler_output)
    actual = scorer.text_embeddings(tiny_clip.TEXTS)
    np.testing.assert_allclose(actual, unit_length(outputs), atol=1e-4)


def test_scores_are_cosines(scorer):
    images = noisy_pictures(40, 40, 3)
    texts = ["a red cat", "", "cat"]
    scores = scorer.score(images, texts)
    assert scores.shape == (3,) and scores.dtype == "float32"
    vectors = scorer.image_embeddings(images)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=1e-5)
    expected = vectors @ scorer.text_embeddings(texts).T
    np.testing.assert_allclose(scores, np.diag(expected), atol=1e-6)
    # Pictures of a model and of people are the same.
    np.testing.assert_allclose(
        scorer.score(to_model_range(images), texts), scores, atol=1e-6
    )


def test_batches_change_nothing(scorer):
    images = noisy_pictures(40, 40, 3)
    small = CLIPScorer(scorer.backbone, scorer.tokenizer, batch_size=2)
    np.testing.assert_allclose(
        small.image_embeddings(images),
        scorer.image_embeddings(images),
        atol=1e-5,
    )


def test_loads_a_preset_of_keras_hub(scorer, tmp_path):
    scorer.backbone.save_to_preset(tmp_path)
    scorer.tokenizer.save_to_preset(tmp_path)
    keras.config.set_dtype_policy("mixed_bfloat16")
    loaded = CLIPScorer.from_preset(str(tmp_path))
    assert loaded.backbone.text_encoder.compute_dtype == "float32"
    images = noisy_pictures(40, 40)
    np.testing.assert_allclose(
        loaded.score(images, ["a red cat", "cat"]),
        scorer.score(images, ["a red cat", "cat"]),
        atol=1e-6,
    )


def test_config_round_trip(scorer):
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(scorer)
    )
    assert isinstance(copy, CLIPScorer)
    assert copy.get_config() == scorer.get_config()


def test_refuses_what_it_cannot_score(scorer):
    images = noisy_pictures(40, 40)
    with pytest.raises(ValueError, match="Received: 1 texts, 2 pictures"):
        scorer.score(images, ["cat"])
    with pytest.raises(ValueError, match=r"shape=\(40, 40, 3\)"):
        scorer.image_embeddings(images[0])
