"""The table of what decays: mode, coefficient, and a line per variable."""

from keras import ops

from tfwd import text_table
from tfwd.optimizers import selection


def text(optimizer):
    """Returns the summary of a built optimizer's weight decay."""
    variables = optimizer.model_variables()
    factors = optimizer.weight_decay_factors
    sizes = [int(ops.size(v)) for v in variables]
    decayed = sum(n for n, f in zip(sizes, factors, strict=True) if f)
    coefficient = float(ops.convert_to_numpy(optimizer.weight_decay))
    lines = [
        f"Weight decay of {optimizer.name}: "
        f"mode {optimizer.weight_decay_mode}, coefficient {coefficient:g}, "
        f"{decayed} of {sum(sizes)} parameters"
    ]
    schedule = optimizer.decay_schedule()
    if schedule is not None:
        name = type(schedule).__name__
        lines.append(f"Schedule of the coefficient: {name}")
    for pattern in optimizer.unmatched_patterns:
        lines.append(f"Matches no variable: {pattern}")
    for path in selection.shared_paths(variables):
        lines.append(
            f"Several variables are {path}: no pattern tells them apart, "
            "exclude_from_weight_decay(var_list=...) does"
        )
    first = int(ops.convert_to_numpy(optimizer.first_overshoot_step))
    if first:
        lines.append(f"Decay rate of one or more, first at step {first}")
    skipped = int(ops.convert_to_numpy(optimizer.skipped_steps))
    if skipped:
        steps = "step" if skipped == 1 else "steps"
        lines.append(
            f"{skipped} {steps} skipped ({optimizer.reason_to_skip}); the "
            "model's moving averages are kept by `tfwd.SkippedSteps` alone"
        )
    columns = [
        ["variable", *map(selection.path_of, variables)],
        ["shape", *(str(selection.shape_of(v)) for v in variables)],
        ["factor", *(f"{f:g}" if f else "-" for f in factors)],
    ]
    rates = optimizer.learning_rate_factors
    if any(rate != 1 for rate in rates):
        columns.append(["learning rate", *(f"{rate:g}" for rate in rates)])
    rows = zip(*columns, strict=True)
    lines += [f"  {line}" for line in text_table.lines(list(rows))]
    return "\n".join(lines)
