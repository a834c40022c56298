"""MMnas in transformers' Auto classes and pipelines, and Auto classes for the two tasks that have none there.

A `register_*` function runs when both its own module of this package and that of transformers are imported.
"""

from collections import OrderedDict
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


def register_configuration(configuration: ModuleType) -> None:
    from transformers import AutoConfig  # noqa: PLC0415 - importing the package must not import transformers

    AutoConfig.register(configuration.MMnasConfig.model_type, configuration.MMnasConfig, exist_ok=True)


def register_modeling(modeling: ModuleType) -> None:
    from transformers.models.auto import modeling_auto  # noqa: PLC0415

    for auto_class, network in AUTO_MODELS.items():
        getattr(modeling_auto, auto_class).register(modeling.MMnasConfig, getattr(modeling, network), exist_ok=True)


def register_processing(processing: ModuleType) -> None:
    from transformers import AutoProcessor  # noqa: PLC0415

    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415

    AutoProcessor.register(MMnasConfig, processing.MMnasProcessor, exist_ok=True)


def register_pipeline(pipeline: ModuleType) -> None:
    from transformers.models.auto import modeling_auto  # noqa: PLC0415
    from transformers.pipelines import PIPELINE_REGISTRY  # noqa: PLC0415

    auto_classes = {network: getattr(modeling_auto, name) for name, network in AUTO_MODELS.items()}
    for name, kind in pipeline.PIPELINES.items():
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
