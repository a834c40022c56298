"""MMnas in transformers' Auto classes, and Auto classes for the two tasks that transformers has none for.

The `register_*` functions run right after the transformers module that each is about was imported.
"""

from collections import OrderedDict
from types import ModuleType
from typing import Any


def register_configuration(module: ModuleType) -> None:
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415 - not before transformers' own import is through

    module.AutoConfig.register(MMnasConfig.model_type, MMnasConfig, exist_ok=True)


def register_modeling(module: ModuleType) -> None:
    from . import modeling_mmnas as modeling  # noqa: PLC0415
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415

    module.AutoModel.register(MMnasConfig, modeling.MMnasModel, exist_ok=True)
    module.AutoModelForVisualQuestionAnswering.register(
        MMnasConfig, modeling.MMnasForVisualQuestionAnswering, exist_ok=True
    )


def register_processing(module: ModuleType) -> None:
    from .configuration_mmnas import MMnasConfig  # noqa: PLC0415
    from .processing_mmnas import MMnasProcessor  # noqa: PLC0415

    module.AutoProcessor.register(MMnasConfig, MMnasProcessor, exist_ok=True)


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
