"""An optimizer that is bound to a model, by hooks and by its variables."""

import keras
from keras import ops

from tfwd import arguments
from tfwd.kfac import attachment as attachment_lib
from tfwd.kfac import backend
from tfwd.kfac import configured
from tfwd.kfac import failures
from tfwd.kfac import registration
from tfwd.kfac import state as state_lib


class AttachedOptimizer(configured.ConfiguredOptimizer):
    """Is attached to a model, and holds the state of the model's curvature."""

    def __init__(self, learning_rate, weight_decay, **other_arguments):
        if backend.current is None:
            raise ValueError(
                "KFAC needs the backend tensorflow or jax. Received: "
                f"{keras.backend.backend()}"
            )
        super().__init__(learning_rate, weight_decay, **other_arguments)
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

    def curvature_state(self):
        """Returns the `state.CurvatureState`, which it creates if need be."""
        if self._state is None:
            with backend.current.scope_of(self.strategy):
                self.build(self.attachment.model.trainable_variables)
        return self._state

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
