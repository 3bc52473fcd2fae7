"""K-FAC: the gradient times the inverse of a Kronecker-factored curvature."""

import contextlib
import threading
import warnings

import keras
from keras import ops

from tfwd.kfac import attachment as attachment_lib
from tfwd.kfac import backward
from tfwd.kfac import capture
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import damping as damping_lib
from tfwd.kfac import fitting
from tfwd.kfac import inverses
from tfwd.kfac import registration
from tfwd.kfac import schedule as schedule_lib
from tfwd.kfac import state as state_lib
from tfwd.optimizers import arguments
from tfwd.optimizers import base
from tfwd.optimizers import policy

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


@keras.saving.register_keras_serializable("tfwd")
class KFAC(base.Optimizer):
    """Kronecker-factored approximate curvature, with momentum.

    ```
    A ← factor_decay·A + (1 − factor_decay)·a aᵀ     every factor_every steps
    G ← factor_decay·G + (1 − factor_decay)·g gᵀ
    U = (A ⊗ G + damping)⁻¹ V                        V the layer's gradient
    ν = min(1, √(kl_clip / (η² Σ ⟨V, U⟩)))           1 without kl_clip
    m ← momentum·m + ν U                             m₀ = 0
    θ ← θ − η m
    ```

    a is a layer's input (and a 1 for the bias), g the gradient of a loss of
    its own at the layer's pre-activation: sampled labels for the Fisher
    matrix, random vectors at the logits for Gauss–Newton, the true labels for
    the empirical Fisher. The averages are debiased, the inverses refreshed
    every `inverse_every` steps, and both before the first step.

    `attach(model)` must be called before the first step. Then `compile`, `fit`
    and `train_on_batch` work as always; a loop of one's own calls
    `update_factors(inputs)` and `update_inverses()` when `schedule` says so.

    Modes of weight decay: `"decoupled"` (default), `"l2"` (λθ is part of V),
    `"stable"` with s = 1/(1 − momentum), an extension in which ν does not
    count, `"independent"`.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1e-3.
        weight_decay: λ. Defaults to 0.
        curvature: `"fisher"`, `"gauss_newton"` or `"empirical"`.
        damping: A float > 0, or a schedule of the step. In mode `"factored"`
            its value enters when the inverses are refreshed.
        damping_mode: `"factored"`: (A + π√damping I)⁻¹ V (G + √damping/π I)⁻¹;
            `"eigen"`: damping is added to the eigenvalues of A ⊗ G.
        momentum: In [0, 1). Defaults to 0.9.
        factor_decay: In [0, 1). Defaults to 0.95.
        factor_every: Steps between updates of the factors.
        inverse_every: Steps between refreshes of an inverse.
        kl_clip: κ > 0, the bound on the KL divergence that a step may cause.
        stagger_inverses: Whether to refresh the inverses one by one, spread
            over the steps, instead of all in one step.
        curvature_scale: Multiplies the curvature. Defaults to 1. The code of
            Zhang et al. 2019 has 2 for Gauss–Newton.
        estimation: `"sampled"`, or `"exact"`, which sends one vector back per
            output.
        on_unsupported: `"error"` to refuse a model with layers that have no
            curvature here, `"sgd"` to move their variables by the gradient.
        update_order: `"algorithm"`: factors and inverses, then the step;
            `"authors"`: the step first, as in the code of Zhang et al. 2019.
        seed: Of the sampled vectors, a function of it, the step and the number
            of the example.
        **policy_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> optimizer = tfwd.KFAC(1e-3, weight_decay=0.1)
    >>> model.compile(optimizer=optimizer, loss="mse")
    >>> history = (optimizer.attach(model), model.fit(x, y, verbose=0))[1]

    References:
        Martens & Grosse 2015; Grosse & Martens 2016 for convolutions; Zhang et
        al. 2019, Algorithm 1, whose decay term lacks η (their code has it).
    """

    hyperparameters = (
        "curvature",
        "damping",
        "damping_mode",
        "momentum",
        "factor_decay",
        "factor_every",
        "inverse_every",
        "kl_clip",
        "stagger_inverses",
        "curvature_scale",
        "estimation",
        "on_unsupported",
        "update_order",
        "seed",
    )
    weight_decay_modes = ("decoupled", "l2", "stable", "independent")

    def __init__(
        self,
        learning_rate=1e-3,
        weight_decay=0.0,
        *,
        curvature="fisher",
        damping=1e-3,
        damping_mode="factored",
        momentum=0.9,
        factor_decay=0.95,
        factor_every=10,
        inverse_every=100,
        kl_clip=None,
        stagger_inverses=False,
        curvature_scale=None,
        estimation="sampled",
        on_unsupported="error",
        update_order="algorithm",
        seed=0,
        **policy_arguments,
    ):
        if backend_lib is None:
            raise ValueError(
                "KFAC needs the backend tensorflow or jax. Received: "
                f"{keras.backend.backend()}"
            )
        choice = arguments.check_choice
        choice("curvature", curvature, curvature_lib.CURVATURES)
        choice("damping_mode", damping_mode, inverses.DAMPING_MODES)
        choice("estimation", estimation, curvature_lib.ESTIMATIONS)
        choice("on_unsupported", on_unsupported, UNSUPPORTED)
        choice("update_order", update_order, UPDATE_ORDERS)
        arguments.check_decay_rate("momentum", momentum)
        arguments.check_decay_rate("factor_decay", factor_decay)
        arguments.check_whole("factor_every", factor_every, 1)
        arguments.check_whole("inverse_every", inverse_every, 1)
        arguments.check_whole("seed", seed, 0)
        for name, value in (
            ("kl_clip", kl_clip),
            ("curvature_scale", curvature_scale),
            ("damping", damping),
        ):
            is_schedule = isinstance(
                value, keras.optimizers.schedules.LearningRateSchedule
            )
            if value is not None and not (name == "damping" and is_schedule):
                arguments.check_positive(name, value)
        super().__init__(learning_rate, weight_decay, **policy_arguments)
        self.curvature = curvature
        self.damping = damping
        self.damping_mode = damping_mode
        self.momentum = momentum
        self.factor_decay = factor_decay
        self.factor_every = factor_every
        self.inverse_every = inverse_every
        self.kl_clip = kl_clip
        self.stagger_inverses = stagger_inverses
        self.curvature_scale = curvature_scale
        self.estimation = estimation
        self.on_unsupported = on_unsupported
        self.update_order = update_order
        self.seed = seed
        self.strategy = backend_lib.strategy_in_force()
        self._local = threading.local()
        # What was attached, if anything; and what a saved one was attached to.
        self._attached = None
        self._report = None
        self._state = None
        self._cold_started = False
        self._reported = set()

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
            ValueError: If the model is not built, has a layer that is not
                supported, or is not the one that the factors belong to.
        """
        if not model.built:
            raise ValueError(
                "`attach(model)` needs a built model; call it on a batch "
                f"first. Received: {model.name}, built={model.built}"
            )
        blocks, report = registration.of_model(model, self.on_unsupported)
        if not blocks:
            raise ValueError(
                "KFAC needs a model with at least one supported trainable "
                f"layer. Received: {model.name}"
            )
        if self._state is not None or (
            self._report is not None and self._attached is None
        ):
            registration.check_same(self._report, report)
        if self.built:
            self._check_same_variables(model)
        self.detach()
        self._report = report
        self._attached = attachment_lib.Attachment(
            self, backend_lib, model, loss, blocks
        )
        return report

    def detach(self):
        """Removes the hooks from the model, if there are any."""
        if self._attached is not None:
            self._attached.remove()
            self._attached = None

    def build(self, variables):
        """Creates momentum, factors and inverses.

        Raises:
            ValueError: If no model is attached and none was saved.
        """
        if self.built:
            return
        if self._report is None:
            raise ValueError(
                "KFAC needs `optimizer.attach(model)` before the first step. "
                "Received: no attached model"
            )
        super().build(variables)
        if self.momentum:
            self.momentums = self.add_optimizer_variables(variables, "momentum")
        self._state = state_lib.CurvatureState(
            backend_lib,
            self.add_variable,
            self._report.records,
            self.damping_mode,
        )

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
    def schedule(self):
        """The `schedule.Schedule` of factors and inverses."""
        units = self.curvature_state().units
        slots = (0,) * len(units)
        if self.stagger_inverses:
            costs = [unit.cost for unit in units]
            slots = schedule_lib.staggered_slots(costs, self.inverse_every)
        return schedule_lib.Schedule(
            slots,
            self.factor_every,
            self.inverse_every,
            self.update_order == "authors",
            self._cold_started,
            self.gradient_accumulation_steps or 1,
        )

    def update_factors(self, inputs, targets=None, sample_weight=None):
        """Adds a batch to the averages of the factors.

        In replica context with the replica's part of the batch, or eagerly.

        Args:
            inputs: Inputs of the model.
            targets: Labels; needed for the empirical Fisher alone.
            sample_weight: None, or weights as `fit` takes them.
        """
        self.attachment.update_factors(inputs, targets, sample_weight)

    def update_inverses(self, units=None):
        """Inverts the factors, or those of the units that `schedule` names."""
        if units is None:
            units = range(len(self.curvature_state().units))
        if len(units):
            self.attachment.update_inverses(tuple(units))

    def cold_start(self, dataset):
        """Averages the factors over a pass with frozen weights, and inverts.

        Args:
            dataset: Iterable of batches: inputs, or (inputs, targets) or
                (inputs, targets, sample_weight).

        Raises:
            ValueError: If there is no batch.

        References:
            The initialization of the published code of Zhang et al. 2019.
        """
        attached = self.attachment
        count = 0
        for batch in dataset:
            attached.average_factors(
                *keras.utils.unpack_x_y_sample_weight(batch),
                float(count),
                _COLD_START_STEP + count,
            )
            count += 1
        if not count:
            raise ValueError("`dataset` must hold a batch. Received: none")
        self.update_inverses()
        self._cold_started = True

    def factors(self):
        """Returns {layer name: (A, G)} as arrays, debiased.

        A = Σ a aᵀ/(BT) and G = Σ g gᵀ/(BT) over B examples and T positions;
        the block is T·A ⊗ G. One factor F where a block has one.
        """
        state = self.curvature_state()
        positions = backend_lib.value_of(state.positions)
        result = {}
        for number, record in enumerate(self._report.records):
            factors = [
                backend_lib.value_of(f) for f in state.debiased(number)
            ]
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
                "`summary()` needs `attach(model)`. "
                "Received: no attached model"
            )
        print_fn(str(self._report))
        for name, count in self.events().items():
            if count:
                print_fn(f"{name}: {count} ({state_lib.EVENTS[name]})")

    def events(self, optimizer_variables=None):
        """Returns {name: count} of the failures so far, as ints.

        Args:
            optimizer_variables: The values of `optimizer.variables` in a
                stateless (JAX) loop.
        """
        if self._state is None:
            return dict.fromkeys(state_lib.EVENTS, 0)
        counters = self._state.events
        if optimizer_variables is not None:
            numbers = {id(v): i for i, v in enumerate(self.variables)}
            counters = {
                name: optimizer_variables[numbers[id(counter)]]
                for name, counter in counters.items()
            }
        return {
            name: int(backend_lib.value_of(counter))
            for name, counter in counters.items()
        }

    def warn_of_events(self, optimizer_variables=None):
        """Warns of each kind of failure, once; arguments as of `events`."""
        for name, count in self.events(optimizer_variables).items():
            if count and name not in self._reported:
                self._reported.add(name)
                warnings.warn(
                    f"{self.name}: {state_lib.EVENTS[name]} "
                    f"({name}: {count}).",
                    stacklevel=2,
                )

    @contextlib.contextmanager
    def preconditioned_backward(self, optimizer_variables=None):
        """Lets backpropagation itself precondition, where that is cheaper.

        Forward pass, gradients and `apply` of one step stand inside. The
        dense layers for which `backward.is_cheaper` holds hand U to `apply`
        instead of V; the result is the same. Does nothing with clipping, L2,
        KL clip, accumulation and `damping_mode="eigen"`, which need V. A
        variable with a regularizer, too, keeps its V; a penalty on a kernel by
        `add_loss` is not seen.

        Args:
            optimizer_variables: The values of `optimizer.variables` in a
                stateless (JAX) step.
        """
        attached = self.attachment
        if not self._backward_may_precondition():
            yield
            return
        state = self.curvature_state()
        values = {}
        if optimizer_variables is not None:
            values = {
                id(variable): value
                for variable, value in zip(
                    self.variables, optimizer_variables, strict=True
                )
            }
        chosen = {}

        def listen(layer, linear, activation, inputs):
            number = attached.number_of(layer)
            if number is None:
                return activation(linear(inputs))
            if number not in chosen:
                chosen[number] = attached.backward_is_cheaper(number, inputs)
            if not chosen[number]:
                return activation(linear(inputs))
            kept = [
                ops.convert_to_tensor(values.get(id(variable), variable))
                for (variable,) in state.inverses_of(number)
            ]
            return backward.call(
                attached.blocks[number], linear, activation, inputs, kept
            )

        self._local.chosen = chosen
        try:
            with capture.listening(listen):
                yield
        finally:
            self._local.chosen = {}

    def update(self, indices, variables, gradients, learning_rate):
        """Moves the variables, unless a gradient is not finite."""
        attached = self.attachment
        attached.check_refreshed()
        finite = inverses.all_finite(gradients)
        backend_lib.update_if(
            finite,
            lambda: super(KFAC, self).update(
                indices, variables, gradients, learning_rate
            ),
            [*variables, *self.variables],
        )
        self._state.count("skipped_steps", ops.logical_not(finite))

    def precondition(self, indices, gradients, learning_rate):
        """Returns ν (A ⊗ G + λ)⁻¹ V of all blocks, V of the others."""
        result = dict(zip(indices, gradients, strict=True))
        chosen = getattr(self._local, "chosen", {})
        products, inner = {}, 0.0
        for number, record in enumerate(self._report.records):
            present = [i for i in record.positions if i in result]
            if not present or chosen.get(number):
                continue
            block = self._attached.blocks[number]
            gradient = block.to_matrix(
                [
                    ops.cast(result[i], block.dtype)
                    if i in result
                    else ops.zeros(variable.shape, block.dtype)
                    for i, variable in zip(
                        record.positions, block.variables, strict=True
                    )
                ]
            )
            product = self._product(number, gradient)
            if self.kl_clip is not None:
                inner += ops.cast(
                    ops.sum(gradient * product), policy.scalar_dtype()
                )
            products |= zip(
                record.positions, block.from_matrix(product), strict=True
            )
        nu = 1.0
        if self.kl_clip is not None:
            nu = _kl_scale(self.kl_clip, learning_rate, inner)
        for i, product in products.items():
            if i in result:
                product = ops.cast(product, result[i].dtype)
                if self.kl_clip is not None:
                    product = ops.cast(nu, product.dtype) * product
                result[i] = product
        return [result[i] for i in indices]

    def step(self, index, gradient, learning_rate):
        """Updates the momentum and returns η m."""
        if not self.momentum:
            return learning_rate * gradient
        m = self.momentum * self.momentums[index] + gradient
        self.assign(self.momentums[index], m)
        return learning_rate * m

    def stable_scale(self, mean):
        """Returns 1/(1 − momentum)."""
        return 1 / (1 - self.momentum)

    def damping_now(self):
        """Returns λ in the step to come, a scalar tensor."""
        value = self.damping
        if callable(value):
            value = value(self.schedule_step())
        return ops.cast(value, policy.scalar_dtype())

    def get_config(self):
        """Returns the arguments and, once attached, the registration."""
        config = super().get_config()
        if callable(self.damping):
            config["damping"] = keras.saving.serialize_keras_object(
                self.damping
            )
        if self._report is not None:
            config["registration"] = registration.as_config(self._report)
        return config

    @classmethod
    def from_config(cls, config, custom_objects=None):
        """Makes an optimizer that `attach` binds to a model again."""
        config = dict(config)
        saved = config.pop("registration", None)
        if isinstance(config.get("damping"), dict):
            config["damping"] = keras.saving.deserialize_keras_object(
                config["damping"], custom_objects
            )
        optimizer = super().from_config(config, custom_objects)
        if saved is not None:
            optimizer._report = registration.from_config(saved)
        return optimizer

    def _product(self, number, gradient):
        kept = [
            [ops.convert_to_tensor(part) for part in parts]
            for parts in self._state.inverses_of(number)
        ]
        diagonals = self._state.diagonals[number]
        if self.damping_mode == "factored":
            flat = [part for (part,) in kept]
            return damping_lib.precondition(
                gradient, *flat, is_diagonal=diagonals[0]
            )
        pairs = [
            (parts[0], None) if is_diagonal else (parts[1], parts[0])
            for parts, is_diagonal in zip(kept, diagonals, strict=True)
        ]
        damping = ops.cast(self.damping_now(), gradient.dtype)
        return damping_lib.precondition_eigen(
            gradient, pairs[0], pairs[1] if len(pairs) == 2 else None, damping
        )

    def _backward_may_precondition(self):
        return (
            self.damping_mode == "factored"
            and self.kl_clip is None
            and self.weight_decay_mode != "l2"
            and self.clipnorm is None
            and self.clipvalue is None
            and self.global_clipnorm is None
            and not self.gradient_accumulation_steps
        )

    def curvature_state(self):
        """Returns the `state.CurvatureState`, which it creates if need be."""
        if self._state is None:
            variables = self.attachment.model.trainable_variables
            self.build(variables)
        return self._state

    def _check_same_variables(self, model):
        known = [id(variable) for variable in self.model_variables()]
        if known != [id(variable) for variable in model.trainable_variables]:
            raise ValueError(
                "A built KFAC can be attached to models of the same trainable "
                "variables only; make a new optimizer for another model. "
                f"Received: {model.name}"
            )


def attach(model, loss=None):
    """Attaches the K-FAC that a model is compiled with, wrapped or not.

    Args:
        model: A compiled, built model.
        loss: As in `KFAC.attach`.

    Returns:
        The `registration.Report`.

    Raises:
        ValueError: If the model is not compiled with a K-FAC.
    """
    optimizer = fitting.unwrapped(getattr(model, "optimizer", None))
    if not isinstance(optimizer, KFAC):
        raise ValueError(
            "`attach(model)` needs a model compiled with `tfwd.KFAC`. "
            f"Received: optimizer={optimizer!r}"
        )
    return optimizer.attach(model, loss)


def _kl_scale(kl_clip, learning_rate, inner):
    """Returns ν = min(1, √(κ/(η² Σ⟨V, U⟩))), and 1 where the sum is not > 0."""
    squared = learning_rate * learning_rate * inner
    positive = squared > 0
    safe = ops.where(positive, squared, ops.ones_like(squared))
    nu = ops.sqrt(kl_clip / safe)
    return ops.where(
        ops.logical_and(positive, nu < 1), nu, ops.ones_like(squared)
    )
