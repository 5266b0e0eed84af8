# Every target makes the environment it needs; see README.md.
PYTHON ?= python3
# Colab's versions of August 2026, but for the Python itself.
COLAB = tensorflow==2.20.0 keras==3.13.2 numpy==2.1.3 scipy==1.16.3 pillow==11.3.0 \
	matplotlib==3.10.0 opencv-python-headless==5.0.0.93 tqdm==4.67.3 h5py==3.16.0 \
	tensorboard==2.20.0 nbclient==0.10.4 ipykernel

# Notebooks as they are committed: with outputs, without metadata.
EXECUTE = .venv/bin/jupyter nbconvert --to notebook --execute --inplace \
	--ExecutePreprocessor.timeout=-1 --ExecutePreprocessor.record_timing=False \
	--ClearMetadataPreprocessor.enabled=True \
	--ClearMetadataPreprocessor.preserve_nb_metadata_mask=kernelspec \
	--ClearMetadataPreprocessor.preserve_nb_metadata_mask=accelerator
NOTEBOOKS = SRGAN_coco SRGAN_celeba compare upscale ablations

# Test sets: set5, set14, coco/test, celeba/test; and VGG19's file, else downloaded.
DATA ?= data
VGG ?=

.PHONY: test test-colab test-jax demo lint proofs benchmarks notebooks clean

test: .venv/installed
	.venv/bin/python -m pytest

test-colab: .venv-colab/installed
	.venv-colab/bin/python -m pytest

# With TensorFlow and JAX, so that one can be compared with the other.
test-jax: .venv-jax/installed
	.venv-jax/bin/python -m pytest -n 0 tests/training/test_step_jax.py

demo: .venv/installed
	.venv/bin/python demo/demo.py

lint: .venv/installed
	.venv/bin/ruff check .

# Slow, hours if the counts are larger: every recipe resumed; kills, damages, faults of
# the root, hostile files and command lines at random, in one table (tests/proofs), say
# make proofs KILLS=1000 ONLY=kills,damage; what the shipped models are worth, given DATA.
COUNTS = KILLS DAMAGES FAULTS FILES COMMANDS STEPS REPEATS KERNELS ONLY SEED
lower = $(shell echo $(1) | tr A-Z a-z)
proofs: .venv/installed
	SRGAN_PROOFS=1 .venv/bin/python -m pytest tests/test_recipes.py
	.venv/bin/python tests/proofs $(foreach x,$(COUNTS),$(if $($(x)),--$(call lower,$(x)) $($(x))))
	if test -d $(DATA)/set5; then .venv/bin/python benchmarks/quality.py $(DATA) \
	$(if $(VGG),--vgg-weights $(VGG)) --check; \
	else echo "the shipped models were not measured: give DATA=FOLDER"; fi

# Beside JAX and PyTorch. Stop all else meanwhile.
benchmarks: .venv-jax/installed
	.venv-jax/bin/python -m pip install --quiet "torch>=2.9"
	.venv-jax/bin/python benchmarks/training_step.py
	.venv-jax/bin/python benchmarks/upscaling.py

# Trains on the photographs that the notebooks' settings name, looked for in runs/ too.
notebooks: .venv/installed
	.venv/bin/python -m pip install --quiet nbconvert
	for name in $(NOTEBOOKS); do $(EXECUTE) notebooks/$$name.ipynb || exit; done

.venv/installed: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --editable ".[test]"
	touch $@

.venv-jax/installed: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv-jax
	.venv-jax/bin/python -m pip install --quiet --editable ".[test,jax]"
	touch $@

.venv-colab/installed: pyproject.toml requirements.txt
	$(PYTHON) -m venv .venv-colab
	.venv-colab/bin/python -m pip install --quiet $(COLAB) pytest pytest-xdist
	.venv-colab/bin/python -m pip install --quiet --no-deps --editable .
	touch $@

clean:
	rm -rf .venv .venv-colab .venv-jax demo/run
