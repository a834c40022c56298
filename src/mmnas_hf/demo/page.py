"""The page itself: a tab for each task, with bundled pictures to choose from or a picture of the visitor's own."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from html import escape
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image
from transformers import PreTrainedModel

from ..errors import InputError, first_line
from ..pipeline_mmnas import MMnasPipeline
from .examples import Example
from .pictures import genotype_of, picture_genotype, read_upload
from .results import Shown, answer, ground, rank_captions, rank_pictures

TITLE = "MMnas"
INTRODUCTION = """# MMnas
Networks whose architecture was searched, not designed. Choose a scene or bring a picture of your own, and see what a
network answers and where it looks: regions are the brighter, and words the more coloured, the more it attends to them.
These networks have seen nothing but drawn scenes of coloured shapes."""
UPLOAD_LIMIT = "10mb"
LONGEST_TEXT = 300  # characters of a question or a phrase
LONGEST_CAPTIONS = 5000
KEEP_SECONDS = 3600  # how long pictures that were shown stay on the disk
PICTURE_HEIGHT = 470  # pixels
GALLERY = {"format": "png", "show_label": False, "allow_preview": False, "interactive": False, "buttons": []}
# A file of Gradio's own, so that no page asks another host; the 600 that comes beside it lacks most letters.
FONTS = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
THEME = gr.themes.Default(primary_hue="orange", neutral_hue="slate", font=FONTS, font_mono=FONTS)
STYLE = ".gradio-container { max-width: 1180px !important; margin: auto !important }"


class Texts(NamedTuple):
    """What a tab calls things, and how it gets its text from an example."""

    title: str
    text: str
    button: str
    scores: str
    of_example: Callable[[Example], str]
    show: Callable[[Any, Image.Image, str], Shown]
    lines: int = 1


TABS: dict[str, Texts] = {
    "vqa": Texts(
        "Ask a question", "Question", "Ask", "Answers, each with a score of its own", lambda one: one.question, answer
    ),
    "vgd": Texts(
        "Find what a phrase means",
        "Phrase",
        "Find",
        "Boxes (left, top to right, bottom) with their shares",
        lambda one: one.expression,
        ground,
    ),
    "itm": Texts(
        "Match pictures and captions",
        "Captions, one a line",
        "Rank the captions",
        "How well each caption fits the picture",
        lambda one: "\n".join(one.captions),
        rank_captions,
        lines=6,
    ),
}


def build_page(pipelines: Mapping[str, MMnasPipeline], examples: Sequence[Example]) -> gr.Blocks:
    """The page with a tab for each pipeline, by task."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(KEEP_SECONDS, KEEP_SECONDS)) as page:
        gr.Markdown(INTRODUCTION)
        for task, texts in TABS.items():
            if task in pipelines:
                with gr.Tab(texts.title, id=task, elem_id=f"tab-{task}"):
                    fill_tab(page, task, pipelines[task], examples)
    return page


def fill_tab(page: gr.Blocks, task: str, pipeline: MMnasPipeline, examples: Sequence[Example]) -> None:
    """A picture and a text, what the network says of them, and the network."""
    texts = TABS[task]
    with gr.Row():
        with gr.Column():
            painted = show_picture(f"{task}-picture")
            scenes, upload = offer_pictures(task, examples)
        with gr.Column():
            limit = LONGEST_TEXT if texts.lines == 1 else LONGEST_CAPTIONS
            text = gr.Textbox(label=texts.text, lines=texts.lines, max_length=limit, elem_id=f"{task}-text")
            button = gr.Button(texts.button, variant="primary", elem_id=f"{task}-button")
            scores = gr.Label(label=texts.scores, elem_id=f"{task}-scores", show_heading=texts.lines == 1)
            words = gr.HighlightedText(label="Weight of each word", elem_id=f"{task}-words")
            show_network(task, pipeline.model)
    chosen = gr.State(examples[0].picture)
    look = {"fn": said(partial(texts.show, pipeline)), "inputs": [chosen, text], "outputs": [painted, scores, words]}

    def choose(event: gr.SelectData) -> tuple[Image.Image, Image.Image, str]:
        return take_example(task, examples[event.index])

    page.load(partial(take_example, task, examples[0]), None, [chosen, painted, text]).success(**look)
    scenes.select(choose, None, [chosen, painted, text]).success(**look)
    upload.upload(said(take_upload), upload, [chosen, painted]).success(**look)
    gr.on([button.click, *([text.submit] if texts.lines == 1 else [])], **look)
    if task == "itm":
        search_pictures(page, pipeline, examples)


def show_picture(name: str) -> gr.Image:
    return gr.Image(
        height=PICTURE_HEIGHT, format="png", interactive=False, show_label=False, buttons=["fullscreen"], elem_id=name
    )


def offer_pictures(task: str, examples: Sequence[Example]) -> tuple[gr.Gallery, gr.UploadButton]:
    scenes = gr.Gallery(
        [example.picture for example in examples],
        columns=4,
        height=280,
        elem_id=f"{task}-scenes",
        **GALLERY,
    )
    upload = gr.UploadButton("Bring a picture of your own", file_types=["image"], size="sm", elem_id=f"{task}-upload")
    return scenes, upload


def search_pictures(page: gr.Blocks, pipeline: MMnasPipeline, examples: Sequence[Example]) -> None:
    """The other direction of matching: one caption, and all bundled pictures, which are encoded only once."""
    pictures = [example.picture for example in examples]
    rank = said(partial(rank_pictures, pipeline, pipeline.encode_images(pictures), pictures))
    caption = gr.Textbox(
        examples[0].captions[0],
        label="Or the other way round: a caption to search the scenes with",
        max_length=LONGEST_TEXT,
        elem_id="itm-caption",
    )
    button = gr.Button("Rank the scenes, best first", elem_id="itm-search")
    found = gr.Gallery(
        columns=8,
        height=150,
        elem_id="itm-found",
        **GALLERY,
    )
    gr.on([page.load, button.click, caption.submit], rank, caption, found)


def show_network(task: str, model: PreTrainedModel) -> None:
    genotype = genotype_of(model.config)
    gr.Image(
        picture_genotype(genotype, f"{genotype}, {model.num_parameters():,} weights"),
        show_label=False,
        format="png",
        interactive=False,
        buttons=["fullscreen"],
        elem_id=f"{task}-network",
    )


def take_example(task: str, example: Example) -> tuple[Image.Image, Image.Image, str]:
    """A bundled picture, to keep and to show, and its text."""
    return example.picture, example.picture, TABS[task].of_example(example)


def take_upload(path: str) -> tuple[Image.Image, Image.Image]:
    """An uploaded picture, to keep and to show."""
    picture = read_upload(path)
    return picture, picture


def said(function: Callable) -> Callable:
    """The same function, but the page says what is wrong with its input."""

    @wraps(function)
    def call(*inputs: Any) -> Any:
        try:
            return function(*inputs)
        except InputError as error:
            raise gr.Error(escape(first_line(error)), title="Please look again", print_exception=False) from None

    return call


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
    except OSError as error:
        raise InputError(f"port {port} of {host} cannot be used: {first_line(error)}; give another --port") from None
    return address
