"""Networks, batches and data sets so small that a test can train on them."""

import random
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.corpus import Corpus
from mmnas_hf.data import IMAGE_FEATURES, ImageTextData, image_row
from mmnas_hf.data.folder import save_folder
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype, SearchSpace
from mmnas_hf.operations import OPERATIONS
from mmnas_hf.search.arguments import SearchArguments
from mmnas_hf.search.strategies import build_strategy
from mmnas_hf.search.trainer import SearchTrainer
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import build_model, planned_steps

COLOURS = ("red", "green", "blue", "black")
FEATURE_SIZE = 8
IMAGES = {"train": 40, "validation": 10, "test": 10}
TEXTS_AN_IMAGE = 2
WIDTH, HEIGHT = 200, 100
SIZES = {"word_size": 8, "hidden_size": 64, "relation_size": 16, "pooler_size": 16}
SPACE = SearchSpace.chain(1, 2)


def _fits(**sides: tuple[str, ...]) -> bool:
    try:
        Genotype(**sides)
    except InputError:
        return False
    return True


DECODER_OPERATIONS = [name for name in OPERATIONS if _fits(encoder=(), decoder=(name,))]
ENCODER_OPERATIONS = [
    name
    for name, cls in OPERATIONS.items()
    if cls.geometry is None and _fits(encoder=(name,), decoder=("feed_forward",))
]


def every_operation() -> SearchSpace:
    """A space with all that may be searched: one text node and two region nodes."""
    return SearchSpace((tuple(ENCODER_OPERATIONS),), (tuple(DECODER_OPERATIONS),) * 2)


def tiny_config(**changes) -> MMnasConfig:
    settings = {"vocab_size": 20, "region_size": FEATURE_SIZE, "dropout": 0.0, "num_labels": 5, **SIZES}
    return MMnasConfig(**settings | changes)


def random_boxes(generator: torch.Generator, *shape: int) -> Tensor:
    """Boxes [*shape, 4] of whole pixels inside the picture."""
    corner = torch.rand(*shape, 2, generator=generator) * torch.tensor([WIDTH / 2, HEIGHT / 2])
    size = 5 + torch.rand(*shape, 2, generator=generator) * torch.tensor([WIDTH / 2 - 6, HEIGHT / 2 - 6])
    return torch.cat((corner, corner + size), -1).round()


def random_batch(config: MMnasConfig, seed: int = 0) -> dict[str, Tensor]:
    """Three texts of 5, 3 and 1 words about images of 6, 4 and 1 regions."""
    generator = torch.Generator().manual_seed(seed)
    words, regions = torch.tensor([5, 3, 1]), torch.tensor([6, 4, 1])
    mask, region_mask = torch.arange(5) < words[:, None], torch.arange(6) < regions[:, None]
    ids = torch.randint(3, config.vocab_size, (3, 5), generator=generator)
    return {
        "input_ids": ids * mask,
        "attention_mask": mask.long(),
        "region_features": torch.randn(3, 6, config.region_size, generator=generator) * region_mask[..., None],
        "region_boxes": random_boxes(generator, 3, 6) * region_mask[..., None],
        "region_mask": region_mask,
        "image_sizes": torch.tensor([[HEIGHT, WIDTH]] * 3),
    }


def tiny_data(task: str, images: dict[str, int] = IMAGES, seed: int = 0) -> ImageTextData:
    """Pictures of coloured things: a region's feature is its colour, and every text is about colours."""
    generator, pictures, texts = random.Random(seed), [], {}
    for split, count in images.items():
        rows = []
        for number in range(count):
            colours = generator.choices(COLOURS, k=generator.randint(2, 5))
            boxes = [_box(generator) for _ in colours]
            image_id = f"{split}-{number}"
            pictures.append(image_row(image_id, WIDTH, HEIGHT, np.array(boxes), _features(colours)))
            rows += [{"image_id": image_id, **_text(task, index, colours, boxes)} for index in range(TEXTS_AN_IMAGE)]
        texts[split] = Dataset.from_list(rows)
    return ImageTextData(Dataset.from_list(pictures, features=IMAGE_FEATURES), texts)


def _box(generator: random.Random) -> list[float]:
    x, y = generator.randint(0, WIDTH // 2), generator.randint(0, HEIGHT // 2)
    return [x, y, x + generator.randint(9, WIDTH // 2 - 1), y + generator.randint(9, HEIGHT // 2 - 1)]


def _features(colours: list[str]) -> np.ndarray:
    return np.array([[colour == known for known in COLOURS] + [1, 0, 0, 0] for colour in colours], dtype=float)


def _text(task: str, index: int, colours: list[str], boxes: list[list[float]]) -> dict:
    colour = COLOURS[index]
    answer = "yes" if colour in colours else "no"
    return {
        "vqa": {
            "question": f"Is something {colour}?",
            "answers": [answer] * 8 + ["maybe"] * 2,
            "multiple_choice_answer": answer,
            "answer_type": "yes/no",
        },
        "vgd": {"expression": f"the {colours[index]} one", "box": boxes[index]},
        "itm": {"caption": f"{' and '.join(sorted(colours))}, {index}"},
    }[task]


def tiny_corpus(task: str, **changes) -> Corpus:
    return Corpus(TASKS[task], tiny_data(task, **changes))


def save_tiny(folder: Path, task: str, **changes) -> Path:
    save_folder(tiny_data(task, **changes), folder, task)
    return folder


def search_arguments(folder: Path | str, **changes) -> SearchArguments:
    settings = {
        "max_steps": 8,
        "per_device_train_batch_size": 8,
        "learning_rate": 1e-3,
        "weight_steps": 1,
        "warm_up": 0.0,
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return SearchArguments(output_dir=str(folder), **settings | changes)


def search_trainer(corpus: Corpus, args: SearchArguments, space: SearchSpace = SPACE, dropout: float = 0.1):
    """A search over a tiny supernet of the corpus' task, made anew but always with the same weights."""
    config = MMnasConfig(**corpus.settings(), **SIZES, dropout=dropout, search_space=space)
    split = corpus.search_split(args.seed)
    strategy = build_strategy(space, args, planned_steps(args, len(split.weights)))
    model, scored = build_model(corpus, config, args.seed), corpus.rows("validation")
    return SearchTrainer(model, args, strategy, corpus, split.weights, split.architecture, scored)
