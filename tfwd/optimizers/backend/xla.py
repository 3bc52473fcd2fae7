"""What XLA compiles, and what it must not join.

The one file with a private name of TensorFlow, which says of a graph that XLA
compiles it; its own distribution strategies ask the same.
"""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    def compiles_for_cpu():
        """Whether XLA compiles what is traced here, and for a CPU."""
        graph = tf.compat.v1.get_default_graph()
        if not control_flow_util.GraphOrParentsInXlaContext(graph):
            return False
        devices = tf.config.list_physical_devices()
        return all(device.device_type == "CPU" for device in devices)

elif keras.backend.backend() == "jax":
    import jax

    def compiles_for_cpu():
        """Whether XLA compiles what is traced here, and for a CPU."""
        return jax.default_backend() == "cpu"

else:

    def compiles_for_cpu():
        """Whether XLA compiles what is traced here, and for a CPU."""
        return False


def apart(predicate, compute, otherwise):
    """Returns `compute()`, which XLA on JAX joins to nothing that reads it.

    Joined, a sum of products would be rounded otherwise.

    Args:
        predicate: A boolean scalar that is true and no constant.
        compute: Returns a list of tensors.
        otherwise: Tensors like those.
    """
    if keras.backend.backend() != "jax":
        return compute()
    return keras.ops.cond(predicate, compute, lambda: otherwise)
