"""The package imports quickly and offers exactly what it names."""

import subprocess
import sys

import pytest

import mmnas_hf
from mmnas_hf.data import DATASETS
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.search.priors import PRIORS
from mmnas_hf.tasks import TASKS

RUNS = 3
ALLOWED_SECONDS = 0.5  # more than transformers alone


def python(code):
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return ended.stdout.strip()


def seconds_to_import(*names):
    timed = f"import time; start = time.perf_counter(); import {', '.join(names)}; print(time.perf_counter() - start)"
    return min(float(python(timed)) for _ in range(RUNS))


# Importing


def test_importing_the_package_loads_no_heavy_library():
    heavy = ("torch", "transformers", "datasets", "numpy", "pandas", "matplotlib")
    assert python(f"import sys, mmnas_hf; print([name for name in {heavy} if name in sys.modules])") == "[]"


def test_importing_the_package_beside_transformers_loads_no_network():
    code = "import sys, transformers, mmnas_hf; print('mmnas_hf.modeling_mmnas' in sys.modules)"
    assert python(code) == "False"


def test_the_package_costs_little_more_than_transformers():
    assert seconds_to_import("transformers", "mmnas_hf") < seconds_to_import("transformers") + ALLOWED_SECONDS


ORDERS = [
    "import mmnas_hf, transformers",
    "import transformers, mmnas_hf",
    "from transformers import AutoConfig, AutoModel; import mmnas_hf, transformers",
]


@pytest.mark.parametrize("imports", ORDERS)
def test_auto_classes_know_the_package_whatever_is_imported_first(imports):
    assert python(f"{imports}; print(type(transformers.AutoConfig.for_model('mmnas')).__name__)") == "MMnasConfig"


# Names


@pytest.mark.parametrize("name", mmnas_hf.__all__)
def test_every_public_name_is_there(name):
    assert getattr(mmnas_hf, name) is not None


def test_public_names_are_sorted_and_unique():
    assert list(mmnas_hf.__all__) == sorted(set(mmnas_hf.__all__))


def test_dir_lists_the_public_names():
    assert set(mmnas_hf.__all__) <= set(dir(mmnas_hf))


def test_a_star_import_gives_exactly_the_public_names():
    names = {}
    exec("from mmnas_hf import *", names)
    assert names.keys() - {"__builtins__"} == set(mmnas_hf.__all__)


def test_another_name_raises():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        mmnas_hf.Nothing  # noqa: B018 - the lookup is the test


@pytest.mark.parametrize("registry", [TASKS, OPERATIONS, PRIORS, DATASETS])
def test_no_registry_is_empty(registry):
    assert registry


@pytest.mark.parametrize("task", TASKS)
def test_a_tasks_name_is_its_key(task):
    assert TASKS[task].name == task


@pytest.mark.parametrize("task", TASKS)
def test_every_tasks_network_is_public(task):
    assert getattr(mmnas_hf, TASKS[task].model_class.__name__) is TASKS[task].model_class
