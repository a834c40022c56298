"""A gallery collects architectures from anywhere into a table and a picture, and goes to a Hub as a data set."""

import json

import numpy as np
import pytest
from datasets import Dataset, disable_progress_bars, enable_progress_bars
from matplotlib.colors import to_rgb
from PIL import Image

import runs
from hub_server import LocalHub, known_hub, python
from mmnas_hf import Genotype, InputError
from mmnas_hf.drawing import DOTS_PER_INCH, operation_styles
from mmnas_hf.genotype import PUBLISHED
from mmnas_hf.sharing.picture import CELL, HEADER, PITCH, ROW, GalleryRow, draw_gallery, place_columns
from scripts import call, refusal
from tiny import save_tiny

SHARED = Genotype.parse("SF|SGRF")
LOAD = """
import json
from datasets import load_dataset
table = load_dataset("me/gallery", split="train")
print(json.dumps([table.column_names, table[:]]))
"""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    disable_progress_bars()
    yield tmp_path_factory.mktemp("gallery")
    enable_progress_bars()


@pytest.fixture(scope="module")
def hub(workplace):
    """A Hub with one architecture."""
    with LocalHub() as server, known_hub(server.endpoint, workplace / "home"):
        SHARED.push_to_hub("me/shared", task="vgd", metrics={"accuracy": 0.9, "accuracy/none": 0.8}, search={"seed": 7})
        yield server


@pytest.fixture(scope="module")
def sources(hub, workplace):
    """A search, a trained network, a folder of an architecture without scores, and a repository."""
    data = save_tiny(workplace / "data", "vqa")
    assert runs.search(data, workplace / "search").code == 0
    assert runs.train(data, workplace / "train").code == 0
    PUBLISHED["mmnas-itm"].save_pretrained(workplace / "unscored", task="itm")
    return [workplace / "search", workplace / "train", workplace / "unscored", "me/shared"]


@pytest.fixture(scope="module")
def gallery(sources, workplace):
    """What the script ended with; its table and picture are in `workplace / "made"`, and on the Hub."""
    ended = call("gallery.py", *sources, "--output_dir", workplace / "made", "--push_to_hub me/gallery")
    assert ended.code == 0, ended.err
    return ended


@pytest.fixture(scope="module")
def table(gallery, workplace):
    return Dataset.from_parquet(str(workplace / "made" / "gallery.parquet"), cache_dir=str(workplace / "cache"))


# The table


def test_every_source_is_a_row_in_its_place(table):
    assert table["name"][:] == ["search", "train", "unscored", "me/shared"]
    assert table["task"][:] == ["vqa", "vqa", "itm", "vgd"]


def test_a_row_has_the_operation_of_every_node(table, workplace):
    found = Genotype.load(workplace / "search" / "genotype.json")
    for row, genotype in zip(table, [found, Genotype.parse("S|RG"), PUBLISHED["mmnas-itm"], SHARED], strict=True):
        assert Genotype(tuple(row["encoder"]), tuple(row["decoder"])) == genotype
        assert row["genotype"] == str(genotype)


def test_a_row_has_the_headline_and_all_metrics(table, workplace):
    networks = json.loads((workplace / "search" / "results.json").read_text())["networks"]
    found = networks[0]["metrics"]
    assert (table[0]["metric"], table[0]["score"]) == ("accuracy", found["accuracy"])
    assert {entry["name"]: entry["value"] for entry in table[0]["metrics"]} == found
    assert (table[3]["metric"], table[3]["score"]) == ("accuracy", 0.9)


def test_a_row_without_scores_has_none(table):
    assert (table[2]["metric"], table[2]["score"], table[2]["metrics"]) == (None, None, [])


def test_a_row_tells_how_an_architecture_was_found(table):
    assert json.loads(table[0]["search"])["budget"]["steps"] == 2
    assert json.loads(table[3]["search"])["seed"] == 7


def test_the_script_shows_the_table(gallery):
    lines = [line.split() for line in gallery.out.splitlines()]
    assert ["me/shared", "vgd", "SF|SGRF", "accuracy", "0.900"] in lines


def test_another_metric_may_be_compared(gallery, hub):
    ended = call("gallery.py", "me/shared", "--metric accuracy/none")
    assert "0.800" in ended.out


# On the Hub


