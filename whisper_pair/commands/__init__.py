"""The commands of `whisper-pair`, one a file: `SUMMARY`, `add(parser)` for its arguments, `run(args)` for its work."""
