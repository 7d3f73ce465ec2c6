"""Compare the changes in the loss that the straight-through estimator predicts with the actual changes."""
