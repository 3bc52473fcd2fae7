"""Marks of tests of what Keras does not have in every version that is tried."""

import keras
import pytest

HAS_MULTI_OPTIMIZER = hasattr(keras.optimizers, "MultiOptimizer")
needs_multi_optimizer = pytest.mark.skipif(
    not HAS_MULTI_OPTIMIZER,
    reason="Keras before 3.15 has no MultiOptimizer",
)
needs_renormalization = pytest.mark.skipif(
    not hasattr(keras.layers.BatchNormalization(), "renorm"),
    reason="Keras before 3.14 has no BatchNormalization(renorm=True)",
)
