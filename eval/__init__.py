"""Stage 3: what the pair is worth, measured on this machine."""
