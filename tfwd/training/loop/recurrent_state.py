"""The recurrent state of a language model, kept from segment to segment.

Stream b of the text stays row b of every batch, so that the state at the end of
a segment is where the next one starts (truncated backpropagation through time).
Each replica keeps that of its own streams.
"""

import tensorflow as tf


class RecurrentState:
    """The states of a model that takes [tokens, *states], on every replica.

    Args:
        strategy: The `tf.distribute.Strategy` that made the model.
        model: Returns [logits, *states]; each state is [streams, units].
        streams: Of all replicas together, a multiple of their number.

    Raises:
        ValueError: The replicas do not divide `streams`, the batch size.
    """

    def __init__(self, strategy, model, streams):
        replicas = strategy.num_replicas_in_sync
        if streams % replicas:
            raise ValueError(
                f"`batch_size` must be divisible by the {replicas} replicas. "
                f"Received: batch_size={streams}"
            )
        self.strategy = strategy
        self._rows = streams // replicas
        with strategy.scope():
            self._variables = [
                tf.Variable(
                    tf.zeros((self._rows, state.shape[-1]), state.dtype),
                    trainable=False,
                    synchronization=tf.VariableSynchronization.ON_READ,
                    aggregation=tf.VariableAggregation.NONE,
                )
                for state in model.inputs[1:]
            ]
        self._reset = tf.function(self._reset_all)
        self._assign = tf.function(self._assign_all)
        self._read = tf.function(self._read_all)

    def values(self):
        """Returns the states of this replica, in replica context."""
        return [variable.read_value() for variable in self._variables]

    def of_replica(self, number):
        """Returns the states of this process's replica number `number`."""
        return [
            self.strategy.experimental_local_results(value)[number]
            for value in self._read()
        ]

    def update(self, states, condition=True):
        """Keeps the states of this replica, in replica context.

        Args:
            states: [streams of the replica, units] each.
            condition: A boolean; False leaves the states as they were.
        """
        for variable, state in zip(self._variables, states, strict=True):
            state = tf.cast(state, variable.dtype)
            variable.assign(tf.where(condition, state, variable.read_value()))

    def reset(self):
        """Starts all streams anew, with zeros."""
        self._reset()

    def gathered(self):
        """Returns the states of all streams, {name: [streams, units]}.

        A collective: every worker has to call it.
        """
        return {
            f"state{number}": self.strategy.gather(value, axis=0)
            for number, value in enumerate(self._read())
        }

    def assign(self, states):
        """Sets the states of all streams, [streams, units] each."""
        self._assign(states)

    def _reset_all(self):
        def on_replica():
            for variable in self._variables:
                variable.assign(tf.zeros_like(variable))

        self.strategy.run(on_replica)

    def _assign_all(self, states):
        def on_replica(states):
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group * self._rows
            self.update([each[first : first + self._rows] for each in states])

        self.strategy.run(on_replica, (states,))

    def _read_all(self):
        return self.strategy.run(self.values)
