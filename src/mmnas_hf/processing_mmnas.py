"""Processor: words to ids, regions to padded arrays."""

from collections.abc import Iterable, Sequence

import numpy as np
from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import BatchEncoding, BatchFeature, PreTrainedTokenizerFast, ProcessorMixin

from .errors import InputError

PAD, UNK, CLS = "PAD", "UNK", "CLS"
MAX_WORDS = 14  # of a question or a referring expression


def normalizer() -> normalizers.Normalizer:
    """Lower-case; punctuation is deleted, hyphens and slashes separate words."""
    return normalizers.Sequence(
        [
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"[.,'!?\"()*#:;]"), ""),
            normalizers.Replace("-", " "),
            normalizers.Replace("/", " "),
        ]
    )


def find_words(texts: Iterable[str]) -> list[str]:
    """The texts' words by first appearance."""
    clean, split = normalizer(), pre_tokenizers.WhitespaceSplit()
    return list(dict.fromkeys(word for text in texts for word, _ in split.pre_tokenize_str(clean.normalize_str(text))))


def build_tokenizer(words: Iterable[str], max_words: int = MAX_WORDS) -> PreTrainedTokenizerFast:
    """A word-level tokenizer: PAD 0, UNK 1, CLS 2, then these words."""
    vocabulary = {word: index for index, word in enumerate(dict.fromkeys((PAD, UNK, CLS, *words)))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNK))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer(), pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        cls_token=CLS,
        model_max_length=max_words,
        padding_side="right",
        model_input_names=["input_ids", "attention_mask"],
    )


class MMnasProcessor(ProcessorMixin):
    """Turns texts and images' regions into a model's inputs, padded to the longest in the batch."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, **kwargs):
        super().__init__(tokenizer, **kwargs)

    def __call__(
        self,
        text: str | Sequence[str],
        region_features: Sequence[np.ndarray],
        region_boxes: Sequence[np.ndarray] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Process a batch.

        `region_features` has an array [regions, size] and `region_boxes` an array [regions, 4] (pixels, xyxy) an image;
        `image_sizes` a pair (height, width). Raises `InputError` where these do not fit each other.
        """
        texts = [text] if isinstance(text, str) else list(text)
        if len(texts) != len(region_features):
            raise InputError(f"{len(texts)} texts but regions of {len(region_features)} images; give one image a text")
        return BatchFeature(
            {
                **self.process_texts(texts, None),
                **self.process_regions(region_features, region_boxes, image_sizes, None),
            },
            tensor_type=return_tensors,
        )

    def process_texts(self, texts: Sequence[str], return_tensors: str | None = "pt") -> BatchEncoding:
        """Process texts without images."""
        return self.pad_words(self.find_ids(texts), return_tensors)

    def find_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of texts' words, as many as are read."""
        return self.tokenizer(list(texts), truncation=True, return_attention_mask=False)["input_ids"]

    def pad_words(self, ids: Sequence[list[int]], return_tensors: str | None = "pt") -> BatchEncoding:
        """Ids of several texts and their mask, [texts, longest]."""
        return self.tokenizer.pad({"input_ids": ids}, return_tensors=return_tensors)

    def process_regions(
        self,
        region_features: Sequence[np.ndarray],
        region_boxes: Sequence[np.ndarray] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """Process images without texts; arguments as in `__call__`."""
        data = pad_regions(region_features, region_boxes)
        if image_sizes is not None:
            data["image_sizes"] = np.asarray(image_sizes, dtype=np.int64)
        return BatchFeature(data, tensor_type=return_tensors)

    @property
    def model_input_names(self) -> list[str]:
        return [*self.tokenizer.model_input_names, "region_features", "region_boxes", "region_mask", "image_sizes"]


def pad_regions(features: Sequence[np.ndarray], boxes: Sequence[np.ndarray] | None) -> dict[str, np.ndarray]:
    """Arrays [batch, longest, ...] with zeros behind each image's regions, and the mask of what is valid."""
    counts = [len(rows) for rows in features]
    widths = {rows.shape[-1] for rows in features}
    if len(widths) > 1:
        raise InputError(f"region features of one batch have widths {sorted(widths)}; all must be equal")
    if boxes is not None and [len(rows) for rows in boxes] != counts:
        raise InputError(f"images have {counts} features but {[len(rows) for rows in boxes]} boxes")
    longest = max(counts)
    # Half precision stays what it is until the model, on its device, needs more: half the bytes to copy and to send.
    precision = np.float16 if all(rows.dtype == np.float16 for rows in features) else np.float32
    padded = np.zeros((len(counts), longest, widths.pop()), dtype=precision)
    padded_boxes = np.zeros((len(counts), longest, 4), dtype=np.float32)
    for row, count in enumerate(counts):
        padded[row, :count] = features[row]
        if boxes is not None:
            padded_boxes[row, :count] = boxes[row]
    mask = np.arange(longest) < np.array(counts)[:, None]
    data = {"region_features": padded, "region_mask": mask}
    return data if boxes is None else {**data, "region_boxes": padded_boxes}
