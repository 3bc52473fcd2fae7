"""The bond between a KFAC and a model: hooks, compiled programs, `fit`."""

import functools

import keras
from keras import ops

from tfwd.kfac import capture
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import fitting
from tfwd.kfac import likelihoods
from tfwd.kfac import schedule as schedule_lib

if keras.backend.backend() == "tensorflow":
    from tfwd.kfac import tensorflow_fit as fit_lib
elif keras.backend.backend() == "jax":
    from tfwd.kfac import jax_fit as fit_lib


class Attachment:
    """Runs a model's curvature passes for an optimizer.

    Not a Keras object, so that saving the optimizer does not save the model.

    Args:
        optimizer: The `KFAC`.
        model: The model, whose layers `install` hooks.
        loss: A Keras loss, or None for the compiled one.
        blocks: The blocks of the model.

    Attributes:
        variables: The model's trainable variables when it was attached.
        rows_hint: Examples of a batch on one replica, for graphs that were
            traced for batches of any size; None if not known.
        differentiates_twice: Whether a step was seen to differentiate the
            network within its loss or its model.
    """

    def __init__(self, optimizer, model, loss, blocks):
        self.model = model
        self.variables = tuple(model.trainable_variables)
        self.blocks = blocks
        self.rows_hint = None
        self.differentiates_twice = False
        self._optimizer = optimizer
        self._backend = optimizer.backend
        self._loss = loss
        self._numbers = {id(b.layer): i for i, b in enumerate(blocks)}
        self._refreshed = False
        self._before = None
        self._programs = {}
        if loss is not None or capture.compiled_loss(model) is not None:
            self.head()
        self._make_train_function = functools.partial(
            fit_lib.make_train_function, model, optimizer
        )

    def install(self):
        """Puts the hooks on."""
        for block in self.blocks:
            capture.install(block.layer, self._optimizer)
        self._before = fitting.install(self.model, self._make_train_function)

    def remove(self):
        """Takes the hooks off."""
        for block in self.blocks:
            capture.remove(block.layer, self._optimizer)
        fitting.remove(self.model, self._make_train_function, self._before)

    def number_of(self, layer):
        """Returns the number of a layer's block, or None."""
        return self._numbers.get(id(layer))

    def head(self):
        """Returns the `likelihoods.Head` of the model.

        Raises:
            ValueError: If no loss is known, or not one that names a head.
        """
        loss = self._loss
        if loss is None:
            loss = capture.compiled_loss(self.model)
        if capture.has_loss_weights(self.model):
            raise ValueError(
                "`loss_weights` must be None with KFAC, whose curvature is "
                "that of the loss itself. Received: loss_weights in `compile`"
            )
        if loss is None:
            raise ValueError(
                "KFAC needs the model's loss: compile the model, or "
                "`attach(model, loss=...)`. Received: loss=None"
            )
        return likelihoods.of_loss(loss)

    def check_dense(self, inputs):
        """Checks that inputs are dense; a functional model makes them so.

        Raises:
            ValueError: If a tensor is sparse or ragged.
        """
        if getattr(self.model, "inputs", None) is not None:
            return
        for tensor in keras.tree.flatten(inputs):
            if not self._backend.is_dense(tensor):
                raise ValueError(
                    "`inputs` must be dense with KFAC, which needs every row "
                    "of a layer's input. Received: a "
                    f"{type(tensor).__name__}"
                )

    def update_factors(self, inputs, targets, sample_weight):
        """Runs `factor_program`, compiled if called eagerly."""
        self.check_dense(inputs)
        run = self._compiled("factors", self.factor_program)
        run(inputs, targets, sample_weight)

    def average_factors(self, inputs, targets, sample_weight, count, step):
        """Runs `average_program`, compiled if called eagerly."""
        self.check_dense(inputs)
        run = self._compiled("average", self.average_program)
        run(
            inputs,
            targets,
            sample_weight,
            ops.convert_to_tensor(
                count, self._optimizer.curvature_state().weights.dtype
            ),
            ops.convert_to_tensor(step, "int32"),
        )

    def update_inverses(self, units):
        """Runs `inverse_program`, compiled if called eagerly."""
        run = self._compiled(
            ("inverses", units), lambda: self.inverse_program(units)
        )
        run()
        self._refreshed = True

    def factor_program(self, inputs, targets, sample_weight):
        """Adds a batch to the factors' averages, on one replica."""
        optimizer = self._optimizer
        parts = optimizer.gradient_accumulation_steps or 1
        batch = ops.convert_to_tensor(optimizer.schedule_step())
        self._add_part(
            (inputs, targets, sample_weight),
            batch // parts,
            batch % parts,
            parts,
        )

    def add_part(self, inputs, targets, sample_weight, part, parts):
        """Adds one of the batches of a step that the caller accumulates.

        On one replica, where the optimizer counts no batches but steps.

        Args:
            inputs: As in `update_factors`, like the next two.
            targets: Labels.
            sample_weight: None, or weights.
            part: Number of the batch in its step, from 0.
            parts: Batches of the step.
        """
        step = ops.convert_to_tensor(self._optimizer.schedule_step())
        self._add_part((inputs, targets, sample_weight), step, part, parts)

    def _add_part(self, batch, step, part, parts):
        optimizer = self._optimizer
        size = ops.shape(keras.tree.flatten(batch[0])[0])[0]
        first = ops.cast(part, "int32") * size * self._backend.num_replicas()
        dtype = optimizer.curvature_state().weights.dtype
        decay = ops.convert_to_tensor(optimizer.factor_decay, dtype)
        # The batches of one accumulated step are one term of the average.
        decay = ops.where(ops.equal(part, 0), decay, ops.ones_like(decay))
        share = (1 - optimizer.factor_decay) / ops.cast(parts, dtype)
        self._add(batch, step, first, decay, share)

    def average_program(self, inputs, targets, sample_weight, count, step):
        """Adds a batch to a plain average of `count` batches."""
        share = 1.0 / (count + 1.0)
        self._add((inputs, targets, sample_weight), step, 0, 1 - share, share)

    def inverse_program(self, units):
        """Inverts the factors of some units, shared out over the replicas."""
        state = self._optimizer.curvature_state()
        owners = schedule_lib.balanced(
            [unit.cost for unit in state.units], self._backend.num_replicas()
        )
        state.refresh(units, owners, self._optimizer.damping_now())
        self._refreshed = True

    def keep_refreshed(self):
        """Promises that inverses are there, or will be when they are due."""
        self._refreshed = True

    def check_refreshed(self):
        """Checks that the inverses are defined, when a step is traced.

        With accumulation the first steps, which are traced, need none yet.

        Raises:
            ValueError: If no inverse was computed or loaded.
        """
        if not self._refreshed and (
            not self._optimizer.gradient_accumulation_steps
        ):
            refreshes = self._optimizer.curvature_state().refreshes
            if not self._backend.value_while_tracing(refreshes):
                raise ValueError(
                    "KFAC needs `update_factors(inputs)` and "
                    "`update_inverses()` before the first step. "
                    "Received: inverses that were never computed"
                )
            self._refreshed = True

    def _add(self, batch, step, first_example, decay, share):
        optimizer = self._optimizer
        inputs, targets, sample_weight = batch
        estimates = curvature_lib.estimate(
            self._backend,
            curvature_lib.Curvature(
                optimizer.curvature,
                optimizer.estimation,
                optimizer.curvature_scale or 1.0,
                optimizer.seed,
            ),
            self.model,
            self.head(),
            self.blocks,
            inputs,
            targets=targets,
            sample_weight=sample_weight,
            step=step,
            first_example=first_example,
        )
        optimizer.curvature_state().accumulate(estimates, decay, share)

    def _compiled(self, name, program):
        if name not in self._programs:
            # The state must exist before a program is traced.
            self._optimizer.curvature_state()
            self._programs[name] = self._backend.compiled(
                program,
                lambda: [*self.model.variables, *self._optimizer.variables],
                self._optimizer.strategy,
            )
        return self._programs[name]
