"""Training: settings, strategy, loop, logs and the output folder."""
