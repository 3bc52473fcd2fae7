"""Which of the processes that train together writes files and prints."""

import keras


def is_chief(model):
    """Returns whether it is this one; the only process always is.

    Args:
        model: The model that trains.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.process_index() == 0
    # TensorFlow's models have one.
    strategy = getattr(model, "distribute_strategy", None)
    return strategy is None or strategy.extended.should_checkpoint
