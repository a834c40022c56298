"""Published data sets say which files they need, and find them wherever they were unpacked."""

import re

import pytest

from mmnas_hf.data.published import PUBLICATIONS, find_files
from mmnas_hf.data.published.publication import together
from mmnas_hf.errors import InputError
from mmnas_hf.tasks import TASKS

every_publication = pytest.mark.parametrize("publication", PUBLICATIONS.values(), ids=PUBLICATIONS)

VQA_V2, REFCOCO, REFCOCOG, FLICKR30K = (PUBLICATIONS[name] for name in ("vqa-v2", "refcoco", "refcocog", "flickr30k"))
SCAN_TRAINING = ("f30k_precomp/train_caps.txt", "f30k_precomp/train_ids.txt")


def place(folder, *names):
    """Empty files of these names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def needed(publication):
    return [file.name for file in publication.files if file.needed]


def message(publication, folder):
    with pytest.raises(InputError) as error:
        find_files(publication, folder)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is said of them


def test_publications_are_those_of_mmnas_and_coco():
    assert list(PUBLICATIONS) == ["vqa-v2", "refcoco", "refcoco+", "refcocog", "flickr30k", "coco-captions"]


@every_publication
def test_a_publication_is_for_a_task(publication):
    assert publication.task in TASKS


@every_publication
def test_every_role_has_a_split_that_datasets_can_name(publication):
    assert list(publication.splits)[:3] == ["train", "validation", "test"]
    assert all(re.fullmatch(r"\w+(\+\w+)*", split) for split in publication.splits.values())


@every_publication
def test_every_file_has_an_address_and_what_may_stand_for_it_is_known(publication):
    names = [file.name for file in publication.files]
    assert len(set(names)) == len(names)
    for file in publication.files:
        assert re.match(r"https://\S+$", file.url)
        assert set(file.instead) <= set(names)


@every_publication
def test_a_citation_is_bibtex(publication):
    assert re.fullmatch(r"(@\w+{\w+,\n(  .*\n)+}\n?)+", publication.citation)
    assert publication.citation.count("{") == publication.citation.count("}")


@every_publication
def test_a_publication_says_where_it_is_from_and_what_may_be_done_with_it(publication):
    assert publication.homepage.startswith("https://")
    assert all((publication.title, publication.licence, publication.region_count))


# Files that are there


@every_publication
def test_needed_files_are_found_in_any_folder_below(publication, tmp_path):
    for number, name in enumerate(needed(publication)):
        place(tmp_path / f"archive {number}" / "unpacked", name)
    found = find_files(publication, tmp_path)
    assert list(found) == needed(publication)
    assert all(path.is_file() for path in found.values())


def test_optional_files_are_found_too(tmp_path):
    place(tmp_path, *(file.name for file in VQA_V2.files))
    assert list(find_files(VQA_V2, tmp_path)) == [file.name for file in VQA_V2.files]


def test_the_folder_may_be_the_published_one_itself(tmp_path):
    place(tmp_path, *needed(REFCOCO))
    assert list(find_files(REFCOCO, tmp_path / "refcoco")) == needed(REFCOCO)


def test_files_of_the_same_name_are_told_apart_by_their_folders(tmp_path):
    place(tmp_path, *needed(REFCOCO), *needed(REFCOCOG))
    for publication in (REFCOCO, REFCOCOG):
        found = find_files(publication, tmp_path)
        assert {path.parent.name for path in found.values()} == {publication.name}


def test_another_publications_file_is_not_taken(tmp_path):
    place(tmp_path, *needed(REFCOCOG))
    assert "missing" in message(REFCOCO, tmp_path)


def test_files_may_stand_for_a_needed_one(tmp_path):
    place(tmp_path, *SCAN_TRAINING)
    assert list(find_files(FLICKR30K, tmp_path)) == list(SCAN_TRAINING)


def test_another_cut_may_stand_for_the_default_one(tmp_path):
    place(tmp_path, "refcocog/instances.json", "refcocog/refs(google).p")
    assert list(find_files(REFCOCOG, tmp_path)) == ["refcocog/instances.json", "refcocog/refs(google).p"]


# Files that are not


@every_publication
def test_one_message_has_all_missing_files_with_their_addresses(publication, tmp_path):
    raised = message(publication, tmp_path)
    replacing = {name for file in publication.files for name in file.instead}
    for file in publication.files:
        assert (f"{file.name} ({file.url})" in raised) == file.needed or file.name in replacing
        assert (file.name in raised) == (file.needed or file.name in replacing)


def test_only_what_is_missing_is_named(tmp_path):
    questions, annotations = needed(VQA_V2)
    place(tmp_path, questions)
    raised = message(VQA_V2, tmp_path)
    assert annotations in raised
    assert questions not in raised


def test_half_of_what_may_stand_for_a_file_is_not_enough(tmp_path):
    place(tmp_path, SCAN_TRAINING[0])
    assert "dataset_flickr30k.json (https://" in message(FLICKR30K, tmp_path)
    assert f"or instead {' and '.join(SCAN_TRAINING)} (https://" in message(FLICKR30K, tmp_path)


def test_an_archive_that_is_there_is_to_be_unzipped(tmp_path):
    place(tmp_path, "caption_datasets.zip")
    assert f"dataset_flickr30k.json (unzip {tmp_path / 'caption_datasets.zip'})" in message(FLICKR30K, tmp_path)


def test_a_file_in_two_places_raises(tmp_path):
    place(tmp_path, "dataset_flickr30k.json", "again/dataset_flickr30k.json")
    assert "dataset_flickr30k.json was found 2 times" in message(FLICKR30K, tmp_path)


def test_a_missing_folder_raises(tmp_path):
    assert "no folder" in message(VQA_V2, tmp_path / "nowhere")


def test_files_of_a_pair_are_found_together_or_not_at_all(tmp_path):
    pair = {name: tmp_path / name for name in ("a.json", "b.json")}
    assert together(pair, ("a.json", "b.json")) == list(pair.values())
    assert together({}, ("a.json", "b.json")) == []
    with pytest.raises(InputError, match=r"b\.json is there without a\.json"):
        together({"b.json": pair["b.json"]}, ("a.json", "b.json"))
