"""One layer a file, each with its shapes; no loop over decoding steps."""

from keras_muse.layers.attention import Attention
from keras_muse.layers.conditional_norm import ConditionalNorm
from keras_muse.layers.convnext_block import ConvNeXtBlock
from keras_muse.layers.feed_forward import FeedForward
from keras_muse.layers.fsq import FSQ
from keras_muse.layers.multi_axis_attention import MultiAxisAttention
from keras_muse.layers.resnet_block import ResnetBlock
from keras_muse.layers.spatial_attention import SpatialAttention
from keras_muse.layers.text_attention_block import TextAttentionBlock
from keras_muse.layers.token_embedding import TokenEmbedding
from keras_muse.layers.transformer_layer import TransformerLayer
from keras_muse.layers.uvit_stage import UViTStage
from keras_muse.layers.uvit_transformer_layer import UViTTransformerLayer
from keras_muse.layers.vector_quantizer import VectorQuantizer
from keras_muse.layers.vqgan_decoder import VQGANDecoder
from keras_muse.layers.vqgan_encoder import VQGANEncoder

__all__ = [
    "Attention",
    "ConditionalNorm",
    "ConvNeXtBlock",
    "FSQ",
    "FeedForward",
    "MultiAxisAttention",
    "ResnetBlock",
    "SpatialAttention",
    "TextAttentionBlock",
    "TokenEmbedding",
    "TransformerLayer",
    "UViTStage",
    "UViTTransformerLayer",
    "VQGANDecoder",
    "VQGANEncoder",
    "VectorQuantizer",
]
