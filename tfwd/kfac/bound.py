"""An optimizer that is attached to a model and keeps the model's curvature."""

import keras
from keras import ops

from tfwd import arguments
from tfwd.kfac import attachment as attachment_lib
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import damped
from tfwd.kfac import failures
from tfwd.kfac import inverses
from tfwd.kfac import registration
from tfwd.kfac import schedule as schedule_lib
from tfwd.kfac import state as state_lib
from tfwd.optimizers import decaying

if keras.backend.backend() == "tensorflow":
    from tfwd.kfac import tensorflow_backend as backend_lib
elif keras.backend.backend() == "jax":
    from tfwd.kfac import jax_backend as backend_lib
else:
    backend_lib = None

UPDATE_ORDERS = ("algorithm", "authors")
UNSUPPORTED = ("error", "sgd")

# Sampled vectors of a cold start: far from any step of the training.
_COLD_START_STEP = 2**30


class CurvatureOptimizer(damped.DampedOptimizer):
    """Holds factors and inverses, and says when they are due.

    What is done with them is for the leaf: `tfwd.KFAC`, which documents the
    arguments.
    """

    def __init__(
        self,
        learning_rate,
        weight_decay,
        *,
        curvature,
        damping,
        damping_mode,
        factor_decay,
        factor_every,
        inverse_every,
        stagger_inverses,
        curvature_scale,
        estimation,
        on_unsupported,
        update_order,
        seed,
        **policy_arguments,
    ):
        """Checks and keeps the arguments."""
        if backend_lib is None:
            raise ValueError(
                "KFAC needs the backend tensorflow or jax. Received: "
                f"{keras.backend.backend()}"
            )
        choice, steps = arguments.check_choice, arguments.LARGEST_STEP
        curvature = choice("curvature", curvature, curvature_lib.CURVATURES)
        damping_mode = choice(
            "damping_mode", damping_mode, inverses.DAMPING_MODES
        )
        estimation = choice("estimation", estimation, curvature_lib.ESTIMATIONS)
        on_unsupported = choice("on_unsupported", on_unsupported, UNSUPPORTED)
        update_order = choice("update_order", update_order, UPDATE_ORDERS)
        if curvature_scale is not None:
            curvature_scale = arguments.check_positive(
                "curvature_scale", curvature_scale
            )
        factor_decay = arguments.check_decay_rate("factor_decay", factor_decay)
        factor_every = arguments.check_integer(
            "factor_every", factor_every, 1, steps
        )
        inverse_every = arguments.check_integer(
            "inverse_every", inverse_every, 1, steps
        )
        stagger_inverses = arguments.check_boolean(
            "stagger_inverses", stagger_inverses
        )
        seed = arguments.check_integer("seed", seed, 0)
        accumulated = policy_arguments.get("gradient_accumulation_steps")
        if update_order == "authors" and accumulated is not None:
            raise ValueError(
                "`gradient_accumulation_steps` must be None with "
                "update_order='authors', where the last batch of a step would "
                "meet other weights than the first. Received: "
                f"gradient_accumulation_steps={arguments.shown(accumulated)}"
            )
        super().__init__(
            learning_rate, weight_decay, damping=damping, **policy_arguments
        )
        self.curvature = curvature
        self.damping_mode = damping_mode
        self.factor_decay = factor_decay
        self.factor_every = factor_every
        self.inverse_every = inverse_every
        self.stagger_inverses = stagger_inverses
        self.curvature_scale = curvature_scale
        self.estimation = estimation
        self.on_unsupported = on_unsupported
        self.update_order = update_order
        self.seed = seed
        self.backend = backend_lib
        self.strategy = backend_lib.strategy_in_force()
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
            model, self.on_unsupported, self.damping_mode
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
            backend_lib,
            self.add_variable,
            self._report.records,
            self.damping_mode,
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
        units = self.curvature_state().units
        slots = (0,) * len(units)
        if self.stagger_inverses:
            costs = [unit.cost for unit in units]
            slots = schedule_lib.staggered_slots(
                costs, self.inverse_every, self.factor_every
            )
        return schedule_lib.Schedule(
            slots,
            self.factor_every,
            self.inverse_every,
            self.update_order == "authors",
            bool(ops.convert_to_numpy(self._state.cold_starts)),
            self.gradient_accumulation_steps or 1,
        )

    def curvature_state(self):
        """Returns the `state.CurvatureState`, which it creates if need be."""
        if self._state is None:
            with backend_lib.scope_of(self.strategy):
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
        """Averages the factors over a pass with frozen weights, and inverts.

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
        state = self.curvature_state()
        positions = ops.convert_to_numpy(state.positions)
        result = {}
        for number, record in enumerate(self._report.records):
            factors = [ops.convert_to_numpy(f) for f in state.debiased(number)]
            if len(factors) == 2:
                factors[1] = factors[1] / positions[number].astype(
                    factors[1].dtype
                )
            result[record.layer] = tuple(factors)
        return result

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
        if [id(v) for v in known] != [id(v) for v in variables]:
            changes = ""
            if self._attached is not None:
                layers = [block.layer for block in self._attached.blocks]
                changes = registration.changes_of(layers)
            raise ValueError(
                "KFAC must be attached to the model that it trains, after the "
                "last change of its layers and of `trainable`, and train all "
                "of it, not a part as in a `MultiOptimizer`; once built, "
                "another model needs a new optimizer. Received: "
                f"{len(variables)} variables, not the {len(known)} it knows"
                f"{f' ({changes})' if changes else ''}"
            )
