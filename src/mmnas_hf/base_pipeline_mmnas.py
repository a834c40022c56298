"""What the pipelines of all tasks share: how inputs are read, and how attention is shown."""

from collections.abc import Iterable, Mapping, Sized
from pathlib import Path
from types import GeneratorType
from typing import Any, ClassVar

from torch import Tensor
from torch.utils.data import Dataset, Subset
from transformers import Pipeline
from transformers.dynamic_module_utils import custom_object_save

from .errors import InputError
from .modeling_mmnas import MMnasPreTrainedModel
from .painting_mmnas import draw
from .processing_mmnas import MMnasProcessor
from .regions_mmnas import IMAGE_KEYS, Detection, Detector, GivenImage, read_regions

TOP_K = 5

Record = dict[str, Any]


class MMnasPipeline(Pipeline):
    """Reads texts and regions for one kind of network, and writes its outputs as records.

    `detector` finds the regions of pictures; it is not saved. An input is a mapping of the text, under `text_key`, and
    of an image, as `read_regions` takes it: `regions`, `image`, or `features` with `boxes` and `image_size`. These may
    also be given by name; then inputs are texts about that one image, which is read once. `return_attention` adds
    `words` and `regions` with the weights that the network's head gives them.
    """

    task_name: ClassVar[str]
    text_key: ClassVar[str]
    network: ClassVar[str]  # by name, for code from the Hub may be imported twice

    draw = staticmethod(draw)

    _load_processor = True
    _load_tokenizer = _load_image_processor = _load_video_processor = _load_feature_extractor = False

    def __init__(
        self,
        model: MMnasPreTrainedModel,
        processor: MMnasProcessor | None = None,
        detector: Detector | None = None,
        **settings: Any,
    ):
        settings.pop("local_files_only", None)  # which `transformers.pipeline` reads, and passes on
        check_network(self, model)
        if processor is None:
            raise InputError(f"{self.task_name} needs processor=, the MMnasProcessor that was saved beside the model")
        self.detector = detector
        super().__init__(model.eval(), processor=processor, **settings)

    def __call__(self, inputs: Any, **settings: Any) -> Any:
        """Records of one input, a list of those of a list, or an iterator over those of a data set or generator."""
        inputs = as_transformers_takes_them(inputs)
        return [] if isinstance(inputs, list) and not inputs else super().__call__(inputs, **settings)

    def _sanitize_parameters(
        self, top_k: int | None = None, return_attention: bool | None = None, **image: Any
    ) -> tuple[dict, dict, dict]:
        if unknown := [name for name in image if name not in IMAGE_KEYS]:
            known = "top_k, return_attention, batch_size, num_workers, detector (at the start)"
            raise InputError(f"unknown argument {unknown[0]!r}; known: {known}, {', '.join(IMAGE_KEYS)}")
        shared = {"shared": self.read_image(image)} if image else {}
        attention = {} if return_attention is None else {"return_attention": return_attention}
        return shared, attention, {} if top_k is None else {"top_k": check_count("top_k", top_k)}

    def preprocess(self, given: Any, shared: Detection | None = None) -> dict[str, Tensor]:
        if shared is not None:
            given = {**(given if isinstance(given, Mapping) else {self.text_key: given}), "regions": shared}
        text = self.read_text(given)
        try:
            regions = self.read_image(given)
        except InputError as error:
            raise InputError(f"{self.text_key} {text!r}: {error}") from None
        return {**self.read_words([text]), **self.process([regions])}

    def read_text(self, given: Any) -> Any:
        if isinstance(given, str):
            raise InputError(f"{given!r} comes without an image; give image= or regions=, or a mapping of both")
        if not isinstance(given, Mapping) or self.text_key not in given:
            keys = ", ".join(given) if isinstance(given, Mapping) else type(given).__name__
            raise InputError(f"no {self.text_key!r} in an input of {keys or 'nothing'}; give it as a mapping's key")
        return given[self.text_key]

    def read_image(self, given: GivenImage) -> Detection:
        regions, size = read_regions(given, self.detector), self.model.config.region_size
        if regions.features.shape[1] != size:
            raise InputError(
                f"region features of width {regions.features.shape[1]}, where this network reads {size}; "
                "give features of the detector that it was trained with"
            )
        return regions

    def read_words(self, texts: list[str]) -> dict[str, Tensor]:
        for text in texts:
            if not isinstance(text, str):
                raise InputError(f"a {type(text).__name__} is no {self.text_key}; give a text")
        words = self.processor.process_texts(texts)
        for text, mask in zip(texts, words["attention_mask"], strict=True):
            if not mask.any():
                raise InputError(f"{self.text_key} {text!r} has no words")
        return words

    def process(self, images: list[Detection]) -> dict[str, Tensor]:
        return self.processor.process_regions(*map(list, zip(*images, strict=True)))

    def _forward(self, inputs: dict[str, Tensor], return_attention: bool = False) -> dict[str, Tensor]:
        output = self.model(**inputs, output_attentions=return_attention)
        return {**output, **{name: value for name, value in inputs.items() if name != "region_features"}}

    def postprocess(self, outputs: dict[str, Tensor], top_k: int = TOP_K) -> list[Record]:
        one = {name: value[0] for name, value in outputs.items()}
        attention = self.attention(one) if "word_weights" in one else {}
        return [{**record, **attention} for record in self.records(one, top_k)]

    def records(self, outputs: dict[str, Tensor], top_k: int) -> list[Record]:
        """What the outputs for one input mean, best first."""
        raise NotImplementedError

    def attention(self, outputs: dict[str, Tensor]) -> Record:
        """The weights of words and regions; a word that the network does not know is called UNK."""
        mask, region_mask = outputs["attention_mask"].bool(), outputs["region_mask"]
        words = self.processor.tokenizer.convert_ids_to_tokens(outputs["input_ids"][mask])
        boxes = outputs["region_boxes"][region_mask].tolist()
        weights, region_weights = outputs["word_weights"][mask], outputs["region_weights"][region_mask]
        return {
            "words": [{"word": word, "weight": weight} for word, weight in zip(words, weights.tolist(), strict=True)],
            "regions": [
                {"box": box, "weight": weight} for box, weight in zip(boxes, region_weights.tolist(), strict=True)
            ],
        }

    def save_pretrained(self, save_directory: str | Path, **settings: Any) -> None:
        """Save the model and its processor, and the code of all, unless that is the package's."""
        self.model.save_pretrained(save_directory, **settings)
        self.processor.save_pretrained(save_directory, **settings)
        if self.model._auto_class:  # the code came from a folder
            custom_object_save(self, save_directory)


