"""Quality at fewer tokens and bits per second."""
