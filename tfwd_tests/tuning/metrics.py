"""Files of metrics, as runs of known results would have them."""

from tfwd.training.runs import logs


def write(folder, *accuracies):
    """Writes a metrics.csv of a run; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = logs.MetricsFile(folder / "metrics.csv")
    for epoch, accuracy in enumerate(accuracies, start=1):
        row = {"step": epoch, "epoch": epoch, "elapsed_seconds": epoch / 2}
        file.append(row | {"validation_accuracy": accuracy})
    file.close()
    return folder
