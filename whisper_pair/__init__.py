"""Matched Whisper main/assistant pairs: fine-tune, distil, prove, and decode them speculatively."""
