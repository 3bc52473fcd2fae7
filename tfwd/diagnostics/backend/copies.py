"""The copies of a variable that the replicas of this process hold."""

import keras

if keras.backend.backend() == "tensorflow":

    def of(variable):
        """Returns what can be read and assigned to, replica by replica.

        Moving statistics differ between replicas, and an assignment to the
        whole variable would give all of them the first one's.

        Args:
            variable: A Keras variable.
        """
        value = variable.value
        return getattr(value, "values", (value,))

else:

    def of(variable):
        """Returns the variable alone.

        Args:
            variable: A Keras variable.
        """
        return (variable,)


def multiply(variable, factor):
    """Multiplies every copy of a variable by a float."""
    for copy in of(variable):
        copy.assign(copy * factor)
