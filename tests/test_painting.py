"""Results are painted onto their images: bright where attended to, boxes in colour, text that can be read."""

import numpy as np
import pytest
from PIL import Image, ImageColor, ImageFont

from mmnas_hf import InputError, draw
from mmnas_hf.painting_mmnas import BOX_COLOURS, DIMMED, SMALLEST, WORD_COLOUR, wrap

WIDTH, HEIGHT = 600, 500  # large enough not to be enlarged
SKY = (80, 160, 240)
ANSWER = {"answer": "yes", "score": 0.9}


@pytest.fixture
def picture():
    return Image.new("RGB", (WIDTH, HEIGHT), SKY)


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def paper(drawn, height=HEIGHT):
    """Which pixels under the picture have ink or colour, [rows, columns]."""
    return (pixels(drawn)[height:] < 200).any(-1)


def attending(*weights):
    boxes = ([100, 100, 200, 200], [150, 150, 300, 300], [400, 300, 500, 400])
    return [{"box": box, "weight": weight} for box, weight in zip(boxes, weights, strict=True)]


def close(pixel, colour, tolerance=3):
    return np.abs(np.array(pixel) - np.array(colour)).max() <= tolerance


# Attention


def test_the_most_attended_region_keeps_its_colours_and_the_rest_is_dimmed(picture):
    drawn = pixels(draw(picture, {**ANSWER, "regions": attending(0.8, 0.2, 0.0)}))
    dark, half = np.array(SKY) * DIMMED, np.array(SKY) * (DIMMED + (1 - DIMMED) / 4)
    assert close(drawn[120, 120], SKY)
    assert close(drawn[180, 180], SKY)  # where two overlap, the larger weight counts
    assert close(drawn[250, 250], half)
    assert close(drawn[350, 450], dark)
    assert close(drawn[50, 50], dark)


def test_without_attention_the_picture_keeps_its_colours(picture):
    assert np.array_equal(pixels(draw(picture, ANSWER))[:HEIGHT], pixels(picture))


def test_words_are_coloured_by_their_weights(picture):
    words = [{"word": "word", "weight": weight} for weight in (0.0, 0.2, 0.4)]
    plain, drawn = (pixels(draw(picture, {**ANSWER, **more}))[HEIGHT:] for more in ({}, {"words": words}))
    assert len(drawn) > len(plain)
    full = np.array(ImageColor.getrgb(WORD_COLOUR))
    shades = {tuple(colour) for colour in drawn.reshape(-1, 3)}
    assert tuple(full) in shades
    assert any(close(shade, (full + 255) / 2, 1) for shade in shades)
    assert not any(tuple(full) == tuple(colour) for colour in plain.reshape(-1, 3))


def test_weights_that_are_all_zero_leave_everything_dim(picture):
    drawn = pixels(draw(picture, {**ANSWER, "regions": attending(0, 0, 0), "words": [{"word": "red", "weight": 0}]}))
    assert close(drawn[120, 120], np.array(SKY) * DIMMED)


# Boxes


