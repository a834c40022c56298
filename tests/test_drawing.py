"""Drawings are written as pictures in which the operations can be told apart."""

import os
import subprocess
import sys

import pytest
from PIL import Image, ImageColor

from mmnas_hf.drawing import KNOWN_OPERATIONS, OTHER_COLOURS, draw_genotype, draw_probabilities, operation_styles

NAMES = {"S": "self_att_64", "R": "rel_self_att_64", "G": "guided_att_64", "F": "feed_forward"}
SMALL = ("SF", "SGFSGF")
PUBLISHED = ("SSSSFFFFSFFF", "GGFFGFRGFGRFRSFRGF")  # mmnas-vqa
ENOUGH_PIXELS = 300  # of one colour, to be more than an edge


def operations(letters):
    return [NAMES[letter] for letter in letters]


def history(encoder_nodes, decoder_nodes, entries):
    """A search that comes to prefer the first operation at every node."""
    steps = range(0, 100 * entries, 100)
    lead = [0.5 * step / (100 * entries) for step in steps]
    return [
        {
            "step": step,
            "encoder": [{"self_att_64": 0.5 + ahead, "feed_forward": 0.5 - ahead}] * encoder_nodes,
            "decoder": [{"guided_att_64": 0.5 + ahead, "rel_self_att_64": 0.5 - ahead}] * decoder_nodes,
        }
        for step, ahead in zip(steps, lead, strict=True)
    ]


def colour_counts(path):
    """Number of pixels of each RGB colour."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = image.convert("RGB")
        return {colour: count for count, colour in pixels.getcolors(maxcolors=pixels.width * pixels.height)}


def pixels_of(path, operation):
    colour = operation_styles([operation])[operation].colour
    return colour_counts(path).get(ImageColor.getrgb(colour), 0)


def size_of(path):
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def path(tmp_path):
    return tmp_path / "drawing.png"


@pytest.mark.parametrize(("encoder", "decoder"), [SMALL, PUBLISHED, ("", "F"), ("SFSFSFSF", "G")])
def test_genotype_is_drawn_with_the_colour_of_every_operation(path, encoder, decoder):
    draw_genotype(operations(encoder), operations(decoder), path, title="a title")
    assert all(pixels_of(path, NAMES[letter]) > ENOUGH_PIXELS for letter in encoder + decoder)


def test_genotype_without_an_operation_lacks_its_colour(path):
    draw_genotype(operations("SF"), operations("SFF"), path)
    assert pixels_of(path, "guided_att_64") == 0


def test_more_nodes_take_more_of_their_colour(path, tmp_path):
    draw_genotype([], operations("FR"), path)
    draw_genotype([], operations("FRRRRR"), tmp_path / "more.png")
    grown = pixels_of(tmp_path / "more.png", "rel_self_att_64") / pixels_of(path, "rel_self_att_64")
    assert 3 < grown < 5


@pytest.mark.parametrize(("genotype", "width"), [(SMALL, 1000), (PUBLISHED, 2200)])
def test_genotype_is_as_wide_as_its_nodes_need(path, genotype, width):
    draw_genotype(*map(operations, genotype), path)
    assert size_of(path) == (pytest.approx(width, rel=0.1), pytest.approx(480, rel=0.2))


def test_a_title_takes_room(path, tmp_path):
    draw_genotype(*map(operations, SMALL), path)
    draw_genotype(*map(operations, SMALL), tmp_path / "titled.png", title="mmnas-vqa")
    assert size_of(tmp_path / "titled.png")[1] > size_of(path)[1]


def test_known_operations_have_different_letters_and_colours():
    styles = operation_styles(KNOWN_OPERATIONS).values()
    assert [style.letter for style in styles] == list("SRGFID")
    assert len({style.colour for style in styles} | set(OTHER_COLOURS)) == len(KNOWN_OPERATIONS) + len(OTHER_COLOURS)


def test_unknown_operations_get_their_first_letter_and_spare_colours(path):
    styles = operation_styles(["mixing", "feed_forward", "convolution"])
    assert [style.letter for style in styles.values()] == ["F", "C", "M"]
    assert styles["mixing"].colour != styles["convolution"].colour
    draw_genotype(["mixing"], ["convolution", "feed_forward"], path)
    assert colour_counts(path)[ImageColor.getrgb(styles["mixing"].colour)] > ENOUGH_PIXELS


@pytest.mark.parametrize(("nodes", "size"), [((2, 6), (1140, 810)), ((12, 18), (1710, 1400))])
@pytest.mark.parametrize("entries", [1, 2, 30])
def test_probabilities_are_drawn_in_the_operations_colours(path, nodes, size, entries):
    draw_probabilities(history(*nodes, entries), path)
    assert size_of(path) == pytest.approx(size, rel=0.1)
    assert all(pixels_of(path, operation) > ENOUGH_PIXELS for operation in NAMES.values())


def test_a_preferred_operation_fills_more_of_its_panels(path):
    draw_probabilities(history(2, 6, 30), path)
    assert pixels_of(path, "guided_att_64") > 2 * pixels_of(path, "rel_self_att_64")


def test_operation_that_comes_late_is_drawn(path):
    late = history(1, 1, 2)
    late[1]["decoder"] = [{"guided_att_64": 0.2, "identity": 0.8}]
    draw_probabilities(late, path)
    assert pixels_of(path, "identity") > ENOUGH_PIXELS


def test_suffix_gives_the_format(tmp_path):
    draw_genotype(*map(operations, SMALL), tmp_path / "drawing.svg")
    assert "<svg" in (tmp_path / "drawing.svg").read_text()


def test_empty_history_says_what_is_missing(path):
    with pytest.raises(ValueError, match="at least one entry"):
        draw_probabilities([], path)


def test_importing_the_drawings_does_not_import_matplotlib():
    code = "import sys, mmnas_hf.drawing; raise SystemExit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)
