"""The published data sets, by name: which files each needs, and how their texts are read."""

from .captions import COCO_CAPTIONS, FLICKR30K
from .publication import Expected, Publication, find_files
from .refcoco import REFCOCO, REFCOCO_PLUS, REFCOCOG
from .vqa_v2 import VQA_V2

PUBLICATIONS: dict[str, Publication] = {
    publication.name: publication for publication in (VQA_V2, REFCOCO, REFCOCO_PLUS, REFCOCOG, FLICKR30K, COCO_CAPTIONS)
}

__all__ = ["PUBLICATIONS", "Expected", "Publication", "find_files"]
