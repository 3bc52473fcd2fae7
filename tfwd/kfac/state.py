"""What K-FAC keeps between steps: averages of factors, cached inverses."""

from keras import ops

from tfwd.kfac import backend
from tfwd.kfac import damped
from tfwd.kfac import damping as damping_lib
from tfwd.kfac import inverses as inverses_lib
from tfwd.optimizers import finite as finite_lib
from tfwd.optimizers import initial_values


class CurvatureState:
    """Factors, inverses and counters of failures, as optimizer variables.

    Args:
        add_variable: The optimizer's method.
        records: The `registration.Record` of each block.
        damping_mode: One of `inverses.DAMPING_MODES`.
        failures: The `failures.Failures` to count in.

    Attributes:
        factors: For each block its factors, sums of weighted terms.
        inverses: For each unit the tensors of its cached inverse.
        units: The `inverses.Unit` of each factor.
        refreshes: How often inverses were refreshed.
        cold_starts: 1 once there was a cold start.
        failures: The `failures.Failures`.
    """

    def __init__(self, add_variable, records, damping_mode, failures):
        self._damping_mode = damping_mode
        self.diagonals = [
            tuple(len(shape) == 1 for shape in record.factor_shapes)
            for record in records
        ]
        self.units = inverses_lib.units_of(
            [record.factor_shapes for record in records]
        )
        self.factors = [
            [
                add_variable(shape, dtype=record.dtype, name=f"factor_{b}_{f}")
                for f, shape in enumerate(record.factor_shapes)
            ]
            for b, record in enumerate(records)
        ]
        self.inverses = [
            [
                add_variable(
                    shape,
                    dtype=records[unit.block].dtype,
                    name=f"inverse_{unit.block}_{unit.factor}_{part}",
                )
                for part, shape in enumerate(unit.state_shapes(damping_mode))
            ]
            for unit in self.units
        ]
        # Sum of the weights of the terms in a factor; 1 in the long run.
        dtypes = {record.dtype for record in records}
        self.weights = add_variable(
            (len(records),),
            dtype="float64" if "float64" in dtypes else "float32",
            name="factor_weights",
        )
        self.positions = add_variable(
            (len(records),), initial_values.constant(1), name="positions"
        )
        self.refreshes = add_variable((), dtype="int", name="refreshes")
        self.cold_starts = add_variable((), dtype="int", name="cold_starts")
        self.failures = failures

    def inverses_of(self, block):
        """Returns the cached inverse of each factor of a block."""
        return [
            cached
            for unit, cached in zip(self.units, self.inverses, strict=True)
            if unit.block == block
        ]

    def precondition(self, block, gradient, damping):
        """Returns (A ⊗ G + λI)⁻¹ V by the cached inverses of a block.

        Args:
            block: The number of the block.
            gradient: V, in matrix form.
            damping: λ, a scalar; in mode `"factored"` the inverses have theirs.
        """
        cached = [
            [ops.convert_to_tensor(part) for part in parts]
            for parts in self.inverses_of(block)
        ]
        diagonals = self.diagonals[block]
        if self._damping_mode == "factored":
            flat = [part for (part,) in cached]
            return damping_lib.precondition(
                gradient, *flat, is_diagonal=diagonals[0]
            )
        pairs = [
            (parts[0], None) if is_diagonal else (parts[1], parts[0])
            for parts, is_diagonal in zip(cached, diagonals, strict=True)
        ]
        return damping_lib.precondition_eigen(
            gradient,
            pairs[0],
            pairs[1] if len(pairs) == 2 else None,
            ops.cast(damping, gradient.dtype),
        )

    def accumulate(self, estimates, decay, share):
        """Adds a batch: F ← decay·F + share·F_new, where F_new is finite.

        Args:
            estimates: A `curvature.Estimate` per block.
            decay: What remains of the old terms, a scalar.
            share: The weight of the new one, a scalar.
        """
        finite = [
            finite_lib.all_finite(estimate.factors) for estimate in estimates
        ]
        for variables, estimate, good in zip(
            self.factors, estimates, finite, strict=True
        ):
            old = [ops.convert_to_tensor(variable) for variable in variables]

            def mixed(old=old, estimate=estimate):
                return [
                    ops.cast(decay, x.dtype) * x + ops.cast(share, x.dtype) * y
                    for x, y in zip(old, estimate.factors, strict=True)
                ]

            # A branch, which costs no pass over memory as a choice would.
            new = backend.current.condition(good, mixed, lambda old=old: old)
            for variable, value in zip(variables, new, strict=True):
                variable.assign(value)
        finite = ops.stack(finite)
        old = ops.convert_to_tensor(self.weights)
        mixed = ops.cast(decay, old.dtype) * old + ops.cast(share, old.dtype)
        self.weights.assign(ops.where(finite, mixed, old))
        positions = [
            ops.cast(e.positions, self.positions.dtype) for e in estimates
        ]
        self.positions.assign(ops.stack(positions))
        self.failures.add("dropped_statistics", ops.logical_not(finite))

    def debiased(self, block):
        """Returns a block's factors, each a weighted mean of its terms."""
        weight = ops.convert_to_tensor(self.weights)[block]
        weight = ops.where(weight > 0, weight, ops.ones_like(weight))
        return [
            ops.convert_to_tensor(f) / ops.cast(weight, f.dtype)
            for f in self.factors[block]
        ]

    def by_layer(self, records):
        """Returns {layer name: factors} as arrays; see `KFAC.factors`.

        Args:
            records: The `registration.Record` of each block.
        """
        positions = ops.convert_to_numpy(self.positions)
        result = {}
        for number, record in enumerate(records):
            factors = [ops.convert_to_numpy(f) for f in self.debiased(number)]
            if len(factors) == 2:
                factors[1] = factors[1] / positions[number].astype(
                    factors[1].dtype
                )
            result[record.layer] = tuple(factors)
        return result

    def refresh(self, units, owners, damping):
        """Inverts factors; where that fails, the last inverse is kept.

        That of a block of which no statistics were finite yet is zero, which
        does not move its variables. With a damping that is not finite and
        above 0 all inverses that need it are kept.

        Args:
            units: Numbers of units.
            owners: For each unit of all the replica that inverts it.
            damping: λ, a scalar.
        """
        results, outcomes = [], []
        is_valid = damped.is_valid(damping)
        # Any number does: the result is thrown away.
        damping = ops.where(is_valid, damping, ops.ones_like(damping))
        for number in units:
            cached = self.inverses[number]

            def compute(number=number):
                unit = self.units[number]
                values, failed, failed_again = inverses_lib.inverted(
                    unit,
                    self.debiased(unit.block),
                    self.diagonals[unit.block],
                    damping,
                    self._damping_mode,
                )
                # Zeros are no factor: their damped inverse is 1/λ.
                unseen = ops.convert_to_tensor(self.weights)[unit.block] <= 0
                failed_again = ops.logical_or(failed_again, unseen)
                if self._damping_mode == "factored":
                    failed_again = ops.logical_or(
                        failed_again, ops.logical_not(is_valid)
                    )
                flags = ops.stack([failed, failed_again])
                # A replica that fails must not spoil the sum over replicas.
                values = [
                    ops.where(failed_again, ops.zeros_like(value), value)
                    for value in values
                ]
                return [*values, ops.cast(flags, "float32")]

            # As floats: integers live on the host, from where TensorFlow does
            # not reduce together with tensors on a device.
            like = [*(v.value for v in cached), ops.zeros((2,), "float32")]
            *values, flags = backend.current.computed_by(
                owners[number], compute, like
            )
            results += values
            outcomes.append(flags)
        *results, outcomes = backend.current.sum_over_replicas(
            [*results, ops.stack(outcomes)]
        )
        remaining = iter(results)
        for row, number in enumerate(units):
            failed_again = outcomes[row, 1] > 0
            for variable in self.inverses[number]:
                old = ops.convert_to_tensor(variable)
                new = next(remaining)
                variable.assign(ops.where(failed_again, old, new))
        self.failures.add("retried_inverses", outcomes[:, 0])
        self.failures.add("kept_inverses", outcomes[:, 1])
        self.refreshes.assign(ops.convert_to_tensor(self.refreshes) + 1)
