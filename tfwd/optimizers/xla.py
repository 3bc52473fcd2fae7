"""Whether TensorFlow's XLA compiles what is traced, and for a CPU.

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
        if not control_flow_util.GraphOrParentsInXlaContext(graph):
            return False
        devices = tf.config.list_physical_devices()
        return all(device.device_type == "CPU" for device in devices)

else:

    def compiles_for_cpu():
        """Whether TensorFlow's XLA does, which it does not here."""
        return False
