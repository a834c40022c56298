"""MMnas in transformers' Auto classes and pipelines, and Auto classes for the two tasks that have none there.

The functions named in the package's hooks run right after the module that each is about was imported.
"""

from collections import OrderedDict
from importlib import import_module
from types import ModuleType
from typing import Any

#: Networks by the classes of transformers that load them. For grounding and matching it has none of that name; these
#: two are the nearest, for their networks too look for what a text means in an image, or tell how well texts fit one.
#: A pipeline that is loaded as remote code can name no others.
AUTO_MODELS = {
    "AutoModel": "MMnasModel",
    "AutoModelForVisualQuestionAnswering": "MMnasForVisualQuestionAnswering",
    "AutoModelForZeroShotObjectDetection": "MMnasForVisualGrounding",
    "AutoModelForZeroShotImageClassification": "MMnasForImageTextMatching",
}


def register_configuration(module: ModuleType) -> None:
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415 - not before transformers' own import is through

    module.AutoConfig.register(MMnasConfig.model_type, MMnasConfig, exist_ok=True)


def register_modeling(module: ModuleType) -> None:
    from . import modeling_mmnas as modeling  # noqa: PLC0415
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415

    for auto_class, network in AUTO_MODELS.items():
        getattr(module, auto_class).register(MMnasConfig, getattr(modeling, network), exist_ok=True)


def register_processing(module: ModuleType) -> None:
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415
    from .processing_mmnas import MMnasProcessor  # noqa: PLC0415

    module.AutoProcessor.register(MMnasConfig, MMnasProcessor, exist_ok=True)


def load_pipelines(module: ModuleType) -> None:
    """Have `register_pipelines` run; whichever of the two modules is imported first, it runs after both."""
    import_module(".pipeline_mmnas", __package__)


def register_pipelines(module: ModuleType) -> None:
    from transformers.models.auto import modeling_auto  # noqa: PLC0415
    from transformers.pipelines import PIPELINE_REGISTRY  # noqa: PLC0415

    auto_classes = {network: getattr(modeling_auto, name) for name, network in AUTO_MODELS.items()}
    for name, kind in module.PIPELINES.items():
        PIPELINE_REGISTRY.register_pipeline(name, kind, pt_model=auto_classes[kind.network])


def make_auto_class(name: str, task: str, model_class: str) -> type:
    """An Auto class of its own for one kind of head."""
    from transformers.models.auto.auto_factory import _BaseAutoModelClass, _LazyAutoMapping  # noqa: PLC0415
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES  # noqa: PLC0415

    from . import modeling_mmnas as modeling  # noqa: PLC0415
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415

    mapping = _LazyAutoMapping(CONFIG_MAPPING_NAMES, OrderedDict())
    auto_class = type(name, (_BaseAutoModelClass,), {"_model_mapping": mapping, "__doc__": f"A model for {task}."})
    auto_class.register(MMnasConfig, getattr(modeling, model_class))
    return auto_class


_AUTO_CLASSES = {
    "AutoModelForVisualGrounding": ("visual grounding", "MMnasForVisualGrounding"),
    "AutoModelForImageTextMatching": ("image-text matching", "MMnasForImageTextMatching"),
}


def __getattr__(name: str) -> Any:
    if name not in _AUTO_CLASSES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = make_auto_class(name, *_AUTO_CLASSES[name])
    return globals()[name]
