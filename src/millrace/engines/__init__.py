"""Programs that make tokens, behind one protocol. A folder each; sees only `base` and `generation`."""
