"""Classes that Keras finds in a saved model before anybody imported them.

Keras looks up a registered class by its name, and a class registers when its
module is imported. Ours are imported when they are first used: until then a
stand-in has the place, which imports the class when Keras makes one.
"""

import importlib
import importlib.abc
import importlib.util
import sys

PACKAGE = "keras_muse"
# The names that are registered in each module.
CLASSES = {
    "layers.attention": "Attention",
    "layers.conditional_norm": "ConditionalNorm",
    "layers.convnext_block": "ConvNeXtBlock",
    "layers.feed_forward": "FeedForward",
    "layers.fsq": "FSQ",
    "layers.initializers": "RandomNormal TruncatedNormal VarianceScaling",
    "layers.multi_axis_attention": "MultiAxisAttention",
    "layers.resnet_block": "ResnetBlock",
    "layers.spatial_attention": "SpatialAttention",
    "layers.text_attention_block": "TextAttentionBlock",
    "layers.token_embedding": "TokenEmbedding",
    "layers.transformer_layer": "TransformerLayer",
    "layers.uvit_stage": "UViTStage",
    "layers.uvit_transformer_layer": "UViTTransformerLayer",
    "layers.vector_quantizer": "VectorQuantizer",
    "layers.vqgan_decoder": "VQGANDecoder",
    "layers.vqgan_encoder": "VQGANEncoder",
    "losses.adversarial": "AdversarialLoss",
    "losses.lpips": "LPIPS",
    "losses.perceptual_network": "PerceptualNetwork",
    "metrics.clip_score": "CLIPScore",
    "metrics.codebook_usage": "CodebookPerplexity CodebookUsage",
    "metrics.frechet_distance": "FrechetDistance",
    "metrics.inception_score": "InceptionScore",
    "metrics.kernel_distance": "KernelDistance",
    "metrics.networks.efficientnet_lite0": "EfficientNetLite0",
    "metrics.networks.fid_inception": "FIDInception",
    "metrics.networks.perceptual_features": "PerceptualFeatures",
    "metrics.perceptual_distance": "PerceptualDistance",
    "metrics.precision_recall": "PrecisionRecall",
    "metrics.psnr": "PSNR",
    "metrics.r_precision": "RPrecision",
    "models.text_encoders.bert_layer": "BertEncoderLayer",
    "models.text_encoders.clip_text_encoder": "CLIPTextEncoder",
    "models.text_encoders.minilm_text_encoder": "MiniLMTextEncoder",
    "models.text_encoders.t5_layers": "T5EncoderLayer T5PositionBias",
    "models.text_encoders.t5_text_encoder": "T5TextEncoder",
    "models.text_encoders.text_encoder": "TextEncoder",
    "models.transformers.muse_base": "MuseBase",
    "models.transformers.muse_super_res": "MuseSuperRes",
    "models.transformers.uvit_base": "UViTBase",
    "models.vqgan.discriminator": "Discriminator",
    "models.vqgan.vqgan_tokenizer": "VQGANTokenizer",
    "muse.muse": "Muse",
    "optimizers.adafactor": "AdafactorMomentum",
    "samplers.amused_sampler": "AmusedSampler",
    "samplers.confidence_sampler": "ConfidenceSampler",
    "samplers.halton_sampler": "HaltonSampler",
    "samplers.remdm_sampler": "ReMDMSampler",
    "samplers.resampling_sampler": "ResamplingSampler",
    "scorers.clip_scorer": "CLIPScorer",
    "scorers.picture_network": "PictureNetwork",
    "scorers.picture_text_scorer": "PictureTextScorer",
}


class StandIn:
    """Has what a class has, which it imports when asked for any of it.

    Args:
        module: string. The module of the class, whose import registers it.
        name: string. The name of the class.
    """

    def __init__(self, module, name):
        self._module = module
        self._name = name

    def _resolve(self):
        return getattr(importlib.import_module(self._module), self._name)

    def __getattr__(self, name):
        return getattr(self._resolve(), name)

    def __call__(self, *args, **kwargs):
        return self._resolve()(*args, **kwargs)

    @property
    def __bases__(self):
        # `issubclass` asks for it, as loaders of presets do.
        return (self._resolve(),)


def make_known():
    """Makes all classes known to Keras, now or as soon as it is imported."""
    if "keras" in sys.modules:
        _fill(sys.modules["keras"])
    else:
        sys.meta_path.insert(0, _WhenKerasIsImported())


def _fill(keras):
    known = keras.saving.get_custom_objects()
    for module, names in CLASSES.items():
        for name in names.split():
            stand_in = StandIn(f"{PACKAGE}.{module}", name)
            known.setdefault(f"{PACKAGE}>{name}", stand_in)


class _WhenKerasIsImported(importlib.abc.MetaPathFinder):
    """Waits for an import of Keras; our own would take seconds."""

    def find_spec(self, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            load = spec.loader.exec_module

            def load_and_fill(keras):
                load(keras)
                _fill(keras)

            spec.loader.exec_module = load_and_fill
        return spec