def test_datasets_loads_a_gallery_in_a_fresh_process(gallery, table, hub, workplace):
    ended = python(hub.endpoint, workplace / "elsewhere", "-c", LOAD)
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert json.loads(ended.stdout.splitlines()[-1]) == [table.column_names, table[:]]


def test_a_gallery_is_private_and_has_table_picture_and_card(gallery, hub):
    repository = hub.repositories["datasets", "me/gallery"]
    assert repository.private
    assert repository.files.keys() - {".gitattributes"} == {"gallery.parquet", "gallery.png", "README.md"}
    assert b"gallery.png" in repository.files["README.md"]


def test_no_file_of_a_gallery_knows_a_local_path(gallery, hub, workplace):
    files = hub.repositories["datasets", "me/gallery"].files
    assert not [name for name, content in files.items() if str(workplace).encode() in content]


# The picture


def pixel(picture, top, left, number, row):
    """The colour a little inside the top left corner of a node's cell."""
    x = left + PITCH * number + 0.15 * CELL
    y = top + ROW * (row + 0.5)
    return np.asarray(picture)[round(y * DOTS_PER_INCH), round(x * DOTS_PER_INCH), :3] / 255


def test_every_node_has_the_colour_of_its_operation(tmp_path):
    genotypes = [PUBLISHED["mmnas-vqa"], SHARED, Genotype.parse("|DI")]
    rows = [GalleryRow(str(genotype), genotype.encoder, genotype.decoder, 0.5) for genotype in genotypes]
    draw_gallery(rows, tmp_path / "gallery.png")
    picture, columns = Image.open(tmp_path / "gallery.png"), place_columns(rows)
    for place, row in enumerate(rows):
        styles = operation_styles([*row.encoder, *row.decoder])
        for left, operations in ((columns.text, row.encoder), (columns.regions, row.decoder)):
            for number, operation in enumerate(operations):
                colour = pixel(picture, HEADER, left, number, place)
                np.testing.assert_allclose(colour, to_rgb(styles[operation].colour), atol=0.02)


def test_beyond_an_architectures_depth_the_picture_is_white(tmp_path):
    rows = [GalleryRow(str(genotype), genotype.encoder, genotype.decoder) for genotype in (PUBLISHED["mcan"], SHARED)]
    draw_gallery(rows, tmp_path / "gallery.png")
    picture, columns = Image.open(tmp_path / "gallery.png"), place_columns(rows)
    for left, first, last in ((columns.text, 2, 12), (columns.regions, 4, 18)):
        for number in range(first, last):
            np.testing.assert_array_equal(pixel(picture, HEADER, left, number, 1), 1)


def test_an_empty_gallery_is_refused(tmp_path):
    with pytest.raises(InputError, match="no architecture to draw"):
        draw_gallery([], tmp_path / "gallery.png")


def test_a_name_with_dollar_signs_is_drawn_as_it_is(tmp_path):
    draw_gallery([GalleryRow("a$b$_$", SHARED.encoder, SHARED.decoder)], tmp_path / "gallery.png")
    assert (tmp_path / "gallery.png").exists()


# What goes wrong


def test_a_file_where_the_gallery_should_go_is_one_line(hub, tmp_path):
    (tmp_path / "made").write_text("mine")
    ended = call("gallery.py", "me/shared", "--output_dir", tmp_path / "made")
    assert "cannot be written" in refusal(ended.code, ended.err, "gallery.py")
    assert (tmp_path / "made").read_text() == "mine"


def test_a_gallery_that_the_hub_refuses_is_one_line(hub, monkeypatch):
    monkeypatch.setattr(hub, "read_only", True)
    ended = call("gallery.py", "me/shared", "--push_to_hub me/refused")
    assert "no right" in refusal(ended.code, ended.err, "gallery.py")


def test_an_unknown_name_is_one_line(hub):
    assert "'me/nothing' is no folder" in refusal(*call("gallery.py", "me/nothing")[::2], "gallery.py")


def test_an_unknown_metric_is_one_line(hub):
    line = refusal(*call("gallery.py", "me/shared", "--metric recall")[::2], "gallery.py")
    assert "me/shared has no metric 'recall'; it has: accuracy, accuracy/none" in line


def test_a_folder_that_holds_nothing_is_one_line(tmp_path):
    assert "holds no network" in refusal(*call("gallery.py", tmp_path)[::2], "gallery.py")
