"""The residual chain at one moment of a recording."""
