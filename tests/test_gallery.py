"""Galleries of images or captions: encoded once, ranked as if every pair went through the network alone."""

import numpy as np
import pytest
import torch
from PIL import Image

from mmnas_hf import InputError
from pipelines import REGIONS, TEXTS, make_pipeline, random_detection
from tiny import FEATURE_SIZE, HEIGHT, WIDTH

ITM = "mmnas-image-text-matching"
IMAGES = [random_detection(count, seed) for seed, count in enumerate(REGIONS)]


@pytest.fixture(scope="module", params=["SF|SRGF", "F|GS", "S|SF", "S|RDG"])
def pipe(request):
    """Networks whose regions meet the text late, at once or never, with one geometry, two or none."""
    return make_pipeline(ITM, genotype=request.param).pipe


@pytest.fixture(scope="module")
def one():
    return make_pipeline(ITM).pipe


def score(pipe, text, image):
    return pipe({"caption": text, "regions": image})["score"]


def calls(module):
    """How often a part of a network is used from now on."""
    counted = []
    module.register_forward_hook(lambda *_: counted.append(module))
    return counted


def assert_ranked(records, scores, top_k):
    """Records are of the best scores, best first."""
    assert len(records) == min(top_k, len(scores))
    assert [record["score"] for record in records] == pytest.approx(sorted(scores, reverse=True)[:top_k], abs=1e-5)
    assert [scores[record["index"]] for record in records] == pytest.approx([r["score"] for r in records], abs=1e-5)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_images_are_ranked_for_a_caption(batch_size, pipe):
    gallery = pipe.encode_images(IMAGES, batch_size=batch_size)
    assert len(gallery) == len(IMAGES)
    for text in TEXTS[:3]:
        scores = [score(pipe, text, image) for image in IMAGES]
        for top_k in (1, 3, 99):
            assert_ranked(pipe.rank(text, gallery, top_k=top_k), scores, top_k)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_captions_are_ranked_for_an_image(batch_size, pipe):
    gallery = pipe.encode_texts(TEXTS, batch_size=batch_size)
    assert len(gallery) == len(TEXTS)
    for image in IMAGES[:3]:
        records = pipe.rank(image, gallery, top_k=99)
        assert_ranked(records, [score(pipe, text, image) for text in TEXTS], 99)
        assert [record["caption"] for record in records] == [TEXTS[record["index"]] for record in records]


def test_five_are_ranked_unless_told(one):
    assert len(one.rank("red", one.encode_images(IMAGES))) == 5
    assert len(one.rank(IMAGES[0], one.encode_texts(TEXTS))) == 5


def test_no_image_is_projected_again(one):
    projections = calls(one.model.mmnas.regions)
    gallery = one.encode_images(IMAGES, batch_size=4)
    assert len(projections) == 2
    for text in TEXTS:
        one.rank(text, gallery)
    assert len(projections) == 2


def test_no_caption_is_encoded_again(one):
    encodings = calls(one.model.mmnas.lstm)
    gallery = one.encode_texts(TEXTS, batch_size=4)
    assert len(encodings) == 2
    for image in IMAGES:
        one.rank(image, gallery)
    assert len(encodings) == 2


def test_a_gallery_of_images_holds_little_more_than_their_states(one):
    gallery = one.encode_images(IMAGES)
    held = sum(part.nbytes for batch in gallery.batches for part in batch)
    states = sum(batch.regions.nbytes for batch in gallery.batches)
    assert held < 1.1 * states


def test_images_are_read_a_batch_at_a_time(one, monkeypatch):
    read, most = [], []
    look = one.look
    monkeypatch.setattr(one, "look", lambda images: most.append(len(read)) or read.clear() or look(images))
    gallery = one.encode_images((read.append(image) or image for image in IMAGES), batch_size=2)
    assert len(gallery) == len(IMAGES)
    assert most == [2, 2, 2, 1]


def test_galleries_need_no_gradients(one):
    assert not any(part.requires_grad for batch in one.encode_images(IMAGES).batches for part in batch)
    assert not any(part.requires_grad for batch in one.encode_texts(TEXTS).batches for part in batch)