def check_network(kind: MMnasPipeline, model: MMnasPreTrainedModel) -> None:
    """Raise `InputError` unless a pipeline can run a network."""
    tasks = {other.network: other.task_name for other in MMnasPipeline.__subclasses__()}
    # Weights that were saved with another head load as well, and this head's are then random.
    for name in (type(model).__name__, *(model.config.architectures or ())):
        if name != kind.network:
            fix = f"; use {tasks[name]}" if name in tasks else ""
            raise InputError(f"{kind.task_name} runs networks of class {kind.network}, and this is a {name}{fix}")
    if model.config.space.size > 1:
        raise InputError("this is a supernet; give one network of it, model.derive(genotype)")


def as_transformers_takes_them(inputs: Any) -> Any:
    """One input, a list, a torch data set, or a generator of them."""
    if isinstance(inputs, str | Mapping | list | Dataset | GeneratorType) or not isinstance(inputs, Iterable):
        return inputs
    if isinstance(inputs, tuple):
        return list(inputs)
    if isinstance(inputs, Sized):  # a `datasets.Dataset`
        return Subset(inputs, range(len(inputs)))
    return (given for given in inputs)


def check_count(name: str, value: Any) -> int:
    if not isinstance(value, int) or value < 1:
        raise InputError(f"{name} {value!r} is no number of things; give 1 or more")
    return value
