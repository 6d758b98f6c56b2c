"""Stage 1: fine-tune the main model for a language."""
