"""Assignments to variables that take effect under a condition on the device."""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def update_if(predicate, update, variables):
        """Calls a function that assigns to variables, where a scalar is true.

        XLA makes selections of a branch of elementwise operations. One that
        assigns to a variable and uses the value as well would hold it twice,
        so that the old one is copied: such an update is better made of two
        calls, of which the second reads the variable.

        Args:
            predicate: A boolean scalar.
            update: What assigns. It may hold no collective: `tf.distribute`
                allows none in a branch.
            variables: All Keras variables that it reads or assigns to.
        """
        tf.cond(predicate, lambda: (update(), 0)[1], lambda: 0)

elif keras.backend.backend() == "jax":
    import jax
    from jax import numpy as jnp

    def update_if(predicate, update, variables):
        """Calls a function that assigns to variables, where a scalar is true.

        A selection of old and new values, since a branch on an accelerator
        would wait for the host; see TensorFlow's for why it may take two.

        Args:
            predicate: A boolean scalar.
            update: What assigns.
            variables: All Keras variables that it reads or assigns to.
        """
        if not isinstance(predicate, jax.core.Tracer):
            if predicate:
                update()
            return
        before = [(variable, variable.value) for variable in variables]
        with keras.StatelessScope(before) as scope:
            update()
        for variable, old in before:
            new = scope.get_current_value(variable)
            if new is not old:
                variable.assign(jnp.where(predicate, new, old))

else:

    def update_if(predicate, update, variables):
        """Calls a function that assigns to variables, where a scalar is true.

        Args:
            predicate: A boolean scalar.
            update: What assigns.
            variables: All Keras variables that it reads or assigns to.
        """
        if predicate:
            update()
