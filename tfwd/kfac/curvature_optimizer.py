"""An optimizer that is attached to a model and keeps the model's curvature."""

import keras
from keras import ops

from tfwd.kfac import attachment as attachment_lib
from tfwd.kfac import backend
from tfwd.kfac import configured
from tfwd.kfac import failures
from tfwd.kfac import registration
from tfwd.kfac import schedule as schedule_lib
from tfwd.kfac import state as state_lib
from tfwd.optimizers import arguments
from tfwd.optimizers import policy

# Sampled vectors of a cold start: far from any step of the training.
_COLD_START_STEP = 2**30


class CurvatureOptimizer(configured.ConfiguredOptimizer):
    """Holds factors and inverses, and says when they are due.

    What is done with them is for the leaf: `tfwd.KFAC`, which documents the
    arguments.
    """

    def __init__(self, learning_rate, weight_decay, **arguments):
        if backend.current is None:
            raise ValueError(
                "KFAC needs the backend tensorflow or jax. Received: "
                f"{keras.backend.backend()}"
            )
        super().__init__(learning_rate, weight_decay, **arguments)
        self.strategy = backend.current.strategy_in_force()
        self._attached = None
        # Of the model attached last, or else of the one a config speaks of.
        self._report = None
        self._state = None

    def attach(self, model, loss=None):
        """Hooks the layers of a model, once, and says what was found.

        Call it again after `keras.saving.load_model`: factors and inverses go
        on from what was saved. An optimizer that is not built yet may be
        attached to another model; the first one is detached.

        Args:
            model: A built model.
            loss: A Keras loss; by default the one that is compiled when the
                first factors are computed.

        Returns:
            A `registration.Report`; print it to see layers, blocks, factor
            sizes and bytes.

        Raises:
            ValueError: If the model is not built, has a layer or a loss that
                is not supported, or is not the one that the factors belong to.
                What was attached before stays attached.
        """
        arguments.check_model("model", model)
        if not model.built:
            raise ValueError(
                "`attach(model)` needs a built model; call it on a batch "
                f"first. Received: {model.name}, built={model.built}"
            )
        blocks, report = registration.of_model(
            model,
            self.configuration.on_unsupported,
            self.configuration.damping_mode,
        )
        if not blocks:
            raise ValueError(
                "KFAC needs a model with at least one supported trainable "
                f"layer. Received: {model.name}"
            )
        if self._state is not None:
            registration.check_same(self._report, report)
            self._check_same_variables(
                self.model_variables(), model.trainable_variables
            )
        attached = attachment_lib.Attachment(self, model, loss, blocks)
        self.detach()
        attached.install()
        self._report, self._attached = report, attached
        if self._state and ops.convert_to_numpy(self._state.refreshes) > 0:
            self._attached.keep_refreshed()
        return report

    def detach(self):
        """Removes the hooks from the model, if there are any."""
        if self._attached is not None:
            self._attached.remove()
            self._attached = None

    def build(self, variables):
        """Creates factors and inverses.

        Raises:
            ValueError: If no model is attached and none was saved, or the
                variables are not those that the model had when attached.
        """
        if self._attached is not None:
            self._check_same_variables(self._attached.variables, variables)
        if self._report is None:
            raise ValueError(
                "KFAC needs `optimizer.attach(model)` before the first step. "
                "Received: no attached model"
            )
        super().build(variables)
        self._state = state_lib.CurvatureState(
            self.add_variable,
            self._report.records,
            self.configuration.damping_mode,
            failures.Failures(self.add_variable, self.skipped_steps),
        )

    def check_variables(self, variables):
        """Checks that these are the variables it was built for.

        Raises:
            ValueError: If they are others.
        """
        self._check_same_variables(self.model_variables(), variables)

    @property
    def attachment(self):
        """The `attachment.Attachment` to a model.

        Raises:
            ValueError: If there is none.
        """
        if self._attached is None:
            raise ValueError(
                "KFAC needs `optimizer.attach(model)` before the first step, "
                "and again after loading. Received: no attached model"
            )
        return self._attached

    @property
    def report(self):
        """The `registration.Report` of the model, None before `attach`."""
        return self._report

    @property
    def schedule(self):
        """The `schedule.Schedule` of factors and inverses."""
        units, configuration = self.curvature_state().units, self.configuration
        factor_every, inverse_every = (
            configuration.factor_every,
            configuration.inverse_every,
        )
        slots = (0,) * len(units)
        if configuration.stagger_inverses:
            slots = schedule_lib.staggered_slots(
                [unit.cost for unit in units], inverse_every, factor_every
            )
        return schedule_lib.Schedule(
            slots,
            factor_every,
            inverse_every,
            configuration.update_order == "authors",
            bool(ops.convert_to_numpy(self._state.cold_starts)),
            self.gradient_accumulation_steps or 1,
        )

    def curvature_state(self):
        """Returns the `state.CurvatureState`, which it creates if need be."""
        if self._state is None:
            with backend.current.scope_of(self.strategy):
                self.build(self.attachment.model.trainable_variables)
        return self._state

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
            policy.known(self.skipped_steps) is not None
        )
        if self._state is not None and is_known:
            values = self.values_by_id(optimizer_variables)
            self._state.failures.warn(self.name, values)

    def values_by_id(self, optimizer_variables):
        """Returns {id of a variable: its value}, {} for None."""
        if optimizer_variables is None:
            return {}
        keys = map(id, self.variables)
        return dict(zip(keys, optimizer_variables, strict=True))

    def get_config(self):
        """Returns the arguments and, once attached, the registration."""
        config = super().get_config()
        if self._report is not None:
            config["registration"] = registration.as_config(self._report)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an optimizer that `attach` binds to a model again."""
        config = dict(config)
        saved = config.pop("registration", None)
        optimizer = super().from_config(config, custom_objects)
        if saved is not None:
            optimizer._report = registration.from_config(
                saved, optimizer.damping_mode
            )
        return optimizer

    def _check_same_variables(self, known, variables):
        blocks = self._attached.blocks if self._attached is not None else ()
        registration.check_same_variables(
            known, variables, [block.layer for block in blocks]
        )
