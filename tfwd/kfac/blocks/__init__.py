"""Which block covers which layer."""

import keras

from tfwd.kfac.blocks.block import Block
from tfwd.kfac.blocks.block import Call
from tfwd.kfac.blocks.block import UnsupportedLayerError
from tfwd.kfac.blocks.convolution import ConvolutionBlock
from tfwd.kfac.blocks.convolution import DepthwiseConvolutionBlock
from tfwd.kfac.blocks.dense import DenseBlock
from tfwd.kfac.blocks.einsum_dense import EinsumDenseBlock
from tfwd.kfac.blocks.embedding import EmbeddingBlock
from tfwd.kfac.blocks.normalization import BatchNormalizationBlock
from tfwd.kfac.blocks.normalization import LayerNormalizationBlock

__all__ = ["BLOCKS", "Block", "Call", "UnsupportedLayerError", "block_for"]

# Exact classes: what a subclass computes is not known until somebody
# registers it here.
BLOCKS: dict[type, type[Block]] = {
    keras.layers.Dense: DenseBlock,
    keras.layers.Conv1D: ConvolutionBlock,
    keras.layers.Conv2D: ConvolutionBlock,
    keras.layers.DepthwiseConv2D: DepthwiseConvolutionBlock,
    keras.layers.EinsumDense: EinsumDenseBlock,
    keras.layers.Embedding: EmbeddingBlock,
    keras.layers.BatchNormalization: BatchNormalizationBlock,
    keras.layers.LayerNormalization: LayerNormalizationBlock,
}


def block_for(layer):
    """Returns the block of a built layer.

    Raises:
        UnsupportedLayerError: If the layer is not covered; its text is the
            reason.
    """
    block = BLOCKS.get(type(layer))
    if block is None:
        raise UnsupportedLayerError(f"{type(layer).__name__} is not supported")
    return block(layer)
