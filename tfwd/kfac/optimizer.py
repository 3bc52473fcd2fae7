"""K-FAC: the gradient times the inverse of a Kronecker-factored curvature."""

import contextlib
import typing

import keras
from keras import ops

from tfwd import types
from tfwd.kfac import backward
from tfwd.kfac import configuration
from tfwd.kfac import curvature_optimizer
from tfwd.kfac import kl_clip as kl_clip_lib
from tfwd.optimizers import decaying


@keras.saving.register_keras_serializable("tfwd")
class KFAC(curvature_optimizer.CurvatureOptimizer):
    """Kronecker-factored approximate curvature, with momentum.

    ```
    A ← factor_decay·A + (1 − factor_decay)·a aᵀ     every factor_every steps
    G ← factor_decay·G + (1 − factor_decay)·g gᵀ
    U = (A ⊗ G + damping)⁻¹ V                        V the layer's gradient
    ν = min(1, √(kl_clip / (η² Σ ⟨V, U⟩)))           1 without kl_clip
    m ← momentum·m + ν U                             m₀ = 0
    θ ← θ − η m
    ```

    a is a layer's input (and a 1 for the bias), g the gradient of a loss of
    its own at the layer's pre-activation: sampled labels for the Fisher
    matrix, random vectors at the logits for Gauss–Newton, the true labels for
    the empirical Fisher. The averages are debiased, the inverses refreshed
    every `inverse_every` steps, and both before the first step.

    `attach(model)` must be called before the first step. Then `compile`, `fit`
    and `train_on_batch` work as always; a loop of one's own calls
    `update_factors(inputs)` and `update_inverses()` when `schedule` says so.

    Modes of weight decay: `"decoupled"` (default), `"l2"` (λθ is part of V),
    `"stable"` with s = 1/(1 − momentum), an extension in which ν does not
    count, `"independent"`.

    Args:
        learning_rate: η, a float, schedule or callable. Defaults to 1e-3.
        weight_decay: λ. Defaults to 0.
        curvature: `"fisher"`, `"gauss_newton"` or `"empirical"`.
        damping: A float > 0, or a schedule of the step. Set
            `optimizer.damping` to change a float between steps, also when the
            step is compiled. In mode `"factored"` its value enters when the
            inverses are refreshed. A step with one that is not finite and
            above 0 is skipped, and no inverse is made with it.
        damping_mode: `"factored"`: (A + π√damping I)⁻¹ V (G + √damping/π I)⁻¹;
            `"eigen"`: damping is added to the eigenvalues of A ⊗ G.
        momentum: In [0, 1). Defaults to 0.9.
        factor_decay: In [0, 1). Defaults to 0.95.
        factor_every: Steps between updates of the factors.
        inverse_every: Steps between refreshes of an inverse.
        kl_clip: κ > 0, the bound of η²Σ⟨V, U⟩ over the layers with a block,
            before the momentum. With `learning_rate_multipliers` it bounds
            Σ fᵢ²η²⟨V, U⟩, where fᵢ is the highest factor in the layer.
        stagger_inverses: Whether to refresh the inverses one by one, spread
            over the steps, instead of all in one step. The two of a layer
            then have a π of different steps; the damping of their product is
            off by the ratio of the two.
        curvature_scale: Multiplies the curvature. Defaults to 1. The code of
            Zhang et al. 2019 has 2 for Gauss–Newton.
        estimation: `"sampled"`, or `"exact"`, which backpropagates one vector
            per output.
        on_unsupported: `"error"` to refuse a model with layers that have no
            curvature here, `"sgd"` to move their variables by the gradient.
        update_order: `"algorithm"`: factors and inverses, then the step;
            `"authors"`: the step first, as in the code of Zhang et al. 2019.
        seed: Seed of the sampled vectors, a function of it, the step and the
            number of the example.
        **base_arguments: See `tfwd.optimizers.base.Optimizer`.

    Example:
    >>> model.compile(optimizer=tfwd.KFAC(1e-3, weight_decay=0.1), loss="mse")
    >>> report = tfwd.attach(model)
    >>> history = model.fit(x, y, verbose=0)

    References:
        Martens & Grosse 2015; Grosse & Martens 2016 for convolutions; Zhang et
        al. 2019, Algorithm 1, whose decay term lacks η (their code has it).
    """

    weight_decay_modes = ("decoupled", "l2", "stable", "independent")
    reason_to_skip = (
        "gradients not finite, no inverses, or a learning rate, weight decay "
        "or damping out of range"
    )

    def __init__(
        self,
        learning_rate: types.Schedule = 1e-3,
        weight_decay: types.Schedule = 0.0,
        *,
        curvature: types.Curvature = "fisher",
        damping: types.Schedule = 1e-3,
        damping_mode: typing.Literal["factored", "eigen"] = "factored",
        momentum: float = 0.9,
        factor_decay: float = 0.95,
        factor_every: int = 10,
        inverse_every: int = 100,
        kl_clip: float | None = None,
        stagger_inverses: bool = False,
        curvature_scale: float | None = None,
        estimation: types.Estimation = "sampled",
        on_unsupported: typing.Literal["error", "sgd"] = "error",
        update_order: typing.Literal["algorithm", "authors"] = "algorithm",
        seed: int = 0,
        **base_arguments: typing.Any,
    ):
        super().__init__(
            learning_rate,
            weight_decay,
            damping=damping,
            configuration=configuration.Configuration(
                curvature=curvature,
                damping_mode=damping_mode,
                momentum=momentum,
                factor_decay=factor_decay,
                factor_every=factor_every,
                inverse_every=inverse_every,
                kl_clip=kl_clip,
                stagger_inverses=stagger_inverses,
                curvature_scale=curvature_scale,
                estimation=estimation,
                on_unsupported=on_unsupported,
                update_order=update_order,
                seed=seed,
            ),
            **base_arguments,
        )
        if not self.skip_nonfinite:
            raise ValueError(
                "`skip_nonfinite` must be True: without inverses, too, a step "
                "is skipped. Received: skip_nonfinite=False"
            )

    def build(self, variables):
        """Creates momentum, factors and inverses.

        Raises:
            ValueError: If no model is attached and none was saved.
        """
        if self.built:
            return
        super().build(variables)
        if self.momentum:
            self.momentums = self.add_optimizer_variables(variables, "momentum")

    @contextlib.contextmanager
    def preconditioned_backward(self, optimizer_variables=None):
        """Lets backpropagation itself precondition, where that is cheaper.

        Forward pass, gradients and `apply` of one step stand inside, all in
        one function that is compiled, or none of them. The dense layers for
        which `backward.is_cheaper` holds hand U to `apply` instead of V; the
        result is the same. Does nothing with clipping, L2,
        KL clip, accumulation and `damping_mode="eigen"`, which need V. A
        variable with a regularizer, too, keeps its V; a penalty on a kernel by
        `add_loss` outside the model's call is not seen. A gradient with
        respect to a weight that is taken inside is U, whatever it is for;
        `fit` goes without, where the loss takes one (but not yet within a
        `LossScaleOptimizer`, which does not tell when the loss is there).

        Args:
            optimizer_variables: The values of `optimizer.variables` in a
                stateless (JAX) step.

        Raises:
            ValueError: If the loss or the model differentiates the network,
                as a gradient penalty does, maps it by `tf.vectorized_map`, or
                calls it in a function that is compiled by itself. `fit` then
                goes without.
        """
        if not self._backward_may_precondition():
            yield None
            return
        preconditioner = backward.Preconditioner(
            self.attachment,
            self.curvature_state(),
            self.values_by_id(optimizer_variables),
        )
        with backward.calling_back(preconditioner):
            yield preconditioner

    def scale_loss(self, loss):
        """Scales the loss, which is then all that is differentiated."""
        preconditioner = backward.preconditioner_of(self.attachment)
        if preconditioner is not None:
            preconditioner.awaits_loss = False
        return super().scale_loss(loss)

    def step_is_finite(self, gradients):
        """Returns whether there are inverses and all gradients are finite."""
        self.attachment.check_refreshed()
        refreshes = ops.convert_to_tensor(self.curvature_state().refreshes)
        is_finite = super().step_is_finite(gradients)
        return ops.logical_and(is_finite, refreshes > 0)

    def precondition(self, indices, gradients, learning_rate):
        """Returns ν (A ⊗ G + λ)⁻¹ V of all blocks, V of the others."""
        result = dict(zip(indices, gradients, strict=True))
        preconditioner = backward.preconditioner_of(self.attachment)
        kl_clip, damping = self.configuration.kl_clip, self.damping_now()
        products, inner = {}, 0.0
        for number, record in enumerate(self.report.records):
            present = [i for i in record.positions if i in result]
            if not present or (
                preconditioner is not None and preconditioner.has_done(number)
            ):
                continue
            block = self.attachment.blocks[number]
            gradient = block.to_matrix(
                [
                    ops.cast(result[i], block.dtype)
                    if i in result
                    else ops.zeros(variable.shape, block.dtype)
                    for i, variable in zip(
                        record.positions, block.variables, strict=True
                    )
                ]
            )
            product = self.curvature_state().precondition(
                number, gradient, damping
            )
            if kl_clip is not None:
                squared = ops.sum(gradient * product)
                factor = max(self.learning_rate_factors[i] for i in present)
                if factor != 1:
                    squared = factor**2 * squared
                inner += ops.cast(squared, decaying.scalar_dtype())
            parts = block.from_matrix(product)
            for i, part in zip(record.positions, parts, strict=True):
                if i in result:
                    products[i] = ops.cast(part, result[i].dtype)
        if kl_clip is not None:
            nu = kl_clip_lib.scale(kl_clip, learning_rate, inner)
            products = {
                i: ops.cast(nu, part.dtype) * part
                for i, part in products.items()
            }
        return [products.get(i, result[i]) for i in indices]

    def advance(self, index, gradient, learning_rate):
        """Updates the momentum."""
        if self.momentum:
            m = self.momentum * self.momentums[index] + gradient
            self.assign(self.momentums[index], m)

    def step(self, index, gradient, learning_rate):
        """Returns η m."""
        if not self.momentum:
            return learning_rate * gradient
        return self.momentums[index] * learning_rate

    def stable_scale(self, mean):
        """Returns 1/(1 − momentum)."""
        return 1 / (1 - self.momentum)

    def _backward_may_precondition(self):
        return (
            self.configuration.damping_mode == "factored"
            and self.configuration.kl_clip is None
            and self.weight_decay_mode != "l2"
            and self.clipnorm is None
            and self.clipvalue is None
            and self.global_clipnorm is None
            and not self.gradient_accumulation_steps
        )
