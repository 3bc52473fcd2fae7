"""Values of a search in words that a person reads."""


def of_value(value):
    """Returns a value as a flag has it, floats to six digits."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (tuple, list)):
        return ",".join(map(of_value, value))
    return "none" if value is None else str(value)


def of_values(values):
    """Returns `learning_rate=0.001, optimizer=adams` of a dict.

    What is None, as it depends on another choice, is left out.
    """
    return ", ".join(
        f"{name}={of_value(value)}"
        for name, value in values.items()
        if value is not None
    )


def of_objective(value, deviation=None):
    """Returns an objective to four digits, ± its standard deviation if any."""
    if deviation is None:
        return f"{value:.4g}"
    return f"{value:.4g} ± {deviation:.2g}"


def counted(number, noun, plural=None):
    """Returns `1 seed`, `2 seeds`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
