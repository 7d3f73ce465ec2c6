"""The straight-through estimator: the change of the loss that it predicts, and the change that occurs."""
