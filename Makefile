.PHONY: coverage demo docs lint test wheel

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
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadgroup -m 'not real'

# The share of lines that the tests reach, and the lines that none reaches.
coverage: .venv/ready
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -n 2 --dist loadgroup -m 'not real' --cov --cov-report=term

# The site, in site/. A link to nowhere is an error.
docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

# The wheel, tried in an environment of its own: it must hold all that its commands read. The demo's road, on 24 clips.
wheel:
	rm -rf dist
	python3 -m venv --clear build/wheel
	build/wheel/bin/pip install --quiet --disable-pip-version-check build
	build/wheel/bin/python -m build --quiet
	build/wheel/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	build/wheel/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt "$$(ls dist/*.whl)[demo]"
	cd build && wheel/bin/whisper-pair doctor && wheel/bin/whisper-pair init Dutch --out - && \
	  wheel/bin/python -m whisper_pair.synthetic demo-speech --clips 24 --validation 4 --test 4 --overwrite && \
	  sed 's|outputs/demo|demo|' ../configs/demo.yaml > demo.yaml && \
	  wheel/bin/whisper-pair run demo.yaml train.epochs=12 train.learning_rate=3e-3 train.batch_size=4 \
	    eval.timed_clips=2 eval.repeats=1 'eval.batch_sizes=[1]' 'eval.draft_tokens=[2]' --overwrite && \
	  wheel/bin/whisper-pair transcribe demo-speech/test/*.wav --pair demo --language nl

lint: .venv/ready
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
