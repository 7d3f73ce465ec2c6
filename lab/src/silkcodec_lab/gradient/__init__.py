"""Compare changes in the training loss, as predicted by the straight-through estimator, with the actual changes."""
