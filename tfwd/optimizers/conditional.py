"""A branch that is taken on the device, whose two sides assign to variables."""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def update_if(predicate, update, otherwise, variables):
        """Calls one of two functions that assign to variables.

        Neither may hold a collective: `tf.distribute` allows none in a branch.

        Args:
            predicate: A boolean scalar.
            update: Called where it holds.
            otherwise: Called where it does not.
            variables: All Keras variables that the two read or assign to.
        """
        tf.cond(
            predicate, lambda: (update(), 0)[1], lambda: (otherwise(), 0)[1]
        )

elif keras.backend.backend() == "jax":
    import jax

    def update_if(predicate, update, otherwise, variables):
        """Calls one of two functions that assign to variables.

        Args:
            predicate: A boolean scalar.
            update: Called where it holds.
            otherwise: Called where it does not.
            variables: All Keras variables that the two read or assign to.
        """
        if not isinstance(predicate, jax.core.Tracer):
            # Outside of a program `cond` would be compiled at every call.
            (update if predicate else otherwise)()
            return
        before = [(variable, variable.value) for variable in variables]

        def after(function):
            with keras.StatelessScope(before) as scope:
                function()
            return [scope.get_current_value(v) for v in variables]

        values = jax.lax.cond(
            predicate, lambda: after(update), lambda: after(otherwise)
        )
        for (variable, old), new in zip(before, values, strict=True):
            if new is not old:
                variable.assign(new)

else:

    def update_if(predicate, update, otherwise, variables):
        """Calls one of two functions that assign to variables.

        Args:
            predicate: A boolean scalar.
            update: Called where it holds.
            otherwise: Called where it does not.
            variables: All Keras variables that the two read or assign to.
        """
        (update if predicate else otherwise)()
