"""Fifty steps of one small convolutional network under any strategy.

Everything that makes replicas differ is in it: uneven last batches, dropout,
batch normalization, augmentation, accumulation, clipping.
"""

import keras
import numpy as np

import tfwd
from tfwd import data
from tfwd.models import dropout
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import kfac_work
from tfwd.training.loop import loop as loop_lib
from tfwd.training.loop import step as step_lib
from tfwd.training.setup import optimization as optimizer_lib

EXAMPLES, BATCH, CLASSES, STEPS = 42, 16, 5, 50
# Small rates: after fifty steps roundings are still roundings.
OPTIMIZERS = {
    name: dict(learning_rate=rate)
    for name, rate in {
        **dict.fromkeys(optimizer_lib.OPTIMIZERS, 1e-3),
        **dict.fromkeys(("sgd", "sgdw", "sgds", "kfac", "padam"), 1e-2),
        **dict.fromkeys(("adai", "adaiw", "adais"), 1e-2),
    }.items()
}
OPTIMIZERS["kfac"] |= dict(damping=0.1, factor_every=4, inverse_every=8)
_TOGETHER = {
    "global_clipnorm": 0.5,
    "gradient_accumulation_steps": 2,
    "exclude_from_weight_decay": "@bias",
}
CONFIGURATIONS = {
    "plain": {},
    "clipped_accumulated": _TOGETHER,
    "clipped_accumulated_l2": {**_TOGETHER, "weight_decay_mode": "l2"},
}


def source():
    """Random images in memory."""
    random = np.random.default_rng(3)
    images = random.integers(0, 256, (EXAMPLES, 8, 8, 3), dtype=np.uint8)
    labels = random.integers(CLASSES, size=EXAMPLES).astype(np.int32)
    examples = data.Examples(images, labels)
    return data.Splits(
        "random",
        examples,
        None,
        examples,
        CLASSES,
        (8, 8, 3),
        (0.5, 0.5, 0.5),
        (0.3, 0.3, 0.3),
    )


def network():
    """Convolution, normalization over all replicas, dropout, dense."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            # A bias before a normalization has no gradient but roundings,
            # which Adam divides by their size.
            keras.layers.Conv2D(
                6, 3, strides=2, use_bias=False, name="convolution"
            ),
            keras.layers.BatchNormalization(synchronized=True, name="norm"),
            keras.layers.ReLU(name="relu"),
            keras.layers.Flatten(name="flatten"),
            dropout.KeyedDropout(0.3, stream=0, name="dropout"),
            keras.layers.Dense(CLASSES, name="logits"),
        ]
    )


def weights_after_training(strategy, name, configuration):
    """The model's weights after fifty steps, as arrays."""
    with strategy.scope():
        model = network()
        optimizer = optimizer_lib.OPTIMIZERS[name](
            weight_decay=0.01,
            **OPTIMIZERS[name],
            **CONFIGURATIONS[configuration],
        )
        if isinstance(optimizer, tfwd.KFAC):
            optimizer.attach(
                model, keras.losses.SparseCategoricalCrossentropy(True)
            )
        optimizer.build(model.trainable_variables)
    work = kfac_work.of(strategy, optimizer)
    loop = loop_lib.Loop(
        strategy, step_lib.Step(model, optimizer, curvature=work)
    )
    batches = source().training_batches(
        BATCH,
        seed=4,
        augment=True,
        shard=strategy_lib.shard(strategy),
    )
    iterator = iter(
        strategy.distribute_datasets_from_function(lambda context: batches)
    )
    step = 0
    while step < STEPS:
        step += loop.advance(iterator, step, STEPS - step).steps
    loop.average_replica_state()
    return model.get_weights()


def train_as_worker(configurations, path):
    """Trains in one process of a cluster; the chief writes all weights.

    Args:
        configurations: {name of an optimizer: names of configurations}.
        path: A file of arrays named "optimizer configuration number".
    """
    strategy = strategy_lib.create(
        settings_lib.Settings(
            strategy="multi_worker", output_dir="unused", epochs=1
        ).distribution
    )
    arrays = {
        f"{name} {configuration} {number}": array
        for name, chosen in configurations.items()
        for configuration in chosen
        for number, array in enumerate(
            weights_after_training(strategy, name, configuration)
        )
    }
    if strategy_lib.is_chief(strategy):
        np.savez(path, **arrays)
    return 0
