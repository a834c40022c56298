"""Detectors give an image's regions with features: those of transformers, and the one of `scenes`."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers.utils import ModelOutput

from detectors import DETECTORS, QUERIES, SIDE, WIDTH, make_detector
from mmnas_hf import InputError, ScenesDetector, TransformersDetector, load_scenes
from mmnas_hf.boxes import overlaps
from mmnas_hf.data import RegionStore
from mmnas_hf.data.scenes import FEATURE_SIZE
from mmnas_hf.data.scenes.proposals import MAX_REGIONS, MIN_REGIONS, find_boxes
from mmnas_hf.data.scenes.world import IMAGE_SIZE, SPLITS
from mmnas_hf.pipeline_mmnas import PIPELINES
from mmnas_hf.regions_mmnas import check_detection
from pipelines import make_pipeline

PROPOSALS = 1  # the generator that a scene's regions come from
IMAGES = 4


@pytest.fixture(scope="module")
def picture():
    pixels = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module", params=DETECTORS)
def detecting(request):
    return make_detector(request.param)


# Detectors of transformers


def test_any_detector_gives_regions_that_a_pipeline_takes(detecting, picture):
    found = TransformersDetector(*detecting)(picture)
    checked = check_detection(found)
    assert checked.features.shape == (len(checked.boxes), WIDTH)
    assert 10 <= len(checked.boxes) <= QUERIES
    assert checked.image_size == (90, 120)
    assert checked.boxes.min() >= 0
    assert (checked.boxes[:, 2:] <= [120, 90]).all()


def test_a_picture_always_has_the_same_regions(detecting, picture):
    first, second = (TransformersDetector(*detecting)(picture) for _ in range(2))
    assert np.array_equal(first.boxes, second.boxes)
    assert np.array_equal(first.features, second.features)


def test_boxes_and_their_order_are_those_of_the_detectors_own_processor(detecting, picture):
    model, processor = detecting
    found = TransformersDetector(model, processor, min_regions=QUERIES)(picture)
    with torch.no_grad():
        outputs = model(**processor(images=picture, return_tensors="pt"))
    (known,) = processor.post_process_object_detection(outputs, threshold=0.0, target_sizes=[(90, 120)])
    own = known["boxes"].numpy().clip(0, [120, 90, 120, 90])
    scores = [max(known["scores"][np.abs(own - box).sum(1) < 1e-3].tolist(), default=0.0) for box in found.boxes]
    assert max(scores) > 0
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize(("name", "head"), [("detr", "bbox_predictor"), ("yolos", "bbox_predictor")])
def test_a_regions_feature_is_the_state_that_its_box_was_computed_from(name, head, picture):
    model, processor = make_detector(name)
    found = TransformersDetector(model, processor)(picture)
    with torch.no_grad():
        centres, sizes = getattr(model, head)(torch.tensor(found.features)).sigmoid().split(2, -1)
    boxes = torch.cat((centres - sizes / 2, centres + sizes / 2), -1).clamp(0, 1) * torch.tensor([120, 90, 120, 90])
    assert np.allclose(boxes, found.boxes, atol=1e-3)


def test_the_confidence_and_its_limits_decide_how_many_regions_there_are(picture):
    model, processor = make_detector("rt_detr")
    none = {"confidence": 1.0, "max_regions": 5}
    assert len(TransformersDetector(model, processor, min_regions=2, **none)(picture).boxes) == 2
    assert len(TransformersDetector(model, processor, 0.0, min_regions=1, max_regions=5)(picture).boxes) == 5
    found = TransformersDetector(model, processor, 0.0, min_regions=1)(picture)
    fewer = TransformersDetector(model, processor, 1.0, min_regions=3, max_regions=3)(picture)
    assert np.array_equal(fewer.boxes, found.boxes[:3])


def test_a_detector_in_half_precision_gives_single_precision(picture):
    model, processor = make_detector("detr")
    found = TransformersDetector(model.to(torch.bfloat16), processor)(picture)
    assert found.features.dtype == np.float32
    assert found.boxes.dtype == np.float32


@pytest.mark.parametrize("limits", [(0, 5), (6, 5)])
def test_limits_that_are_no_range_raise(limits):
    with pytest.raises(InputError, match=f"{limits[0]} to {limits[1]} regions are no range; give 1 <= min <= max"):
        TransformersDetector(*make_detector("detr"), min_regions=limits[0], max_regions=limits[1])


class NoQueries(nn.Module):
    """A detector that only has boxes."""

    device, dtype = "cpu", torch.float32

    def forward(self, **inputs):
        return ModelOutput(pred_boxes=torch.zeros(1, 2, 4))


def test_a_detector_without_queries_raises(picture):
    with pytest.raises(InputError, match="NoQueries gives no queries with boxes and states; give a detector such as"):
        TransformersDetector(NoQueries(), make_detector("detr")[1])(picture)


def test_a_pipeline_answers_about_a_picture_with_a_detector_of_transformers(picture):
    detector = TransformersDetector(*make_detector("rt_detr"))
    made = make_pipeline("mmnas-vqa", region_size=WIDTH, detector=detector)
    records = made.pipe({"question": "is it red", "image": picture}, return_attention=True)
    assert len(records[0]["regions"]) >= 10
    assert [record["box"] for record in records[0]["regions"]] == detector(picture).boxes.tolist()


# The detector of `scenes`


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        return load_scenes("vqa", images={"test": IMAGES}, num_proc=1)


def test_with_a_scenes_own_seed_regions_are_exactly_those_of_the_data_set(scenes):
    store = RegionStore(scenes.images)
    for number, row in enumerate(scenes.images):
        found = ScenesDetector(seed=(0, SPLITS.index("test"), number, PROPOSALS))(row["image"])
        stored = store[[row["image_id"]]]
        assert np.array_equal(found.boxes, stored.boxes[0])
        assert np.array_equal(found.features, stored.features[0])
        assert found.image_size == tuple(stored.image_sizes[0])


def test_with_another_seed_every_thing_in_a_scene_still_has_a_region(scenes):
    store = RegionStore(scenes.images)
    for row in scenes.images:
        found, stored = ScenesDetector()(row["image"]), store[[row["image_id"]]]
        assert MIN_REGIONS <= len(found.boxes) <= MAX_REGIONS
        assert found.features.shape == (len(found.boxes), FEATURE_SIZE)
        for thing in torch.tensor(find_boxes(row["image"])):
            for boxes in (found.boxes, stored.boxes[0]):
                assert overlaps(torch.tensor(boxes)[None], thing[None]).max() > 0.7


def test_a_scene_always_has_the_same_regions(scenes):
    first, second = (ScenesDetector()(scenes.images[0]["image"]) for _ in range(2))
    assert np.array_equal(first.boxes, second.boxes)


def test_an_enlarged_scene_has_the_regions_of_the_scene_enlarged(scenes):
    picture = scenes.images[0]["image"]
    found = ScenesDetector()(picture)
    large = ScenesDetector()(picture.resize((3 * IMAGE_SIZE, 3 * IMAGE_SIZE), Image.Resampling.NEAREST))
    assert large.image_size == (3 * IMAGE_SIZE, 3 * IMAGE_SIZE)
    assert np.allclose(large.boxes, 3 * found.boxes, atol=12)


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (700, 20), (SIDE, SIDE), (640, 480)])
@pytest.mark.parametrize("content", ["plain", "noise"])
def test_pictures_of_any_size_and_content_have_regions(size, content):
    width, height = size
    noise = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    picture = Image.fromarray(noise) if content == "noise" else Image.new("RGB", size, "red")
    found = check_detection(ScenesDetector()(picture))
    assert MIN_REGIONS <= len(found.boxes) <= MAX_REGIONS
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height] * 2).all()


@pytest.mark.parametrize("name", PIPELINES)
def test_a_demo_network_reads_a_scene_by_its_pixels(name, scenes):
    made = make_pipeline(name, region_size=FEATURE_SIZE, detector=ScenesDetector())
    picture = scenes.images[0]["image"]
    given = {made.pipe.text_key: "is it red", "image": picture}
    assert made.pipe(given) == made.pipe({**given, "regions": ScenesDetector()(picture)})
