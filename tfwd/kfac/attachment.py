"""The bond between a KFAC and a model: hooks, compiled programs, `fit`."""

import functools

import keras
from keras import ops

from tfwd.kfac import averages
from tfwd.kfac import backend
from tfwd.kfac import capture
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import likelihoods
from tfwd.kfac import schedule as schedule_lib
from tfwd.kfac.backend import trainer

if keras.backend.backend() == "tensorflow":
    from tfwd.kfac.backend import tensorflow_fit as fit_lib
elif keras.backend.backend() == "jax":
    from tfwd.kfac.backend import jax_fit as fit_lib


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
        self._loss = loss
        self._numbers = {id(b.layer): i for i, b in enumerate(blocks)}
        self._refreshed = False
        self._before = None
        self._programs = {}
        if loss is not None or capture.compiled_loss(model) is not None:
            self.likelihood()
        self._make_train_function = functools.partial(
            fit_lib.make_train_function, model, optimizer
        )

    def install(self):
        """Puts the hooks on."""
        for block in self.blocks:
            capture.install(block.layer, self._optimizer)
        self._before = trainer.install(self.model, self._make_train_function)

    def remove(self):
        """Takes the hooks off."""
        for block in self.blocks:
            capture.remove(block.layer, self._optimizer)
        trainer.remove(self.model, self._make_train_function, self._before)

    def number_of(self, layer):
        """Returns the number of a layer's block, or None."""
        return self._numbers.get(id(layer))

    def likelihood(self):
        """Returns the `likelihoods.Likelihood` of the model.

        Raises:
            ValueError: If no loss is known, or not one that is a likelihood's.
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
            if not backend.current.is_dense(tensor):
                raise ValueError(
                    "`inputs` must be dense with KFAC, which needs every row "
                    "of a layer's input. Received: a "
                    f"{type(tensor).__name__}"
                )

    def update_factors(self, inputs, targets, sample_weight):
        """Runs `add_batch`, compiled if called eagerly."""
        self.check_dense(inputs)
        self._compiled("factors", self.add_batch)(
            inputs, targets, sample_weight
        )

    def average_factors(self, inputs, targets, sample_weight, count, step):
        """Adds a batch to a plain average of `count`, like `update_factors`."""
        self.check_dense(inputs)

        def program(*arguments):
            *batch, count, step = arguments
            self.add_batch(*batch, averages.plain(count, step))

        count = ops.convert_to_tensor(count, self._dtype())
        step = ops.convert_to_tensor(step, "int32")
        self._compiled("average", program)(
            inputs, targets, sample_weight, count, step
        )

    def update_inverses(self, units):
        """Runs `invert`, compiled if called eagerly."""
        self._compiled(("inverses", units), lambda: self.invert(units))()
        self._refreshed = True

    def next_term(self, part=None, parts=None):
        """Returns the `averages.Term` of the batch to come.

        Args:
            part: Number of the batch in its step, from 0, where the caller
                accumulates: the optimizer then counts no batches but steps.
            parts: Batches of the step.
        """
        step = ops.convert_to_tensor(self._optimizer.schedule_step())
        if part is None:
            parts = self._optimizer.gradient_accumulation_steps or 1
            step, part = step // parts, step % parts
        decay = self._optimizer.configuration.factor_decay
        return averages.moving(decay, step, part, parts, self._dtype())

    def add_batch(self, inputs, targets, sample_weight, term=None):
        """Adds a batch to the averages of the factors, on one replica.

        Args:
            inputs: As in `KFAC.update_factors`, like the next two.
            targets: Labels.
            sample_weight: None, or weights.
            term: An `averages.Term`, that of `next_term()` if None.
        """
        if term is None:
            term = self.next_term()
        size = ops.shape(keras.tree.flatten(inputs)[0])[0]
        replicas = backend.current.num_replicas()
        estimates = curvature_lib.estimate(
            self._optimizer.configuration.matrix(),
            self.model,
            self.likelihood(),
            self.blocks,
            inputs,
            targets=targets,
            sample_weight=sample_weight,
            step=term.step,
            first_example=ops.cast(term.part, "int32") * size * replicas,
        )
        self._optimizer.curvature_state().accumulate(
            estimates, term.decay, term.share
        )

    def invert(self, units):
        """Inverts the factors of some units, shared out over the replicas."""
        state = self._optimizer.curvature_state()
        owners = schedule_lib.balanced(
            [unit.cost for unit in state.units], backend.current.num_replicas()
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
            if not backend.current.value_while_tracing(refreshes):
                raise ValueError(
                    "KFAC needs `update_factors(inputs)` and "
                    "`update_inverses()` before the first step. "
                    "Received: inverses that were never computed"
                )
            self._refreshed = True

    def _dtype(self):
        return self._optimizer.curvature_state().weights.dtype

    def _compiled(self, name, program):
        if name not in self._programs:
            # The state must exist before a program is traced.
            self._optimizer.curvature_state()
            self._programs[name] = backend.current.compiled(
                program,
                lambda: [*self.model.variables, *self._optimizer.variables],
                self._optimizer.strategy,
            )
        return self._programs[name]
