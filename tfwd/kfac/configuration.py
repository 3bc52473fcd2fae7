"""The arguments of K-FAC, checked once and then fixed."""

import dataclasses

from tfwd import arguments
from tfwd.kfac import curvature as curvature_lib
from tfwd.kfac import inverses


def _checked(check, *limits, is_optional=False):
    """Returns a field whose value is what `check(name, value, *limits)` says.

    Args:
        check: One of `tfwd.arguments`.
        *limits: Limits of the values, for `check`.
        is_optional: Whether None is left as it is.
    """

    def value_of(name, value):
        if value is None and is_optional:
            return None
        return check(name, value, *limits)

    return dataclasses.field(metadata={"value_of": value_of})


def _one_of(*choices):
    return _checked(arguments.check_choice, choices)


def _steps():
    return _checked(arguments.check_integer, 1, arguments.LARGEST_STEP)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Configuration:
    """What `tfwd.KFAC`, which documents them, takes besides η, λ and damping.

    The damping can change between steps, so a variable holds it.

    Raises:
        ValueError: If an argument breaks its rule.
    """

    curvature: str = _one_of(*curvature_lib.CURVATURES)
    damping_mode: str = _one_of(*inverses.DAMPING_MODES)
    momentum: float = _checked(arguments.check_decay_rate)
    factor_decay: float = _checked(arguments.check_decay_rate)
    factor_every: int = _steps()
    inverse_every: int = _steps()
    kl_clip: float | None = _checked(arguments.check_positive, is_optional=True)
    stagger_inverses: bool = _checked(arguments.check_boolean)
    curvature_scale: float | None = _checked(
        arguments.check_positive, is_optional=True
    )
    estimation: str = _one_of(*curvature_lib.ESTIMATIONS)
    on_unsupported: str = _one_of("error", "sgd")
    update_order: str = _one_of("algorithm", "authors")
    seed: int = _checked(arguments.check_integer, 0)

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            value = field.metadata["value_of"](field.name, value)
            object.__setattr__(self, field.name, value)

    def matrix(self):
        """Returns the `curvature.Curvature` that the factors estimate."""
        return curvature_lib.Curvature(
            self.curvature,
            self.estimation,
            self.curvature_scale or 1.0,
            self.seed,
        )

    def check_accumulation(self, batches):
        """Checks the order of the update against `gradient_accumulation_steps`.

        Args:
            batches: The argument, None without accumulation.

        Raises:
            ValueError: If factors would see other weights than the gradient.
        """
        if self.update_order == "authors" and batches is not None:
            raise ValueError(
                "`gradient_accumulation_steps` must be None with "
                "update_order='authors', where the last batch of a step would "
                "meet other weights than the first. Received: "
                f"gradient_accumulation_steps={arguments.shown(batches)}"
            )


NAMES = tuple(field.name for field in dataclasses.fields(Configuration))
