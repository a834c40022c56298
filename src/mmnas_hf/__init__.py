"""Multimodal neural architecture search as a member of the Hugging Face ecosystem.

Importing this package loads neither torch nor transformers: names load on first use, and transformers' Auto classes and
pipelines learn about MMnas when they are themselves imported.
"""

from importlib import import_module
from typing import Any

import wrapt

_MODULES = {
    "AutoModelForImageTextMatching": "auto",
    "AutoModelForVisualGrounding": "auto",
    "Detection": "regions_mmnas",
    "Genotype": "genotype",
    "InputError": "errors",
    "MMnasConfig": "configuration_mmnas",
    "MMnasForImageTextMatching": "modeling_mmnas",
    "MMnasForVisualGrounding": "modeling_mmnas",
    "MMnasForVisualQuestionAnswering": "modeling_mmnas",
    "MMnasModel": "modeling_mmnas",
    "MMnasProcessor": "processing_mmnas",
    "ProxylessStrategy": "search.proxyless",
    "RegionStore": "data",
    "ScenesDetector": "detection",
    "SearchArguments": "search.arguments",
    "SearchSpace": "genotype",
    "SearchTrainer": "search.trainer",
    "TransformersDetector": "detection",
    "draw": "painting_mmnas",
    "load_scenes": "data",
    "packed": "packing",
}

__version__ = "0.1.0"
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _import_after(other: str, part: str) -> None:
    wrapt.register_post_import_hook(lambda _: import_module(f"{__name__}.{part}_mmnas"), other)


# A part is imported with the module of transformers that is to know it, and registered when both are through: whichever
# of the two is asked for first imports the other before it ends.
_import_after("transformers.models.auto.configuration_auto", "configuration")
_import_after("transformers.models.auto.modeling_auto", "modeling")
_import_after("transformers.models.auto.processing_auto", "processing")
_import_after("transformers.pipelines", "base_pipeline")
_import_after(f"{__name__}.base_pipeline_mmnas", "pipeline")
for _part in ("configuration", "modeling", "processing", "pipeline"):
    wrapt.register_post_import_hook(f"{__name__}.auto:register_{_part}", f"{__name__}.{_part}_mmnas")
