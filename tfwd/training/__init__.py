"""Training: settings, strategy, loop, logs and the output folder."""

from tfwd import extras

extras.require("tfwd.training", "train")
