"""The installed home of train, distill and eval, which a checkout keeps at its top; see pyproject.toml."""

from pathlib import Path

_top = Path(__file__).parents[2]
if (_top / "pyproject.toml").is_file() and (_top / "train" / "__main__.py").is_file():
    __path__.append(str(_top))  # a checkout: found there, whether it is installed or not
