"""An embedded data set: pictures of simple objects with questions, referring expressions and captions."""

from .build import DEFAULT_SIZES, load_scenes
from .descriptors import FEATURE_SIZE

__all__ = ["DEFAULT_SIZES", "FEATURE_SIZE", "load_scenes"]
