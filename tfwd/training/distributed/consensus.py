"""What several workers have to decide alike, since they act together.

A worker that saves, stops or starts elsewhere than the others would leave them
waiting in a collective.
"""

import tensorflow as tf

from tfwd.training.distributed import strategy as strategy_lib


class Consensus:
    """Decisions of all workers; those of the only one where there is one.

    Args:
        strategy: The `tf.distribute.Strategy`.
    """

    def __init__(self, strategy):
        self._strategy = strategy
        self._alone = strategy_lib.num_workers(strategy) == 1
        self._is_chief = strategy_lib.is_chief(strategy)
        self._sum = tf.function(self._sum_over_workers)

    def any(self, *flags):
        """Returns for each flag whether one of the workers has it set."""
        if self._alone:
            return flags
        sums = self._sum(tf.constant(flags, tf.int64))
        return tuple(bool(each) for each in sums.numpy())

    def of_chief(self, number):
        """Returns the chief's number, an int."""
        if self._alone:
            return number
        return int(self._sum(tf.constant(number * self._is_chief, tf.int64)))

    def _sum_over_workers(self, numbers):
        def on_replica(numbers):
            context = tf.distribute.get_replica_context()
            first = context.replica_id_in_sync_group % self._replicas == 0
            return tf.where(first, numbers, tf.zeros_like(numbers))

        local = self._strategy.run(on_replica, (numbers,))
        return self._strategy.reduce("SUM", local, axis=None)

    @property
    def _replicas(self):
        """The replicas of one worker, which hand in the same numbers."""
        workers = strategy_lib.num_workers(self._strategy)
        return self._strategy.num_replicas_in_sync // workers
