"""Serve a page on which trained networks answer questions, find what phrases mean, and match pictures with captions.

python scripts/demo.py
python scripts/demo.py --vqa runs/mine --port 8000
python scripts/demo.py --screenshot demo.png
"""

from dataclasses import dataclass, field
from typing import ClassVar

from mmnas_hf.cli import Parser, run, show
from mmnas_hf.demo.browser import open_browser, photograph
from mmnas_hf.demo.examples import load_examples
from mmnas_hf.demo.networks import default_folder, load_networks
from mmnas_hf.errors import InputError

HIGHEST_PORT = 65535


@dataclass
class DemoArguments:
    """What to show, and where."""

    _argument_group_name: ClassVar[str] = "demo"

    vqa: str = field(default=default_folder("vqa"), metadata={"help": "Folder of a network for questions."})
    vgd: str = field(default=default_folder("vgd"), metadata={"help": "Folder of a network for phrases."})
    itm: str = field(default=default_folder("itm"), metadata={"help": "Folder of a network for captions."})
    host: str = field(default="127.0.0.1", metadata={"help": "Address to serve; the default is this machine alone."})
    port: int = field(default=7860, metadata={"help": "Port to serve."})
    screenshot: str | None = field(
        default=None, metadata={"help": "Write a picture of the page and end; this needs Chromium and selenium."}
    )

    def __post_init__(self) -> None:
        if not 0 < self.port <= HIGHEST_PORT:
            raise InputError(f"port {self.port} is none; give one from 1 to {HIGHEST_PORT}")


def main() -> None:
    (arguments,) = Parser((DemoArguments,), __doc__).read()
    networks = load_networks({"vqa": arguments.vqa, "vgd": arguments.vgd, "itm": arguments.itm})
    try:
        from mmnas_hf.demo.page import build_page, serve  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise InputError(f'{error}; install what the page needs: pip install -e ".[demo]"') from None
    page = build_page(networks, load_examples())
    address = serve(page, arguments.host, arguments.port)
    if arguments.screenshot:
        with open_browser() as chrome:
            photograph(chrome, address, arguments.screenshot)
        return
    show(f"see {address}")
    page.block_thread()


if __name__ == "__main__":
    run(main)
