"""Collect architectures from the Hub and from local folders into a table and a picture that compares them.

python scripts/gallery.py runs/search-scenes-vqa me/architecture --output_dir gallery
python scripts/gallery.py runs/vqa-* --metric accuracy/nearest --push_to_hub me/gallery
"""

import argparse

from mmnas_hf.cli import run, show
from mmnas_hf.hub import Place
from mmnas_hf.sharing.gallery import as_text, collect, push_gallery, save_gallery


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", help="OWNER/NAME on the Hub, or local folders: runs or architectures")
    parser.add_argument("--metric", default=None, help="score to compare; default: each task's headline")
    parser.add_argument("--output_dir", default=None, help="folder for the table, the picture and a card")
    parser.add_argument("--push_to_hub", default=None, metavar="NAME", help="data set on the Hub to upload them to")
    parser.add_argument("--public", action="store_true", help="make a data set that is new on the Hub a public one")
    args = parser.parse_args()
    table = collect(args.names, args.metric)
    show(as_text(table))
    if args.output_dir:
        save_gallery(table, args.output_dir)
        show(f"see {args.output_dir}")
    if args.push_to_hub:
        place = Place(args.push_to_hub, private=not args.public, kind="dataset")
        show(f"uploaded to {push_gallery(table, place)}")


if __name__ == "__main__":
    run(main)
