"""How fast a network answers, and how fast images that are already projected are ranked for a caption."""

import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from ..configuration_mmnas import MMnasConfig
from ..modeling_mmnas import MMnasForImageTextMatching, MMnasForVisualQuestionAnswering
from ..pipeline_mmnas import ImageTextMatchingPipeline
from ..processing_mmnas import MMnasProcessor, build_tokenizer
from ..regions_mmnas import Detection
from . import synthetic
from .synthetic import ANSWERS, REGIONS, WORDS, SyntheticRegions
from .timing import interleaved

QUESTIONS, QUESTION_WORDS, MOST_REGIONS, THREADS = 64, 14, 100, (1, 2)
HIDDEN_SIZE, GENOTYPE, ANSWERING_ROUNDS = 512, "mmnas-vqa", 5
GALLERY_IMAGES, RANKING_ROUNDS = 1000, 3
CAPTION = "word1 word2 word3 word4 word5 word6 word7 word8 word9 word10"
LARGEST_DIFFERENCE = 1e-4


class Setting(NamedTuple):
    """A network that ranks."""

    genotype: str
    hidden_size: int


SETTINGS = (Setting("SS|GGRGFR", 64), Setting("mmnas-itm", 512))


def measure_inference() -> Sequence[dict[str, Any]]:
    """Questions a second of the published network: as it runs by default, and written out over 100 padded regions."""
    processor = make_processor()
    model = make_model(MMnasForVisualQuestionAnswering, processor, GENOTYPE, HIDDEN_SIZE, num_labels=ANSWERS)
    generator = np.random.default_rng(0)
    texts = [
        " ".join(f"word{word}" for word in generator.integers(WORDS, size=QUESTION_WORDS)) for _ in range(QUESTIONS)
    ]
    batch = processor(texts, *map(list, zip(*made_up_images(QUESTIONS), strict=True)))
    return [compare(model, batch, threads) for threads in THREADS]


@torch.inference_mode()
def compare(model: MMnasForVisualQuestionAnswering, batch: dict[str, Tensor], threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    written_out, padded = deepcopy(model), pad_to_most(batch)
    written_out.set_attn_implementation("eager")
    difference = (model(**batch).logits - written_out(**padded).logits).abs().max().item()
    if difference > LARGEST_DIFFERENCE:
        raise AssertionError(f"logits differ by {difference}; both forms must compute the same")

    def default() -> None:
        model(**batch)

    def eager() -> None:
        written_out(**padded)

    seconds = interleaved(default, eager, rounds=ANSWERING_ROUNDS)
    questions = len(batch["input_ids"])
    return {
        "measurement": f"answering {questions} questions, {GENOTYPE}, hidden {HIDDEN_SIZE}, {threads} threads",
        f"{model.config._attn_implementation}, {batch['region_mask'].shape[1]} regions, a second": round(
            questions / seconds["default"], 1
        ),
        f"eager, padded to {MOST_REGIONS}, a second": round(questions / seconds["eager"], 1),
        "times faster": round(seconds["eager"] / seconds["default"], 2),
        "largest difference": f"{difference:.1e}",
    }


def pad_to_most(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same batch with as many regions as an image may have, as the original program pads."""
    missing = MOST_REGIONS - batch["region_mask"].shape[1]
    mask = F.pad(batch["region_mask"], (0, missing))
    padded = {name: F.pad(batch[name], (0, 0, 0, missing)) for name in ("region_features", "region_boxes")}
    return {**batch, **padded, "region_mask": mask}


def measure_gallery() -> Sequence[dict[str, Any]]:
    """Processor seconds on one thread to rank images for a caption: projected before, and for every caption anew."""
    torch.set_num_threads(1)
    images = made_up_images(GALLERY_IMAGES)
    return [rank_images(images, setting) for setting in SETTINGS]


def rank_images(images: Sequence[Detection], setting: Setting) -> dict[str, Any]:
    processor = make_processor()
    model = make_model(MMnasForImageTextMatching, processor, *setting)
    pipe = ImageTextMatchingPipeline(model, processor, device="cpu")
    gallery, projections = pipe.encode_images(images), []

    def cached() -> None:
        hook = model.mmnas.regions.register_forward_hook(lambda *_: projections.append(1))
        pipe.rank(CAPTION, gallery)
        hook.remove()

    def anew() -> None:
        pipe.rank(CAPTION, pipe.encode_images(images))

    seconds = interleaved(cached, anew, rounds=RANKING_ROUNDS, clock=time.process_time)
    held = sum(part.nbytes for batch in gallery.batches for part in batch)
    return {
        "measurement": f"ranking {len(images)} images, {setting.genotype}, hidden {setting.hidden_size}",
        "from a gallery, s": round(seconds["cached"], 3),
        "projected anew, s": round(seconds["anew"], 3),
        "times faster": round(seconds["anew"] / seconds["cached"], 2),
        "images projected again": len(projections),
        "gallery, MB": round(held / 1e6),
    }


def make_processor() -> MMnasProcessor:
    return MMnasProcessor(build_tokenizer(f"word{number}" for number in range(WORDS)))


def make_model(
    kind: type[PreTrainedModel], processor: MMnasProcessor, genotype: str, hidden_size: int, **settings: Any
) -> PreTrainedModel:
    sizes = {"vocab_size": len(processor.tokenizer), "region_size": synthetic.FEATURE_SIZE, "hidden_size": hidden_size}
    torch.manual_seed(0)
    return kind(MMnasConfig(**sizes, genotype=genotype, **settings)).eval()


def made_up_images(images: int) -> list[Detection]:
    """Images with 36 regions each."""
    source = SyntheticRegions(images, REGIONS)
    found = (image for part in source.parts(None) for image in source.read(part))
    return [Detection(image.features, image.boxes, (image.height, image.width)) for image in found]
