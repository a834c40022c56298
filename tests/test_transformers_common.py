"""transformers' own tests of every model, where `TRANSFORMERS_TESTS` names the folder `tests` of its source archive.

pip download --no-binary :all: --no-deps transformers==VERSION && tar xf transformers-*.tar.gz
pip install parameterized
TRANSFORMERS_TESTS=transformers-VERSION/tests pytest tests/test_transformers_common.py -o addopts= -W default -rs
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from unittest import TestCase

import pytest

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.modeling_mmnas import MMnasModel
from mmnas_hf.tasks import TASKS
from test_modeling import labels_of
from tiny import random_batch, tiny_config

VARIABLE = "TRANSFORMERS_TESTS"
if VARIABLE not in os.environ:
    pytest.skip(
        f"transformers' own tests of every model: set {VARIABLE} as the head of this file says", allow_module_level=True
    )

PACKAGE = "transformers_tests"
# Mixins in folders that the archive leaves out; they are about exporting and about generating text.
LEFT_OUT = {"exporters.test_export": "ExportTesterMixin", "generation.test_utils": "GenerationTesterMixin"}
# What needs each node's states or attention; these networks return what comes after the last, and their heads' weights.
ABOUT_EVERY_LAYER = (
    "test_attention_outputs",
    "test_hidden_states_output",
    "test_retain_grad_hidden_states_attentions",
    "test_model_outputs_equivalence",
    "test_eager_matches_sdpa_inference",
)
TASK_OF = {task.model_class: name for name, task in TASKS.items()}


def import_common_tests(folder: Path) -> ModuleType:
    """transformers' `test_modeling_common`, imported as part of a package of its own, where our backbone is known."""
    package = ModuleType(PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[PACKAGE] = package
    for name, mixin in LEFT_OUT.items():
        module = ModuleType(f"{PACKAGE}.{name}")
        setattr(module, mixin, type(mixin, (), {}))
        sys.modules[module.__name__] = module
    tests = import_module(f"{PACKAGE}.test_modeling_common")
    tests.MODEL_MAPPING_NAMES = {**tests.MODEL_MAPPING_NAMES, MMnasConfig.model_type: MMnasModel.__name__}
    return tests


class Tester:
    """What the common tests ask of a model."""

    batch_size, seq_length, num_hidden_layers, is_training = 3, 5, 2, True

    def get_config(self):
        return tiny_config(genotype="SF|SRGFD")

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        return config, random_batch(config)


class TestCommon(import_common_tests(Path(os.environ[VARIABLE])).ModelTesterMixin, TestCase):
    """Every network of this package in the tests of transformers."""

    all_model_classes = (MMnasModel, *TASK_OF)

    def setUp(self):
        if self._testMethodName.startswith(ABOUT_EVERY_LAYER):
            self.skipTest("these networks do not return every node's states or attention")
        self.model_tester = Tester()

    def _prepare_for_class(self, inputs_dict, model_class, return_labels=False):
        inputs = super()._prepare_for_class(inputs_dict, model_class)
        if return_labels and model_class in TASK_OF:
            inputs["labels"] = labels_of(TASK_OF[model_class], inputs)
        return inputs