def test_images_come_in_any_form(tmp_path):
    pipe = make_pipeline(ITM, detector=lambda picture: random_detection(3, sum(picture.getpixel((0, 0))))).pipe
    image = random_detection(3, 255)
    arrays = {"features": image.features, "boxes": image.boxes, "height": HEIGHT, "width": WIDTH}
    file, picture = tmp_path / "a.npz", Image.new("RGB", (WIDTH, HEIGHT), "red")
    np.savez(file, x=image.features.T, bbox=image.boxes, image_h=np.int64(HEIGHT), image_w=np.int64(WIDTH))
    picture.save(tmp_path / "a.png")
    forms = [image, {"regions": image}, arrays, file, picture, tmp_path / "a.png", str(tmp_path / "a.png")]
    scores = [record["score"] for record in pipe.rank("red", pipe.encode_images(forms), top_k=99)]
    assert scores == pytest.approx([score(pipe, "red", image)] * len(forms))
    texts = pipe.encode_texts(TEXTS)
    assert all(pipe.rank(form, texts) == pipe.rank(image, texts) for form in forms)
    assert all(len(pipe.encode_images(form)) == 1 for form in forms)


def test_one_caption_may_be_a_plain_string(one):
    assert [record["caption"] for record in one.rank(IMAGES[0], one.encode_texts("red"))] == ["red"]


def test_networks_that_read_where_a_region_lies_are_told():
    pipe = make_pipeline(ITM, box_feature=True).pipe
    assert_ranked(pipe.rank("red", pipe.encode_images(IMAGES)), [score(pipe, "red", image) for image in IMAGES], 5)


def test_galleries_may_be_in_half_precision():
    pipe = make_pipeline(ITM).pipe
    expected = pipe.rank("red", pipe.encode_images(IMAGES), top_k=1)[0]["score"]
    pipe.model.to(torch.bfloat16)
    gallery = pipe.encode_images(IMAGES)
    assert gallery.batches[0].regions.dtype == torch.bfloat16
    assert pipe.rank("red", gallery, top_k=1)[0]["score"] == pytest.approx(expected, abs=0.05)


# Wrong input


def test_an_empty_gallery_raises(one):
    with pytest.raises(InputError, match="a gallery of no images; give at least one"):
        one.encode_images([])
    with pytest.raises(InputError, match="a gallery of no texts; give at least one"):
        one.encode_texts([])


@pytest.mark.parametrize("gallery", [TEXTS, None])
def test_what_is_no_gallery_raises(gallery, one):
    with pytest.raises(InputError, match="is no gallery; make one with encode_images or encode_texts"):
        one.rank("red", gallery)


@pytest.mark.parametrize("wrong", [{"top_k": 0}, {"top_k": "many"}])
def test_a_wrong_top_k_raises(wrong, one):
    with pytest.raises(InputError, match="is no number of things; give 1 or more"):
        one.rank("red", one.encode_images(IMAGES[:1]), **wrong)


def test_a_wrong_batch_size_raises(one):
    with pytest.raises(InputError, match="batch_size 0 is no number of things; give 1 or more"):
        one.encode_images(IMAGES, batch_size=0)


def test_a_caption_without_words_raises(one):
    with pytest.raises(InputError, match=r"caption '\?' has no words"):
        one.encode_texts(["red", "?"])
    with pytest.raises(InputError, match="caption '' has no words"):
        one.rank("", one.encode_images(IMAGES[:1]))


def test_a_query_of_the_gallerys_own_kind_raises(one):
    with pytest.raises(InputError, match="a Detection is no caption; give a text"):
        one.rank(IMAGES[0], one.encode_images(IMAGES))
    with pytest.raises(InputError, match="a picture needs regions"):
        one.rank("red", one.encode_texts(TEXTS))


def test_an_image_of_other_features_raises(one):
    wide = IMAGES[0]._replace(features=np.ones((len(IMAGES[0].boxes), FEATURE_SIZE + 1)))
    with pytest.raises(InputError, match="region features of width 9, where this network reads 8"):
        one.encode_images([wide])
