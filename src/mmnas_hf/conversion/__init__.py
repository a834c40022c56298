"""Networks of the original MMnas and of openvqa as this package's, and back."""

from .networks import Converted, from_original, genotype_of, probabilities_of, to_original
from .openvqa import Architecture, read_architecture
from .storage import new_folder, read_besides, read_tensors, save_converted, save_original
from .vocabulary import label_answers, read_entries, words_processor

__all__ = [
    "Architecture",
    "Converted",
    "from_original",
    "genotype_of",
    "label_answers",
    "new_folder",
    "probabilities_of",
    "read_architecture",
    "read_besides",
    "read_entries",
    "read_tensors",
    "save_converted",
    "save_original",
    "to_original",
    "words_processor",
]
