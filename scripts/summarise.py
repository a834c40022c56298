"""Put the results of several searches side by side: mean and spread over runs of each compared network.

python scripts/summarise.py runs/vqa-*
python scripts/summarise.py runs/vqa-* --metric accuracy/nearest
"""

import argparse

from mmnas_hf.cli import run
from mmnas_hf.comparison import read_results, summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", help="output folders of search.py")
    parser.add_argument("--metric", default=None, help="a metric in the results; default: the task's headline")
    args = parser.parse_args()
    results = [read_results(folder) for folder in args.folders]
    print("found:", ", ".join(result["search"]["genotype"] for result in results))
    print(summary(results, args.metric))


if __name__ == "__main__":
    run(main)
