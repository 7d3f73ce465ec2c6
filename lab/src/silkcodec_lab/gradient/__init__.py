"""Compare changes in the loss that the straight-through estimator predicts with actual changes."""
