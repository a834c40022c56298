"""Published data sets become table folders that datasets and every script load; wrong input is one line."""

import errno
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from datasets import load_dataset
from huggingface_hub import DatasetCard

from mmnas_hf.data import RegionStore, find_source
from mmnas_hf.data.folder import load_folder
from mmnas_hf.data.published import PUBLICATIONS, find_files
from mmnas_hf.metrics import normalise_answer
from published_files import IMAGES, PICTURES, WRITERS, annotation, question, write_downloads, write_json, write_vqa_v2
from region_files import make_image, write_lmdb, write_npz, write_ranges, write_tsv
from scripts import Ended, build_flags, call, refusal, start
from tiny import save_tiny

# Each publication with another form of features.
FEATURES = {
    "vqa-v2": lambda folder: write_tsv(folder / "trainval.tsv", PICTURES),
    "refcoco": lambda folder: write_npz(folder / "train2014", PICTURES),
    "flickr30k": lambda folder: write_ranges(folder / "flickr30k.h5", PICTURES),
    "coco-captions": lambda folder: write_lmdb(folder / "coco.lmdb", PICTURES),
}
TEXTS = {
    "vqa-v2": {"train": 60, "val": 20, "testdev": 10},
    "refcoco": {"train": 60, "val": 20, "testA": 10},
    "flickr30k": {"train": 150, "val": 50, "test": 25},
    "coco-captions": {"train": 150, "val": 50, "test": 25},
}
ROLES = {
    "vqa-v2": {"train": "train", "validation": "val", "test": "val", "labels": "train+val"},
    "refcoco": {"train": "train", "validation": "val", "test": "testA"},
    "flickr30k": {"train": "train", "validation": "val", "test": "test"},
    "coco-captions": {"train": "train", "validation": "val", "test": "test"},
}
every_publication = pytest.mark.parametrize("publication", WRITERS)


class Build(NamedTuple):
    """A folder that the script wrote, what it was made of, and what the script wrote on the screen."""

    folder: Path
    downloads: Path
    ended: Ended


@pytest.fixture(scope="session")
def builds(tmp_path_factory):
    """Every publication's folder, each built once."""
    made = {}
    for publication, write in FEATURES.items():
        place = tmp_path_factory.mktemp(publication)
        downloads, regions = write_downloads(publication, place / "downloads"), write(place)
        flags = build_flags(publication, downloads, regions, place / "tables")
        made[publication] = Build(place / "tables", downloads, call("build_dataset.py", *flags, "--boxes pixel"))
    return made


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of data sets."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def texts_in(downloads, publication):
    """A publication's texts, read from its files without the script."""
    return PUBLICATIONS[publication].read(find_files(PUBLICATIONS[publication], downloads))


def words_in(texts):
    """The words of some texts, cut as the original does."""
    kept = re.sub(r"[.,'!?\"()*#:;]", "", " ".join(texts).lower())
    return set(re.sub("[-/]", " ", kept).split())


SPECIAL_WORDS = 3  # for filling, for unknown words, and for the whole text

# Of a still smaller VQA v2, which test_hub.py uploads.


def write_features(folder, image_ids):
    return write_npz(folder, [make_image(number, 3) for number in image_ids])


def write_questions(folder):
    images = {"train": range(20), "val": range(100, 120), "test": range(200, 204)}
    write_vqa_v2(folder, images, questions_an_image=1)
    return folder


# What is built


@every_publication
def test_a_build_says_what_it_made(publication, builds):
    folder, downloads, ended = builds[publication]
    assert (ended.code, ended.err) == (0, "")
    task = find_source(str(folder)).task
    column = {"vqa": "question", "vgd": "expression", "itm": "caption"}[task]
    tables = texts_in(downloads, publication)
    words = words_in(text for rows in tables.values() for text in rows[column])
    assert ended.out.splitlines() == [
        "45 images, 45 converted now, 0 before",
        "3 to 5 regions an image, mean 4.0; width 8",
        ", ".join(f"{count} texts in {split}" for split, count in TEXTS[publication].items()),
        f"{len(words) + SPECIAL_WORDS} words",
        *(["6 answers, which cover 100.0% of 80 questions"] if task == "vqa" else []),
        f"see {folder}",
    ]


