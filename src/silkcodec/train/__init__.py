"""Training: `data` -> `loop` (with `losses`, `stages`) -> `export`. Needs the extra `[train]`."""
