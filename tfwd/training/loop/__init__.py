"""The steps of training and evaluation, and the epochs they make up."""