@every_publication
def test_a_folders_texts_are_those_of_the_files(publication, builds):
    folder, downloads, _ = builds[publication]
    loaded = load_folder(folder, PUBLICATIONS[publication].task).texts
    expected = texts_in(downloads, publication)
    assert {split: len(rows) for split, rows in loaded.items()} == TEXTS[publication]
    assert {split: rows.to_list() for split, rows in loaded.items()} == {
        split: rows.to_list() for split, rows in expected.items()
    }


@every_publication
def test_a_folders_regions_are_those_of_the_features(publication, builds):
    store = RegionStore(load_folder(builds[publication].folder, PUBLICATIONS[publication].task).images)
    assert sorted(store.ids) == sorted(picture.image_id for picture in PICTURES)
    for picture in PICTURES:
        regions = store[[picture.image_id]]
        np.testing.assert_array_equal(regions.features[0], picture.features.astype(np.float16))
        np.testing.assert_array_equal(regions.boxes[0], picture.boxes)
        assert regions.image_sizes.tolist() == [[picture.height, picture.width]]


@pytest.mark.parametrize("streaming", [False, True])
@every_publication
def test_datasets_loads_a_folders_texts(publication, streaming, builds, cache):
    folder, task = builds[publication].folder, PUBLICATIONS[publication].task
    loaded = load_dataset(str(folder), task, streaming=streaming)
    expected = load_folder(folder, task).texts
    assert {split: list(rows) for split, rows in loaded.items()} == {
        split: rows.to_list() for split, rows in expected.items()
    }


@pytest.mark.parametrize("streaming", [False, True])
@every_publication
def test_datasets_loads_a_folders_images(publication, streaming, builds, cache):
    folder = builds[publication].folder
    loaded = load_dataset(str(folder), "images", split="train", streaming=streaming)
    assert list(loaded) == load_folder(folder, PUBLICATIONS[publication].task).images.to_list()


@every_publication
def test_a_folder_says_what_its_splits_are_for(publication, builds):
    settings = json.loads((builds[publication].folder / "dataset.json").read_text())
    task = PUBLICATIONS[publication].task
    assert settings == {"publication": publication, "task": task, "splits": ROLES[publication]}


@every_publication
def test_a_cards_header_names_every_table_and_no_other(publication, builds):
    folder, task = builds[publication].folder, PUBLICATIONS[publication].task
    texts, images = DatasetCard.load(folder / "README.md").data.configs
    assert (texts["config_name"], texts["default"], images["config_name"]) == (task, True, "images")
    assert [entry["split"] for entry in texts["data_files"]] == list(TEXTS[publication])
    named = {path for entry in texts["data_files"] for path in folder.glob(entry["path"])}
    assert named | set(folder.glob(images["data_files"])) == set(folder.rglob("*.arrow"))


@every_publication
def test_a_cards_counts_are_those_of_the_tables(publication, builds):
    card, task = DatasetCard.load(builds[publication].folder / "README.md"), PUBLICATIONS[publication].task
    counts = {name: int(count) for name, count in re.findall(r"^\| (.+) \| ([\d,]+) \|$", card.text, re.MULTILINE)}
    assert counts == {"images": 45, **{f"{task}, {split}": count for split, count in TEXTS[publication].items()}}
    assert "An image has 3 to 5 regions (mean 4.0), each with a box and 8 numbers." in card.text


@pytest.mark.parametrize("named", [True, False], ids=["named", "here"])
def test_a_cards_example_loads_the_folder(named, place, cache, monkeypatch):
    place.folder.mkdir()
    monkeypatch.chdir(place.folder)
    place._replace(folder=place.folder if named else Path()).build()
    monkeypatch.chdir(place.folder.parent)
    (example,) = re.findall(r"```python\n(.*?)```", DatasetCard.load(place.folder / "README.md").text, re.DOTALL)
    names = {}
    exec(example, names)
    assert (len(list(names["texts"])), len(names["images"])) == (60, 45)


def test_a_folder_holds_nothing_else(builds):
    folder = builds["vqa-v2"].folder
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    tables = {f"vqa/{split}.arrow" for split in TEXTS["vqa-v2"]}
    assert names == {"README.md", "dataset.json", "images/trainval.tsv-00000.arrow"} | tables


def test_processes_of_their_own_build_the_same(place, builds):
    flags = build_flags("vqa-v2", place.downloads, place.regions, place.folder)
    ended = start("build_dataset.py", *flags, "--num_proc 2")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines()[:-1] == builds["vqa-v2"].ended.out.splitlines()[:-1]
    assert len(shards(place)) == 2


