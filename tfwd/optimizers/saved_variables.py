"""What is saved of variables, so that they are known again when loaded.

Paths change when a model is loaded (`sequential/dense/kernel` comes back as
`dense/kernel`, `dense_1` as `dense_5`), so what was decided of a variable is
kept by position for as long as the variables have the shapes and, up to such
changes, the names of the first ones.
"""

import dataclasses
import re

from tfwd.optimizers import selection


@dataclasses.dataclass(frozen=True)
class Record:
    """What is saved of one variable.

    Attributes:
        path: Its path, None in configs that do not hold it.
        shape: Its shape.
        factor: Its factor of λ by the rules.
        learning_rate_factor: Its factor of η by the rules.
    """

    path: str | None
    shape: tuple[int, ...]
    factor: float
    learning_rate_factor: float = 1.0

    def is_of(self, variable):
        """Returns whether a variable has this shape and this path's end."""
        if self.path is None or self.shape != selection.shape_of(variable):
            return False
        pairs = _aligned(self.path, selection.path_of(variable))
        return all(old == new for old, new in pairs)

    def as_config(self):
        """Returns the record as a config holds it."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}


def of(variable, *factors):
    """Returns the record of a variable with its factors of λ and η."""
    return Record(
        selection.path_of(variable), selection.shape_of(variable), *factors
    )


def from_configs(configs):
    """Returns the records that a config holds; η's factor may be missing."""
    return tuple(
        Record(
            each.get("path"),
            tuple(each["shape"]),
            float(each["factor"]),
            float(each.get("learning_rate_factor", 1.0)),
        )
        for each in configs
    )


def are_of(records, variables):
    """Returns whether records are those of these variables, in order."""
    shapes = tuple(map(selection.shape_of, variables))
    if shapes != tuple(record.shape for record in records):
        return False
    if any(record.path is None for record in records):
        return True
    return _same_names(
        [record.path for record in records],
        [selection.path_of(variable) for variable in variables],
    )


def _aligned(old, new):
    """Returns the pairs of components of two paths, from their ends on.

    A loaded model lacks the name of what stood around it.
    """
    parts = (reversed(path.split("/")) for path in (old, new))
    return list(zip(*parts, strict=False))


def _same_names(old_paths, new_paths):
    """Returns whether paths differ by automatic names alone.

    Those are numbered in the order in which layers are made: `dense`,
    `dense_1`, ... may come back with other numbers, not in another order.
    """
    numbers = set()
    for old, new in zip(old_paths, new_paths, strict=True):
        for one, other in _aligned(old, new):
            (base, number), (other_base, other_number) = map(
                _numbered, (one, other)
            )
            if base != other_base:
                return False
            numbers.add((base, number, other_number))
    ordered = sorted(numbers)
    return all(
        base != next_base or (number < next_number and other < next_other)
        for (base, number, other), (next_base, next_number, next_other) in zip(
            ordered, ordered[1:], strict=False
        )
    )


def _numbered(name):
    """Returns a name without its number, and the number."""
    match = re.fullmatch(r"(.*?)_(\d+)", name)
    return (match[1], int(match[2])) if match else (name, 0)
