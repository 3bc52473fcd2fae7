"""Whether XLA compiles what is traced, and for a CPU.

The one file with a private name of TensorFlow, which says so of a graph; its
own distribution strategies ask the same.
"""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util

    def compiles_for_cpu():
        """Whether XLA compiles what is traced here, and for a CPU."""
        graph = tf.compat.v1.get_default_graph()
        return (
            control_flow_util.GraphOrParentsInXlaContext(graph)
            and not _accelerators()
        )

    def _accelerators():
        return [
            device
            for device in tf.config.list_physical_devices()
            if device.device_type != "CPU"
        ]

elif keras.backend.backend() == "jax":
    import jax

    def compiles_for_cpu():
        """Whether XLA compiles what is traced here, and for a CPU."""
        return jax.default_backend() == "cpu"

else:

    def compiles_for_cpu():
        """Whether XLA compiles what is traced here, and for a CPU."""
        return False