# Building again


class Place(NamedTuple):
    """Where a small VQA v2 lies and is built."""

    downloads: Path
    regions: Path
    folder: Path

    def build(self, *more):
        return call("build_dataset.py", *build_flags("vqa-v2", self.downloads, self.regions, self.folder), *more)

    def state(self):
        """What tells whether the folder was written."""
        return {path: path.stat().st_mtime_ns for path in self.folder.rglob("*") if path.is_file()}

    def texts(self):
        return {split: len(rows) for split, rows in load_folder(self.folder, "vqa").texts.items()}


def pictures_of(*splits):
    numbers = {number for split in splits for number in IMAGES[split]}
    return [picture for picture in PICTURES if int(picture.image_id) in numbers]


@pytest.fixture
def place(tmp_path):
    """The files of VQA v2, and its features in two folders."""
    write_npz(tmp_path / "features" / "trainval2014", pictures_of("train", "val"))
    write_npz(tmp_path / "features" / "test2015", pictures_of("test"))
    return Place(write_downloads("vqa-v2", tmp_path / "downloads"), tmp_path / "features", tmp_path / "tables")


def shards(place):
    return {path: time for path, time in place.state().items() if path.parent.name == "images"}


def test_building_again_converts_nothing(place):
    place.build()
    before = shards(place)
    assert "45 images, 0 converted now, 45 before" in place.build().out
    assert shards(place) == before


def test_features_that_changed_are_converted_anew(place):
    place.build()
    change_a_picture(place)
    assert "45 images, 5 converted now, 40 before" in place.build().out
    store = RegionStore(load_folder(place.folder, "vqa").images)
    picture = pictures_of("test")[0]
    expected = (picture.features + 1).astype(np.float16)
    np.testing.assert_array_equal(store[[picture.image_id]].features[0], expected)


def change_a_question(place):
    path = place.downloads / "v2_OpenEnded_mscoco_test-dev2015_questions.json"
    first, *others = json.loads(path.read_text())["questions"]
    write_json(path, {"questions": [first | {"question": "Quite another one?"}, *others]})


def change_a_picture(place):
    picture = pictures_of("test")[0]
    write_npz(place.regions / "test2015", [picture._replace(features=picture.features + 1)])


@pytest.mark.parametrize(
    ("change", "name", "split", "column"),
    [(change_a_question, "vqa", "testdev", "question"), (change_a_picture, "images", "train", "features")],
)
def test_datasets_takes_no_copy_of_what_was_built_before(change, name, split, column, place, cache):
    place.build()
    before = load_dataset(str(place.folder), name, split=split)[column]
    change(place)
    place.build()
    after = load_dataset(str(place.folder), name, split=split)[column]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1


def test_a_limit_keeps_the_first_texts_and_their_images(place):
    ended = place.build("--limit 7")
    assert "12 images, 12 converted now, 0 before" in ended.out
    assert place.texts() == {"train": 7, "val": 7, "testdev": 7}
    numbers = [number for numbers in IMAGES.values() for number in list(numbers)[:4]]
    assert sorted(map(int, load_folder(place.folder, "vqa").images["image_id"])) == numbers


def test_a_build_without_the_limit_completes_one_with_it(place):
    place.build("--limit 7")
    assert place.build().code == 0
    assert place.texts() == TEXTS["vqa-v2"]


def test_a_trial_too_small_for_answers_is_built(place):
    ended = place.build("--limit 7")
    assert (ended.code, ended.err) == (0, "")
    assert "0 answers, which cover 0.0% of 14 questions" in ended.out


def test_splits_that_are_gone_are_removed(place):
    place.build()
    for path in place.downloads.glob("*val2014*"):
        path.unlink()
    assert place.build().code == 0
    assert place.texts() == {"train": 60, "testdev": 10}
    settings = json.loads((place.folder / "dataset.json").read_text())
    assert settings["splits"] == {"train": "train", "labels": "train"}


def test_words_with_vectors_are_counted(place, tmp_path):
    words = ("the", "thing", "small", "maybe")
    (tmp_path / "vectors.txt").write_text("".join(f"{word} 0.5 -1 2\n" for word in words))
    ended = place.build("--word_size 3 --word_vectors", tmp_path / "vectors.txt")
    assert "3 of 14 words have a vector (21.4%)" in ended.out


# What stops a build


