"""Writes the same few images in every form of region features, and a source that has them without any file."""

import base64
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import h5py
import lmdb
import numpy as np

from mmnas_hf.cache import fingerprint
from mmnas_hf.data.regions import ImageRegions, Part, RegionSource

SIZE = 8  # of features

Images = list[ImageRegions]


def make_image(name: str | int, regions: int, seed: int | None = None) -> ImageRegions:
    """An image whose boxes reach its right and lower edge."""
    random = np.random.default_rng(int(name) if seed is None else seed)
    width, height = random.integers(300, 640, size=2).tolist()
    corners = random.uniform(0, 200, size=(regions, 2))
    boxes = np.concatenate([corners, corners + random.uniform(10, 90, size=(regions, 2))], axis=1)
    boxes[-1, 2:] = width - 1, height - 1
    features = random.normal(size=(regions, SIZE)).astype(np.float32)
    return ImageRegions(str(name), width, height, boxes.astype(np.float32), features)


def make_images(count: int = 5, regions: int | None = None, start: int = 1) -> Images:
    """Images with 3, 4, 5, 3, ... regions, or all with as many."""
    return [make_image(number, regions or 3 + number % 3) for number in range(start, start + count)]


def encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, dtype=np.float32)).decode()


def file_name(image: ImageRegions) -> str:
    return f"COCO_train2014_{int(image.image_id):012d}.jpg"


def write_npz(folder: Path, images: Images) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        sizes = {"image_h": image.height, "image_w": image.width, "num_bbox": len(image.boxes)}
        np.savez(folder / f"{file_name(image)}.npz", x=image.features.T, bbox=image.boxes, **sizes)
    return folder


def tsv_line(image: ImageRegions) -> str:
    numbers = (image.image_id, image.width, image.height, len(image.boxes))
    return "\t".join([*map(str, numbers), encoded(image.boxes), encoded(image.features)])


def lxmert_line(image: ImageRegions) -> str:
    objects = [encoded(np.zeros(len(image.boxes)))] * 4
    name = file_name(image).removesuffix(".jpg")
    values = [name, image.height, image.width, *objects, len(image.boxes)]
    return "\t".join([*map(str, values), encoded(image.boxes), encoded(image.features)])


def write_tsv(path: Path, images: Images, line: Callable[[ImageRegions], str] = tsv_line) -> Path:
    path.write_text("".join(f"{line(image)}\n" for image in images))
    return path


def shares(image: ImageRegions) -> np.ndarray:
    """What the usual converter keeps beside boxes: corners and sides as shares of the image."""
    corners = image.boxes / np.tile([image.width, image.height], 2)
    return np.concatenate([corners, corners[:, 2:] - corners[:, :2]], axis=1).astype(np.float32)


def write_rows(path: Path, images: Images, sizes: bool = True, ids: bool = True) -> Path:
    """HDF5 with one row an image, which all have as many regions."""
    with h5py.File(path, "w") as file:
        file["image_features"] = np.stack([image.features for image in images])
        file["image_bb"] = np.stack([image.boxes for image in images])
        write_names(file, images, sizes, ids)
        if not sizes:
            file["spatial_features"] = np.stack([shares(image) for image in images])
    return path


def write_ranges(path: Path, images: Images, sizes: bool = True, ids: bool = True) -> Path:
    """HDF5 with all regions in one array and a range of rows an image."""
    ends = np.cumsum([len(image.boxes) for image in images])
    with h5py.File(path, "w") as file:
        file["image_features"] = np.concatenate([image.features for image in images])
        file["image_bb"] = np.concatenate([image.boxes for image in images])
        file["pos_boxes"] = np.stack([np.append(0, ends[:-1]), ends], axis=1).astype(np.int32)
        write_names(file, images, sizes, ids)
        if not sizes:
            file["spatial_features"] = np.concatenate([shares(image) for image in images])
    return path


