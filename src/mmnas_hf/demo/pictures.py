"""Pictures that come to the page: what a visitor uploads, and the drawing of a network."""

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ..configuration_mmnas import MMnasConfig
from ..drawing import draw_genotype
from ..errors import InputError
from ..genotype import Genotype
from ..regions_mmnas import UNREADABLE, open_picture

MOST_PIXELS = 40_000_000  # of an upload; decoded they take 160 MB
LONGEST_SIDE = 320  # twice that of `scenes`, in which regions are looked for; more would only be sent to and fro
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_upload(path: str | Path) -> Image.Image:
    """An uploaded picture in RGB, upright, and made smaller if it is large.

    Raises `InputError` for what is no picture, is damaged, or has so many pixels that it may be an attack; sizes are
    read from the file's head, before anything is decoded.
    """
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            upright = open_picture(picture)
    except Image.DecompressionBombError:
        most = f"{MOST_PIXELS // 1_000_000} million"
        raise InputError(f"this picture has too many pixels; give one of at most {most}") from None
    except UNREADABLE:
        raise InputError(f"this file cannot be read as a picture; give one of {', '.join(FORMATS)}") from None
    upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    return upright


def genotype_of(config: MMnasConfig) -> Genotype:
    """The architecture of a network that is no supernet."""
    return config.space.genotype([operation for (operation,) in config.space.nodes])


def picture_genotype(genotype: Genotype, title: str) -> Image.Image:
    """The drawing of an architecture."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "genotype.png")
        draw_genotype(genotype.encoder, genotype.decoder, path, title)
        with Image.open(path) as picture:
            return picture.convert("RGB")
