"""The runs of a search: those of the training binary."""
