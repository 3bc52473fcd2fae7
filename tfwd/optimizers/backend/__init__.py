"""Where the optimizers meet private names of Keras and its backends."""
