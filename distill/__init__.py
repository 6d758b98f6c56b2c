"""Stage 2: label with the finished main, then distil the assistant from it."""
