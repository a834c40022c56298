"""Draw test images of `scenes` with their regions, a question, a referring expression and a caption each.

python scripts/draw_scenes.py --output scenes.png
"""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from datasets import Dataset
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from mmnas_hf.data.scenes import load_scenes

IMAGES = {"test": 60}
SHOWN = range(0, 60, 10)  # one of each ten, so that no two are near-duplicates
COLUMNS = 3
INCHES = (12, 10.4)
DOTS_PER_INCH = 100
MARGINS = {"left": 0.01, "right": 0.99, "top": 0.99, "bottom": 0.115, "wspace": 0.05, "hspace": 0.29}
CHARACTERS_A_LINE = 52
SHORT_CAPTION = 90
LINE_HEIGHT = 0.048  # as a share of the picture's
EXPRESSION_COLOUR = "#d6006e"
GROUPS = ("direction-free", "none", "direction-free", "directional")


def main() -> None:
    """Draw the pictures into one file."""
    arguments = parse_arguments()
    data = {task: load_scenes(task, seed=arguments.seed, images=IMAGES) for task in ("vqa", "vgd", "itm")}
    figure, axes = plt.subplots(len(SHOWN) // COLUMNS, COLUMNS, figsize=INCHES, gridspec_kw=MARGINS)
    for number, (panel, index) in enumerate(zip(axes.flat, SHOWN, strict=True)):
        image = data["vqa"].images[index]
        texts = {task: texts_of(data[task].texts["test"], image["image_id"]) for task in data}
        group = GROUPS[number % len(GROUPS)]
        question = first_of(texts["vqa"], group)
        expression = first_of(texts["vgd"], group)
        draw_picture(panel, image, expression["box"])
        write_texts(panel, question, expression["expression"], short_caption(texts["itm"]))
    figure.savefig(arguments.output, dpi=DOTS_PER_INCH)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="picture to write, such as scenes.png")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def texts_of(texts: Dataset, image_id: str) -> list[dict[str, Any]]:
    """Return the rows about one image."""
    return [row for row in texts if row["image_id"] == image_id]


def first_of(rows: Sequence[dict[str, Any]], group: str) -> dict[str, Any]:
    """Return the first row of a group, or the first of all."""
    return next((row for row in rows if row["group"] == group), rows[0])


def short_caption(rows: Sequence[dict[str, Any]]) -> str:
    """Return the longest caption that fits two lines."""
    return max((row["caption"] for row in rows if len(row["caption"]) <= SHORT_CAPTION), key=len)


def draw_picture(panel: Axes, image: dict[str, Any], referred: Sequence[float]) -> None:
    """Draw the image, its regions in grey and the box of the expression in colour."""
    panel.imshow(image["image"], extent=(0, image["width"], image["height"], 0), interpolation="lanczos")
    for box in image["boxes"]:
        panel.add_patch(rectangle(box, edgecolor="#e8e8e8", linewidth=0.7))
    panel.add_patch(rectangle(referred, edgecolor="white", linewidth=4.5))
    panel.add_patch(rectangle(referred, edgecolor=EXPRESSION_COLOUR, linewidth=2.5))
    panel.set_axis_off()


def rectangle(box: Sequence[float], **style: Any) -> Rectangle:
    """Return the outline of an xyxy box."""
    left, top, right, bottom = box
    return Rectangle((left, top), right - left, bottom - top, fill=False, **style)


def write_texts(panel: Axes, question: dict[str, Any], expression: str, caption: str) -> None:
    """Write the three texts below the image."""
    lines = [
        (f"{question['question'].replace(' ?', '?')} → {question['multiple_choice_answer']}", "black"),
        (expression, EXPRESSION_COLOUR),
        (f"“{caption}”", "#555555"),
    ]
    height = -0.6 * LINE_HEIGHT
    for text, colour in lines:
        wrapped = textwrap.fill(text, CHARACTERS_A_LINE)
        panel.text(0, height, wrapped, color=colour, fontsize=10, va="top", transform=panel.transAxes)
        height -= LINE_HEIGHT * (wrapped.count("\n") + 1.2)


if __name__ == "__main__":
    main()
