"""What flipped bits and lost frames do to the speech."""
