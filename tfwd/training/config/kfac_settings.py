"""The settings of K-FAC's curvature."""

import dataclasses

from tfwd.training.config import fields


@dataclasses.dataclass(frozen=True)
class KFAC:
    """The arguments that `tfwd.KFAC` alone takes."""

    curvature: str | None = fields.setting(
        None,
        "what kfac's factors approximate",
        choices=("fisher", "gauss_newton", "empirical"),
        group="K-FAC",
    )
    damping: float | None = fields.setting(
        None, "damping of kfac's curvature", above=0
    )
    damping_mode: str | None = fields.setting(
        None,
        "damp each of kfac's factors, or the eigenvalues of their product",
        choices=("factored", "eigen"),
    )
    factor_decay: float | None = fields.setting(
        None, "decay rate of kfac's factors", at_least=0, below=1
    )
    factor_every: int | None = fields.setting(
        None,
        "steps between updates of kfac's factors",
        at_least=1,
        at_most=10**6,
    )
    inverse_every: int | None = fields.setting(
        None,
        "steps between updates of their inverses",
        at_least=1,
        at_most=10**6,
    )
    kl_clip: float | None = fields.setting(
        None, "bound of kfac's step in the metric of its curvature", above=0
    )
    stagger_inverses: bool | None = fields.setting(
        None, "spread the inverses of kfac's layers over the steps"
    )
    curvature_scale: float | None = fields.setting(
        None, "multiplies kfac's curvature", above=0
    )
    estimation: str | None = fields.setting(
        None,
        "kfac's curvature from one sample of each output, or from all",
        choices=("sampled", "exact"),
    )
    on_unsupported: str | None = fields.setting(
        None,
        "what kfac does with layers that it does not know",
        choices=("error", "sgd"),
    )
    update_order: str | None = fields.setting(
        None,
        "factors and inverses before the step (algorithm) or after (authors)",
        choices=("algorithm", "authors"),
    )
    cold_start: bool | None = fields.setting(
        None,
        "average kfac's factors over the first epoch before the first step",
    )
