"""When factors and inverses are refreshed, and who computes which inverse.

The work is divided into units: the inverse of one factor of one layer. Pure
Python, on the host: collectives cannot stand in a condition of a graph.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be done around one training step, factors first.

    Attributes:
        factors: Whether to update the factors with the step's batch.
        inverses: The units whose inverses are to be refreshed.
    """

    factors: bool = False
    inverses: tuple[int, ...] = ()

    def __bool__(self):
        return self.factors or bool(self.inverses)


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Says what is due before and after the training step on a batch.

    Attributes:
        slots: For each unit the remainder of the step, modulo
            `inverse_every`, at which it is refreshed.
        factor_every: Steps between updates of the factors.
        inverse_every: Steps between refreshes of one inverse.
        authors_order: Whether factors and inverses follow the step (the
            published code of Zhang et al. 2019) instead of preceding it (their
            Algorithm 1).
        cold_started: Whether factors and inverses exist before step 0.
        accumulation: Batches per step, all of which enter the factors.
    """

    slots: tuple[int, ...]
    factor_every: int
    inverse_every: int
    authors_order: bool = False
    cold_started: bool = False
    accumulation: int = 1

    def before(self, batch):
        """Returns the work before the training step on a batch.

        Args:
            batch: Batches seen so far.
        """
        step, part = divmod(batch, self.accumulation)
        is_last = part == self.accumulation - 1
        if not self.authors_order:
            return self._due(step, is_last, everything=step == 0)
        if step == 0 and not self.cold_started:
            return Work(True, self._all() if is_last else ())
        return Work()

    def after(self, batch):
        """Returns the work after the training step on a batch."""
        step, part = divmod(batch, self.accumulation)
        if not self.authors_order:
            return Work()
        return self._due(step + 1, part == self.accumulation - 1)

    def idle_batches(self, batch, limit):
        """Returns how many batches from this one on need no work."""
        for count in range(limit):
            if self.before(batch + count) or self.after(batch + count):
                return count
        return limit

    def _all(self):
        return tuple(range(len(self.slots)))

    def _due(self, step, is_last, everything=False):
        factors = step % self.factor_every == 0
        if not is_last:
            return Work(factors)
        if everything:
            return Work(factors, self._all())
        slot = step % self.inverse_every
        return Work(
            factors, tuple(u for u, s in enumerate(self.slots) if s == slot)
        )


def staggered_slots(costs, period, factor_every=1):
    """Spreads units over the steps of a period.

    One unit per step at equal distances where the period is long enough, and
    where possible not on a step with factors; else units put one by one, the
    costliest first, where the load is least.

    Args:
        costs: The cost of each unit.
        period: Steps.
        factor_every: Steps between updates of the factors.

    Returns:
        A slot in [0, period) for each unit.
    """
    free = [slot for slot in range(period) if slot % factor_every]
    if len(costs) > len(free):
        free = range(period)
    if len(costs) > len(free):
        return balanced(costs, period)
    return tuple(
        free[unit * len(free) // len(costs)] for unit in range(len(costs))
    )


def balanced(costs, bins):
    """Assigns units to bins of nearly equal load: the costliest unit first.

    Returns:
        A bin in [0, bins) for each unit; no load is above 4/3 of the best
        possible (Graham 1969).
    """
    loads = [0.0] * bins
    assigned = [0] * len(costs)
    for unit in sorted(range(len(costs)), key=lambda u: -costs[u]):
        lightest = loads.index(min(loads))
        assigned[unit] = lightest
        loads[lightest] += costs[unit]
    return tuple(assigned)
