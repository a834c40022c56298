"""Networks of the original MMnas and of openvqa as this package's, and back."""

from .networks import Foreign, from_original, genotype_of, probabilities_of, to_original
from .openvqa import Architecture, read_architecture
from .storage import load, new_folder, read_tensors, save, save_original
from .vocabulary import label_answers, read_entries, words_processor

__all__ = [
    "Architecture",
    "Foreign",
    "from_original",
    "genotype_of",
    "label_answers",
    "load",
    "new_folder",
    "probabilities_of",
    "read_architecture",
    "read_entries",
    "read_tensors",
    "save",
    "save_original",
    "to_original",
    "words_processor",
]