def write_names(file: h5py.File, images: Images, sizes: bool, ids: bool) -> None:
    if sizes:
        file["image_w"], file["image_h"] = [image.width for image in images], [image.height for image in images]
    if ids:
        file["image_ids"] = [int(image.image_id) for image in images]


def write_row_of_ids(path: Path, images: Images) -> Path:
    path.write_bytes(pickle.dumps({int(image.image_id): row for row, image in enumerate(images)}, protocol=2))
    return path


def write_groups(path: Path, images: Images) -> Path:
    with h5py.File(path, "w") as file:
        for image in images:
            group = file.create_group(file_name(image).removesuffix(".jpg"))
            group["features"], group["boxes"] = image.features, image.boxes
            group["img_w"], group["img_h"] = image.width, image.height
    return path


def text_item(image: ImageRegions) -> dict:
    """As ViLBERT keeps an image: what a line of the TSV has."""
    sizes = {"image_id": image.image_id, "image_h": image.height, "image_w": str(image.width)}
    texts = {"boxes": encoded(image.boxes).encode(), "features": encoded(image.features)}
    return {**sizes, "num_boxes": len(image.boxes), **texts}


def array_item(image: ImageRegions) -> dict:
    """As MMF keeps an image; what is beyond `num_boxes` is filling."""
    filled = np.concatenate([image.boxes, np.zeros((2, 4), dtype=np.float32)])
    features = np.concatenate([image.features, np.zeros((2, SIZE), dtype=np.float32)])
    sizes = {"image_height": image.height, "image_width": np.int64(image.width), "num_boxes": len(image.boxes)}
    return {"feature_path": file_name(image), **sizes, "bbox": filled, "features": features}


def write_items(path: Path, items: Mapping[bytes, bytes], subdir: bool = True) -> Path:
    with (
        lmdb.open(str(path), map_size=2**24, subdir=subdir, lock=False) as environment,
        environment.begin(write=True) as transaction,
    ):
        for key, value in items.items():
            transaction.put(key, value)
    return path


def write_lmdb(path: Path, images: Images, item: Callable[[ImageRegions], dict] = array_item, **options) -> Path:
    items = {image.image_id.encode(): pickle.dumps(item(image)) for image in images}
    return write_items(path, {**items, b"keys": pickle.dumps(list(items))}, **options)


def write_arrays(folder: Path, images: Images, ids: str = "ids.json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "features.npy", np.stack([image.features for image in images]))
    np.save(folder / "boxes.npy", np.stack([image.boxes for image in images]))
    np.save(folder / "sizes.npy", np.array([(image.height, image.width) for image in images]))
    names = [image.image_id for image in images]
    (folder / ids).write_text(json.dumps(names) if ids.endswith(".json") else "\n".join(names) + "\n")
    return folder


def write_scan(folder: Path, images: Images, name: str = "train", captions: int = 5) -> Path:
    """As SCAN's successors keep a split: an id a caption."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{name}_ims.npy", np.stack([image.features for image in images]))
    np.save(folder / f"{name}_boxes.npy", np.stack([image.boxes for image in images]))
    np.save(folder / f"{name}_img_sizes.npy", np.array([(image.width, image.height) for image in images]))
    (folder / f"{name}_ids.txt").write_text("".join(f"{image.image_id}\n" * captions for image in images))
    return folder


class MadeSource(RegionSource):
    """Images that are in no file, so many a part."""

    def __init__(self, images: Images, images_a_part: int = 2, name: str = "made"):
        self.images, self.images_a_part, self.name = images, images_a_part, name

    def parts(self, wanted: frozenset[str] | None) -> list[Part]:
        chosen = [image for image in self.images if wanted is None or image.image_id in wanted]
        starts = range(0, len(chosen), self.images_a_part)
        groups = [tuple(chosen[start : start + self.images_a_part]) for start in starts]
        return [Part(self.name, fingerprint(repr(group)), group) for group in groups]

    def read(self, part: Part) -> Iterator[ImageRegions]:
        yield from part.content
