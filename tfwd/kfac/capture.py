"""Hooks on the layers: a callback sees a layer's input and pre-activation.

A hook stands in for `layer.call`, as an attribute of the instance: Keras saves,
clones and exports the layer as if it were not there, and copies carry none. It
does nothing without a callback in the same thread; the replicas of
`MirroredStrategy` are threads, which take turns at every collective. The
gradient that a curvature needs is that of the pre-activation, so the call of a
layer with a fused activation (`Dense(64, activation="relu")`) runs on a twin
without it, and the activation is applied afterwards: the layer itself does not
change, whatever other threads do with it. Every private name of Keras (3.10 to
3.15) about calls, layers and losses is in this file.
"""

import contextlib
import functools
import inspect
import threading

import keras

_local = threading.local()


def install(layer, owner):
    """Hooks a layer for an owner; a layer has one hook however many own it."""
    hook = vars(layer).get("call")
    if not isinstance(hook, _Hook):
        hook = _Hook(layer)
    hook.owners.add(id(owner))


def remove(layer, owner):
    """Takes an owner's hook off a layer, if there is one."""
    hook = vars(layer).get("call")
    if isinstance(hook, _Hook):
        hook.owners.discard(id(owner))
        if not hook.owners:
            hook.take_off()


@contextlib.contextmanager
def calling_back(callback):
    """Hands the calls of hooked layers to a callback, in this thread.

    Args:
        callback: A function of (layer, linear, activation, inputs) that returns
            the layer's output. `linear(inputs)` is the layer without its
            activation, `activation` what follows.
    """
    before = callback_now()
    _local.callback = callback
    try:
        yield
    finally:
        _local.callback = before


@contextlib.contextmanager
def batch_statistics(kept):
    """Lets hooked batch normalizations use the statistics of the batch.

    In this thread, whatever mode the model is called in, so that dropout may
    stay off. A frozen layer keeps to its moving averages, as in training.

    Args:
        kept: Booleans [batch], false for examples that only fill up the batch:
            the statistics are then those of the others, on this replica.
    """
    before = getattr(_local, "kept", None)
    _local.kept = kept
    try:
        yield
    finally:
        _local.kept = before


def uses_batch_statistics():
    """Returns whether `batch_statistics` is in force in this thread."""
    return getattr(_local, "kept", None) is not None


def callback_now():
    """Returns the callback of this thread, or None."""
    return getattr(_local, "callback", None)


def mask_of(tensor):
    """Returns the Keras mask of a tensor, or None."""
    return keras.src.backend.get_keras_mask(tensor)


def layers_of(model):
    """Returns all layers in a model, nested ones too, each once."""
    unique = {id(layer): layer for layer in model._flatten_layers()}
    return list(unique.values())


def own_trainable_variables(layer):
    """Returns the trainable variables that are not those of a sublayer."""
    inner = {
        id(variable)
        for sublayer in layer._flatten_layers(include_self=False)
        for variable in sublayer.variables
    }
    return [v for v in layer.trainable_variables if id(v) not in inner]


def has_foreign_call(layer):
    """Returns whether somebody else's function stands in for `layer.call`."""
    stand_in = vars(layer).get("call")
    if isinstance(stand_in, _Hook):
        return stand_in.is_over_another
    return stand_in is not None


def is_rematerialized(layer):
    """Returns whether a layer was made in a `keras.RematScope`."""
    return getattr(layer, "_remat_mode", None) is not None


def in_stateless_scope():
    """Returns whether variables are those of a `StatelessScope`."""
    return keras.src.backend.in_stateless_scope()


def compiled_loss(model):
    """Returns what `compile` was given as the loss, or None."""
    return getattr(model, "loss", None)


def stored_value(variable):
    """Returns a variable's value in its own type, also under autocasting."""
    with keras.src.backend.AutocastScope(None):
        return keras.ops.convert_to_tensor(variable.value)


class _Hook:
    """Stands in for the bound method `layer.call`."""

    def __init__(self, layer):
        self.owners = set()
        self._layer = layer
        self._call = layer.call
        # Somebody else's stand-in, if there was one.
        self._before = vars(layer).get("call")
        functools.update_wrapper(self, self._call)
        # Past Keras' tracking of attributes, which would serialize it.
        object.__setattr__(layer, "call", self)

    @property
    def is_over_another(self):
        """Whether somebody else's stand-in was there before."""
        return self._before is not None

    def take_off(self):
        """Gives the layer back what it had."""
        if self._before is None:
            object.__delattr__(self._layer, "call")
        else:
            object.__setattr__(self._layer, "call", self._before)

    # The parameter's name is that of Keras: `layer(inputs=x)` is legal.
    def __call__(self, inputs, *args, **kwargs):
        if uses_batch_statistics() and isinstance(
            self._layer, keras.layers.BatchNormalization
        ):
            return self._of_batch(inputs, *args, **kwargs)
        callback = callback_now()
        if callback is None:
            return self._call(inputs, *args, **kwargs)

        def linear(inputs):
            return self._call(inputs, *args, **kwargs)

        activation = vars(self._layer).get("activation")
        # What another's stand-in calls is the layer itself, with all it has.
        if activation is None or self.is_over_another:
            return callback(self._layer, linear, _identity, inputs)

        def without_activation(inputs):
            twin = _without_activation(self._layer)
            return type(twin).call(twin, inputs, *args, **kwargs)

        return callback(self._layer, without_activation, activation, inputs)

    def _of_batch(self, inputs, *args, **kwargs):
        """Calls batch normalization with the statistics of what is kept."""
        call = inspect.signature(self._call)
        given = call.bind(inputs, *args, **kwargs).arguments
        given |= {"training": True}
        plain = self._call(**given)
        if "mask" not in call.parameters:
            return plain
        kept, rank = _local.kept, len(inputs.shape)
        kept = keras.ops.reshape(kept, (-1, *[1] * (rank - 2)))
        if given.get("mask") is not None:
            kept = keras.ops.logical_and(given["mask"], kept)
        masked = self._call(**given | {"mask": kept})
        # Under a mask Keras divides by the count plus a small number, and does
        # not synchronize: only for a batch that is filled up.
        return keras.ops.where(keras.ops.all(_local.kept), plain, masked)


def _identity(x):
    return x


def _without_activation(layer):
    """Returns a layer that shares all attributes of another but this one."""
    twin = object.__new__(type(layer))
    # Past Keras' tracking, which would take the variables for new ones.
    vars(twin).update(vars(layer), activation=_identity)
    return twin


def has_loss_weights(model):
    """Returns whether `compile` was given `loss_weights`."""
    compiled = getattr(model, "_compile_loss", None)
    weights = getattr(compiled, "_user_loss_weights", None)
    return weights is not None


def call(model, inputs, training):
    """Returns the model's output in training or inference mode."""
    if model._call_has_training_arg:
        return model(inputs, training=training)
    return model(inputs)