def test_boxes_are_outlined_in_colours_that_their_scores_repeat(picture):
    boxes = [[20, 20, 120, 120], [200, 200, 400, 300], [450, 50, 550, 450]]
    drawn = pixels(draw(picture, [{"box": box, "score": 0.5} for box in boxes]))
    below = {tuple(colour) for colour in drawn[HEIGHT:].reshape(-1, 3)}
    for (left, top, right, bottom), colour in zip(boxes, BOX_COLOURS, strict=False):
        rgb = ImageColor.getrgb(colour)
        assert close(drawn[top, (left + right) // 2], rgb)
        assert close(drawn[bottom, (left + right) // 2], rgb)
        assert close(drawn[(top + bottom) // 2, left], rgb)
        assert close(drawn[(top + bottom) // 2, right], rgb)
        assert close(drawn[(top + bottom) // 2, (left + right) // 2], SKY)
        assert rgb in below


def test_the_best_box_lies_above_the_others(picture):
    boxes = [[100, 100, 200, 200], [100, 100, 300, 300]]
    drawn = pixels(draw(picture, [{"box": box, "score": 0.5} for box in boxes]))
    assert close(drawn[100, 150], ImageColor.getrgb(BOX_COLOURS[0]))


def test_any_number_of_boxes_is_drawn(picture):
    draw(picture, [{"box": [n, n, n + 50, n + 50], "score": 0.1} for n in range(20)])


def test_boxes_at_the_edge_and_without_size_are_drawn(picture):
    draw(picture, [{"box": [0, 0, WIDTH, HEIGHT], "score": 1.0}, {"box": [5, 5, 5, 5], "score": 0.0}])


# Text


def test_every_record_has_a_row_of_its_own(picture):
    heights = [draw(picture, [ANSWER] * count).height for count in (1, 2, 3)]
    assert heights[2] - heights[1] == pytest.approx(heights[1] - heights[0], abs=1)
    ink = paper(draw(picture, [ANSWER] * 3)).any(1)
    starts = np.flatnonzero(np.diff(ink.astype(int)) == 1)
    assert len(starts) == 3  # rows of ink with blank rows between them


@pytest.mark.parametrize(
    "text",
    [
        "a striped red circle nearest to a yellow cross and two dotted blue squares and a purple triangle " * 2,
        "W" * 200,
        "WWW MMM " * 20,
        "",
        "42",
        "\u4e2d\u6587 \u00e9\u00fc\u0142",
    ],
)
def test_text_of_any_length_stays_inside_the_margins(text, picture):
    words = [{"word": word, "weight": 0.1} for word in text.split()]
    for drawn in (draw(picture, {"caption": text, "score": 0.123}), draw(picture, {**ANSWER, "words": words[:50]})):
        ink = paper(drawn)
        assert ink.any()
        assert not ink[:, :8].any()
        assert not ink[:, -8:].any()
        assert not ink[:3].any()
        assert not ink[-3:].any()


def test_wrapped_lines_fit_and_keep_every_word():
    font, text = ImageFont.load_default(20), "a striped red circle nearest to a yellow cross and MMMMMMM WWWWWWW"
    lines = wrap(text, font, 150)
    assert " ".join(lines) == text
    assert all(font.getlength(line) <= 150 for line in lines)


def test_a_word_wider_than_a_line_is_broken():
    font = ImageFont.load_default(20)
    lines = wrap("W" * 50, font, 150)
    assert "".join(lines) == "W" * 50
    assert all(font.getlength(line) <= 150 for line in lines)


# Pictures


def test_small_pictures_are_enlarged_with_their_boxes():
    drawn = pixels(draw(Image.new("RGB", (60, 50), SKY), {"box": [10, 10, 40, 40], "score": 0.5}))
    assert drawn.shape[1] == SMALLEST
    assert close(drawn[10 * 8, 25 * 8], ImageColor.getrgb(BOX_COLOURS[0]))
    assert close(drawn[25 * 8, 40 * 8], ImageColor.getrgb(BOX_COLOURS[0]))
    assert close(drawn[25 * 8, 25 * 8], SKY)


def test_text_grows_with_the_picture():
    small, large = (draw(Image.new("RGB", (side, side)), ANSWER).height - side for side in (480, 1920))
    assert large == pytest.approx(4 * small, rel=0.02)


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (10, 480)])
def test_pictures_of_any_shape_are_drawn(size):
    drawn = draw(Image.new("RGB", size), {**ANSWER, "box": [0, 0, 1, 1]})
    assert drawn.width >= SMALLEST
    assert drawn.height > max(1, size[1])


def test_a_picture_may_be_a_file_and_of_any_mode(tmp_path, picture):
    picture.convert("P").save(tmp_path / "picture.png")
    expected = pixels(draw(picture.convert("P"), ANSWER))
    assert np.array_equal(pixels(draw(tmp_path / "picture.png", ANSWER)), expected)
    assert np.array_equal(pixels(draw(str(tmp_path / "picture.png"), ANSWER)), expected)


def test_the_picture_itself_stays_as_it_was(picture):
    before = pixels(picture)
    draw(picture, {**ANSWER, "box": [10, 10, 50, 50], "regions": attending(1, 0, 0)})
    assert np.array_equal(pixels(picture), before)


# Wrong input


@pytest.mark.parametrize("result", [[], [[ANSWER], [ANSWER]], ["yes"]])
def test_what_is_no_result_for_one_input_raises(result, picture):
    with pytest.raises(InputError, match="nothing to draw; give the records that a pipeline returned for one input"):
        draw(picture, result)


def test_a_picture_that_cannot_be_read_raises(tmp_path):
    with pytest.raises(InputError, match=r"missing.png cannot be read"):
        draw(tmp_path / "missing.png", ANSWER)
