"""The page of all tabs, and its server."""

from collections.abc import Mapping, Sequence

import gradio as gr

from ..errors import InputError
from ..pipeline_mmnas import MMnasPipeline
from .examples import Example
from .tabs import TABS, fill_tab

TITLE = "MMnas"
INTRODUCTION = """# MMnas
Networks whose architecture was searched, not designed. Choose a scene or bring a picture of your own, and see what a
network answers and where it looks: regions are the brighter, and words the more coloured, the more it attends to them.
These networks have seen nothing but drawn scenes of coloured shapes."""
UPLOAD_LIMIT = "10mb"
KEEP_SECONDS = 3600  # how long pictures that were shown stay on the disk
# A file of Gradio's own, so that no page asks another host; the 600 that comes beside it lacks most letters.
FONTS = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
THEME = gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=FONTS, font_mono=FONTS)
STYLE = ".gradio-container { max-width: 1180px !important; margin: auto !important }"


def build_page(pipelines: Mapping[str, MMnasPipeline], examples: Sequence[Example]) -> gr.Blocks:
    """The page with a tab for each pipeline, by task."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEEP_SECONDS, KEEP_SECONDS)) as page:
        gr.Markdown(INTRODUCTION)
        for task in TABS:
            if task in pipelines:
                fill_tab(page, task, pipelines[task], examples)
    return page


def serve(page: gr.Blocks, host: str, port: int) -> str:
    """Start serving the page, to this machine alone unless `host` says otherwise, and return its address."""
    try:
        _, address, _ = page.launch(
            server_name=host,
            server_port=port,
            share=False,
            quiet=True,
            theme=THEME,
            css=STYLE,
            max_file_size=UPLOAD_LIMIT,
            footer_links=[],
            ssr_mode=False,
            prevent_thread_lock=True,
        )
    except OSError:
        raise InputError(f"port {port} of {host} cannot be used; give another --port or --host") from None
    return address