def refused(ended):
    return refusal(ended.code, ended.err, "build_dataset.py")


def test_missing_images_are_told_after_all_others_are_converted(place):
    away = shutil.move(place.regions / "test2015", place.regions.parent / "away")
    assert refused(place.build()).endswith(f"5 of 45 wanted images are not in {place.regions}: 201, 202, 203, 204, 205")
    assert len(shards(place)) == 1
    shutil.move(away, place.regions / "test2015")
    ended = place.build()
    assert ended.code == 0
    assert "45 images, 5 converted now, 40 before" in ended.out


def test_missing_images_may_be_in_another_place(place, tmp_path):
    more = shutil.move(place.regions / "test2015", tmp_path / "more")
    refused(place.build())
    ended = place.build("--regions", place.regions, more)
    assert "45 images, 5 converted now, 40 before" in ended.out


def room_for(tables):
    """A disk that is full after so many tables."""
    left = iter(range(tables))

    def new_stream(file, schema):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return pa.ipc.RecordBatchStreamWriter(file, schema)

    return new_stream


@pytest.mark.parametrize(("room", "file", "before"), [(1, "images/features-trainval2014", 5), (2, "", 45), (4, "", 45)])
def test_a_full_disk_is_one_line_and_the_next_build_goes_on(room, file, before, place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(pa.ipc, "new_stream", room_for(room))
        line = refused(place.build())
    assert str(place.folder / file) in line
    assert "cannot be written: [Errno 28] No space left on device" in line
    assert "make room and run the same again" in line
    assert not list(place.folder.rglob("*.tmp"))
    ended = place.build()
    assert ended.code == 0
    assert f"45 images, {45 - before} converted now, {before} before" in ended.out


@every_publication
def test_missing_files_are_named_with_their_addresses(publication, tmp_path):
    (tmp_path / "empty").mkdir()
    flags = build_flags(publication, tmp_path / "empty", tmp_path / "empty", tmp_path / "tables")
    line = refused(call("build_dataset.py", *flags))
    for file in PUBLICATIONS[publication].files:
        assert f"{file.name} ({file.url})" in line or not file.needed
    assert not (tmp_path / "tables").exists()


def repeat_question(downloads):
    path = downloads / "v2_OpenEnded_mscoco_val2014_questions.json"
    write_json(path, {"questions": [question(number) for number in (202, 203, 202)]})


def leave_out_question(downloads):
    path = downloads / "v2_OpenEnded_mscoco_val2014_questions.json"
    write_json(path, {"questions": [question(number) for number in range(203, 222)]})


def leave_out_answers(downloads):
    path = downloads / "v2_mscoco_val2014_annotations.json"
    write_json(path, {"annotations": [annotation(number) for number in range(203, 222)]})


def cut_file(downloads):
    path = downloads / "v2_mscoco_val2014_annotations.json"
    path.write_text(path.read_text()[:-9])


WRONG_TEXTS = [
    (repeat_question, "val2014_questions.json has question_id 9798 2 times"),
    (leave_out_question, "val2014_questions.json lacks question_id 9798"),
    (leave_out_answers, "val2014_annotations.json lacks question_id 9798"),
    (cut_file, "val2014_annotations.json is no readable JSON"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_TEXTS)
def test_wrong_texts_are_one_line_and_nothing_is_written(change, message, place):
    change(place.downloads)
    assert message in refused(place.build())
    assert not place.folder.exists()


def test_a_hostile_pickle_is_one_line_and_not_run(tmp_path):
    downloads = write_downloads("refcoco", tmp_path / "downloads")
    (downloads / "refcoco" / "refs(unc).p").write_bytes(f"cos\nmkdir\n(V{tmp_path / 'made'}\ntR.".encode())
    flags = build_flags("refcoco", downloads, write_npz(tmp_path / "train2014", PICTURES), tmp_path / "tables")
    assert "refs(unc).p is refused: it asks for os.mkdir" in refused(call("build_dataset.py", *flags))
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "tables").exists()


WRONG_FLAGS = [
    ("--publication vqa-v3", "unknown publication 'vqa-v3'; known: vqa-v2, refcoco"),
    ("--downloads nowhere", "no folder nowhere"),
    ("--regions nowhere.tsv", "no file or folder nowhere.tsv"),
    ("--form tsv --regions tables", "no file or folder tables"),
    ("--form csv", "unknown form 'csv'; known: tsv"),
    ("--boxes inches", "unknown boxes 'inches'; known: pixel, normalised"),
    ("--limit 0", "limit 0 leaves no text; give at least 1"),
    ("--num_proc 0", "num_proc 0 does nothing; give at least 1"),
    ("--limit some", "invalid int value: 'some'"),
]


@pytest.mark.parametrize(("flags", "message"), WRONG_FLAGS)
def test_a_wrong_flag_is_one_line_and_nothing_is_written(flags, message, place):
    assert message in refused(place.build(flags))
    assert not place.folder.exists()


def test_another_publications_folder_is_refused_and_left_as_it_is(place, tmp_path):
    place.build()
    before = place.state()
    downloads = write_downloads("refcoco", tmp_path / "others")
    line = refused(call("build_dataset.py", *build_flags("refcoco", downloads, place.regions, place.folder)))
    assert f"output_dir {place.folder} holds vqa-v2; give another folder for refcoco" in line
    assert place.state() == before


@pytest.mark.parametrize("name", ["thesis.tex", "images/0001.jpg", "images/0001.arrow", "vqa/train.arrow"])
def test_a_folder_with_files_that_are_no_builds_is_refused_and_left_as_it_is(name, place):
    (place.folder / name).parent.mkdir(parents=True)
    (place.folder / name).write_text("years of work")
    assert "holds files that are no build's; give another folder" in refused(place.build())
    assert [path.read_text() for path in place.state()] == ["years of work"]


def test_a_folder_of_own_tables_is_refused_and_left_as_it_is(place):
    save_tiny(place.folder, "vqa")
    before = place.state()
    assert "holds files that are no build's" in refused(place.build())
    assert place.state() == before


def test_a_file_as_output_folder_is_refused(place):
    place.folder.touch()
    assert f"output_dir {place.folder} is a file; give a folder" in refused(place.build())


# Real texts and features


def test_real_questions_are_counted_as_their_files_say(real_data, tmp_path):
    """Words, frequent answers and words with vectors, counted here from the files alone."""
    files, vectors = real_data / "vqa_v2", real_data / "word_vectors" / "vectors.subset.300d.txt"
    asked = [item for path in files.glob("*questions.json") for item in json.loads(path.read_text())["questions"]]
    answered = [item for path in files.glob("*notations.json") for item in json.loads(path.read_text())["annotations"]]
    pictures = [make_image(number, 3) for number in {item["image_id"] for item in asked}]
    flags = build_flags("vqa-v2", files, write_tsv(tmp_path / "made.tsv", pictures), tmp_path / "tables")
    ended = call("build_dataset.py", *flags, "--word_vectors", vectors)

    words = words_in(item["question"] for item in asked)
    known = words & {line.split(" ", 1)[0] for line in vectors.read_text().splitlines()}
    counts = Counter(normalise_answer(item["multiple_choice_answer"]) for item in answered)
    frequent = {answer: count for answer, count in counts.items() if count > 8}
    total = len(words) + SPECIAL_WORDS
    assert ended.out.splitlines() == [
        f"{len(pictures)} images, {len(pictures)} converted now, 0 before",
        "3 to 3 regions an image, mean 3.0; width 8",
        "3000 texts in train, 600 texts in val",
        f"{total} words",
        f"{len(frequent)} answers, which cover {sum(frequent.values()) / 36:.1f}% of 3600 questions",
        f"{len(known)} of {total} words have a vector ({len(known) / total:.1%})",
        f"see {tmp_path / 'tables'}",
    ]


def test_a_real_feature_file_and_its_questions_build(real_data, tmp_path):
    source, downloads = real_data / "bottom_up_features", tmp_path / "downloads"
    downloads.mkdir()
    names = {"questions": "v2_OpenEnded_mscoco_train2014_questions", "annotations": "v2_mscoco_train2014_annotations"}
    for kind, name in names.items():
        shutil.copy(source / f"{kind}.json", downloads / f"{name}.json")
    ended = call("build_dataset.py", *build_flags("vqa-v2", downloads, source / "train2014", tmp_path / "tables"))
    assert ended.code == 0
    assert "36 to 36 regions an image, mean 36.0; width 2048" in ended.out
    data = load_folder(tmp_path / "tables", "vqa")
    assert len(data.texts["train"]) == 3
    (regions,) = RegionStore(data.images)[["458752"]].features
    assert regions.shape == (36, 2048)
