.PHONY: demo test lint

# A .venv from PyPI alone; made again when the pins or the dependencies change.
.venv/ready: constraints.txt pyproject.toml
	python3 -m venv .venv
	.venv/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	.venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch .venv/ready

demo: .venv/ready
	.venv/bin/whisper-pair synthesize outputs/demo-speech --overwrite
	.venv/bin/whisper-pair run configs/demo.yaml --overwrite

test: .venv/ready
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 -m 'not real'

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
