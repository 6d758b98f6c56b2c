"""The installed home of train, distill and eval, which a checkout keeps at its top; see pyproject.toml."""
