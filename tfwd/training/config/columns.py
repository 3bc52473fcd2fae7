"""The columns of metrics.csv and steps.csv, known without TensorFlow."""

SPLITS = ("train", "validation", "test")
TOP_5 = "top_5_accuracy"
COLUMNS = (
    "step",
    "epoch",
    "elapsed_seconds",
    "learning_rate",
    "effective_weight_decay",
    "train_loss",
    "train_accuracy",
    "penalty",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "weight_norm",
    "examples_per_second",
)
STEP_COLUMNS = (
    "step",
    "epoch",
    "learning_rate",
    "train_loss",
    "train_accuracy",
)


def of_epochs(task, counts_top_5=False):
    """The columns of metrics.csv for a task of `tfwd.models`.

    Args:
        task: The task.
        counts_top_5: Whether evaluation counts answers among the best five.
    """
    if counts_top_5:
        return (*COLUMNS, *(f"{split}_{TOP_5}" for split in SPLITS[1:]))
    if task != "language_model":
        return COLUMNS
    return (*COLUMNS, *(f"{split}_perplexity" for split in SPLITS))


def of_steps(task):
    """The columns of steps.csv for a task of `tfwd.models`."""
    if task != "language_model":
        return STEP_COLUMNS
    return (*STEP_COLUMNS, "train_perplexity")
