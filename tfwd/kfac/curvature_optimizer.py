"""An optimizer that updates the factors of a curvature, and their inverses."""

import keras
from keras import ops

from tfwd.kfac import attached
from tfwd.kfac import failures
from tfwd.kfac import schedule as schedule_lib
from tfwd.optimizers import decaying

# Sampled vectors of a cold start: far from any step of the training.
_COLD_START_STEP = 2**30


class CurvatureOptimizer(attached.AttachedOptimizer):
    """Updates factors and inverses, and says when that is due.

    What is done with them is for the leaf: `tfwd.KFAC`, which documents the
    arguments.
    """

    @property
    def schedule(self):
        """The `schedule.Schedule` of factors and inverses."""
        state, configuration = self.curvature_state(), self.configuration
        slots = (0,) * len(state.units)
        if configuration.stagger_inverses:
            slots = schedule_lib.staggered_slots(
                [unit.cost for unit in state.units],
                configuration.inverse_every,
                configuration.factor_every,
            )
        return schedule_lib.Schedule(
            slots,
            configuration.factor_every,
            configuration.inverse_every,
            configuration.update_order == "authors",
            bool(ops.convert_to_numpy(state.cold_starts)),
            self.gradient_accumulation_steps or 1,
        )

    def update_factors(self, inputs, targets=None, sample_weight=None):
        """Adds a batch to the averages of the factors.

        Eagerly, or in replica context with the replica's part of the batch.
        Inside a `tf.function` of the caller's, products of float32 on a GPU
        are in TF32 unless the caller has switched that off. On JAX the values
        used are those that the variables hold, not those of a stateless loop.

        Args:
            inputs: Inputs of the model.
            targets: Labels; needed for the empirical Fisher alone.
            sample_weight: None, or weights as `fit` takes them. Of weights of
                single predictions A sees each example's mean.
        """
        self.attachment.update_factors(inputs, targets, sample_weight)

    def update_inverses(self, units=None):
        """Inverts the factors, or those of the units that `schedule` names."""
        if units is None:
            units = range(len(self.curvature_state().units))
        if len(units):
            self.attachment.update_inverses(tuple(units))

    def cold_start(self, dataset, average=None):
        """Burn-in: averages the factors over a pass, and inverts them.

        The weights are frozen. Zhang et al. 2019 call it a cold start.

        Args:
            dataset: Iterable of batches: inputs, or (inputs, targets) or
                (inputs, targets, sample_weight).
            average: For batches of another form: a function of a batch, the
                number of those before it as a float, and the step that its
                samples are drawn for, which calls
                `attachment.average_factors`.

        Raises:
            ValueError: If there is no batch.

        References:
            The initialization of the published code of Zhang et al. 2019.
        """
        average = average or self._average
        count = 0
        for batch in dataset:
            average(batch, float(count), _COLD_START_STEP + count)
            count += 1
        if not count:
            raise ValueError("`dataset` must hold a batch. Received: none")
        self.update_inverses()
        self._state.cold_starts.assign(1)

    def _average(self, batch, count, step):
        self.attachment.average_factors(
            *keras.utils.unpack_x_y_sample_weight(batch), count, step
        )

    def factors(self):
        """Returns {layer name: (A, G)} as arrays, debiased.

        A = Σ a aᵀ/(BT) and G = Σ g gᵀ/(BT) over B examples and T positions
        of the layer; the block is T·A ⊗ G. (Where a model makes several
        predictions per example, G is the mean over them too.) One factor F
        where a block has one.
        """
        return self.curvature_state().by_layer(self._report.records)

    def summary(self, print_fn=print):
        """Prints the registration, and the failures so far."""
        if self._report is None:
            raise ValueError(
                "`summary()` needs `attach(model)`. Received: no attached model"
            )
        print_fn(str(self._report))
        for name, count in self.events().items():
            if count:
                print_fn(f"{name}: {count} ({failures.EVENTS[name]})")

    def events(self):
        """Returns {name: count} of the failures so far, as ints."""
        if self._state is None:
            return dict.fromkeys(failures.EVENTS, 0)
        return self._state.failures.counts()

    def warn_of_events(self, optimizer_variables=None):
        """Warns of each kind of failure, once.

        Args:
            optimizer_variables: The values of `optimizer.variables` in a
                stateless (JAX) loop.
        """
        # After an error in a step of JAX, variables hold nothing.
        is_known = optimizer_variables is not None or (
            decaying.known(self.skipped_steps) is not None
        )
        if self._state is not None and is_known:
            values = self.values_by_id(optimizer_variables)
            self._state.failures.warn(self.name, values)
