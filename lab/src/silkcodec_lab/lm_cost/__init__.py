"""What a codec's tokens cost a language model."""
