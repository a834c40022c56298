"""Share a run or a saved network on the Hub: network, processor, code, card, drawing and scores.

python scripts/push.py runs/train-scenes-vqa me/network --dry_run
python scripts/push.py runs/search-scenes-vqa me/search
python scripts/push.py runs/search-scenes-vqa me/architecture --architecture

A search's repository holds its supernet and, beside it, the architecture that was found: from_pretrained(NAME) of the
network's class and of Genotype both load from it. Checkpoints, optimizer states and local paths are never uploaded.
The card of a script's run is written anew with the repository's name; a saved network that is no run keeps its own.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

from mmnas_hf.cli import run, show
from mmnas_hf.hub import Place
from mmnas_hf.sharing.architectures import lay_out_architecture, push_architecture
from mmnas_hf.sharing.models import lay_out_run, push_run
from mmnas_hf.sharing.runs import read_run


def list_files(args: argparse.Namespace) -> None:
    """Show what would be uploaded."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if args.architecture:
            lay_out_architecture(read_run(args.folder), folder, args.name)
        else:
            lay_out_run(args.folder, folder, args.name)
        for path in sorted(folder.iterdir()):
            show(f"{path.stat().st_size:>14,} bytes  {path.name}")
    show(f"nothing was uploaded to {args.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="output folder of search.py, train.py or convert.py")
    parser.add_argument("name", help="OWNER/NAME on the Hub, or NAME alone for one of your own")
    parser.add_argument("--architecture", action="store_true", help="share only the architecture, without weights")
    parser.add_argument("--public", action="store_true", help="make a repository that is new a public one")
    parser.add_argument("--dry_run", action="store_true", help="show what would be uploaded; no network is touched")
    args = parser.parse_args()
    place = Place(args.name, private=not args.public)
    if args.dry_run:
        list_files(args)
    elif args.architecture:
        show(f"uploaded to {push_architecture(read_run(args.folder), place)}")
    else:
        show(f"uploaded to {push_run(args.folder, place)}")


if __name__ == "__main__":
    run(main)
