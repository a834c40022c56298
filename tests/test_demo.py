"""The demo page shows what the networks say, in a real browser, and says what is wrong with its input."""

import io
import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.request
import zlib
from contextlib import contextmanager

import pytest
from PIL import Image, ImageDraw

from mmnas_hf.configuration_mmnas import MMnasConfig
from mmnas_hf.corpus import ROLES, Corpus
from mmnas_hf.data.scenes import load_scenes
from mmnas_hf.demo import results
from mmnas_hf.demo.browser import find_browser, is_filled, open_browser, photograph
from mmnas_hf.demo.examples import CAPTIONS, IMAGES, load_examples
from mmnas_hf.demo.networks import default_folder, load_networks
from mmnas_hf.demo.pictures import LONGEST_SIDE, picture_genotype, read_upload
from mmnas_hf.errors import InputError
from mmnas_hf.genotype import Genotype
from mmnas_hf.tasks import TASKS
from mmnas_hf.training import build_model
from scripts import SCRIPTS, call, refusal
from tiny import SIZES

GENOTYPE = "S|GRF"
SHOW = {"vqa": results.answer, "vgd": results.ground, "itm": results.rank_captions}
TEXTS = {
    "vqa": "what shape is the striped yellow object?",
    "vgd": "the green square",
    "itm": "a red circle\na cyan cross and two squares",
}
TITLES = {"vqa": "Ask a question", "vgd": "Find what a phrase means", "itm": "Match pictures and captions"}
SECONDS = 30  # that anything may take on a busy machine


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A network with random weights for each task."""
    return {task: save_network(task, tmp_path_factory.mktemp(task)) for task in TASKS}


def save_network(task, folder):
    data = load_scenes(task, images=IMAGES, num_proc=1)
    corpus = Corpus(TASKS[task], data, roles=dict.fromkeys(ROLES, "test"))
    build_model(corpus, MMnasConfig(**corpus.settings(), **SIZES, genotype=GENOTYPE), seed=0).save_pretrained(folder)
    corpus.processor.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def networks(folders):
    return load_networks(folders)


@pytest.fixture(scope="module")
def examples():
    return load_examples()


# What is behind the page


def test_examples_are_different_pictures_with_texts_of_their_own(examples):
    assert len({example.picture.tobytes() for example in examples}) == len(examples) >= 6
    for part in ("question", "expression"):
        assert all(getattr(example, part) for example in examples)
    assert all(len(set(example.captions)) == CAPTIONS for example in examples)


def test_examples_do_not_ask_for_directions(examples):
    texts = " ".join(f"{example.question} {example.expression}" for example in examples)
    assert "left" not in texts
    assert "above" not in texts


@pytest.mark.parametrize("task", TASKS)
def test_shown_is_what_the_network_says(task, networks, examples):
    shown = SHOW[task](networks[task], examples[0].picture, TEXTS[task])
    scores = list(shown.scores.values())
    assert scores == sorted(scores, reverse=True)
    assert max(weight for _, weight in shown.words) == 1
    assert shown.picture.size > examples[0].picture.size


def test_answers_are_those_of_the_pipeline(networks, examples):
    picture = examples[0].picture
    records = networks["vqa"]({"question": TEXTS["vqa"], "image": picture})
    expected = {record["answer"]: pytest.approx(record["score"]) for record in records}
    assert results.answer(networks["vqa"], picture, TEXTS["vqa"]).scores == expected


def test_blank_and_repeated_captions_are_ranked_once(networks, examples):
    shown = results.rank_captions(
        networks["itm"], examples[0].picture, "a red circle\n\n  a red circle \na blue cross\n"
    )
    assert set(shown.scores) == {"a red circle", "a blue cross"}


def test_pictures_are_ranked_as_their_pairs_are_scored(networks, examples):
    match, pictures = networks["itm"], [example.picture for example in examples]
    ranked = results.rank_pictures(match, match.encode_images(pictures), pictures, "a red circle")
    scores = match([{"caption": "a red circle", "image": picture} for picture in pictures])
    assert [score for _, score in ranked] == sorted((f"{one['score']:.2f}" for one in scores), reverse=True)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("text", ["", "  \n ", "?!", "wherefore art thou"])
def test_text_that_says_nothing_is_refused_kindly(task, text, networks, examples):
    with pytest.raises(InputError, match=r"nothing to read|knows no word"):
        SHOW[task](networks[task], examples[0].picture, text)


def test_unknown_words_have_a_question_mark(networks, examples):
    shown = results.ground(networks["vgd"], examples[0].picture, "The gorgeous red-dotted circle!")
    assert [word for word, _ in shown.words] == ["the", "gorgeous?", "red", "dotted", "circle"]


def test_too_many_captions_are_refused(networks, examples):
    captions = "\n".join(f"a red circle and {number} squares" for number in range(results.MOST_CAPTIONS + 1))
    with pytest.raises(InputError, match="too many"):
        results.rank_captions(networks["itm"], examples[0].picture, captions)


def test_large_upload_is_made_small_and_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.new("RGB", (2000, 1000), "red").save(tmp_path / "a.jpg", exif=exif)
    assert read_upload(tmp_path / "a.jpg").size == (LONGEST_SIDE // 2, LONGEST_SIDE)


@pytest.mark.parametrize(("width", "height"), [(8000, 6000), (100_000, 100_000)])
def test_upload_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, width, height):
    (tmp_path / "a.png").write_bytes(png_head(width, height))
    with pytest.raises(InputError, match="million"):
        read_upload(tmp_path / "a.png")


def png_head(width, height):
    """What a PNG file of this size begins with; there is nothing to decode behind it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", b""))
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "content", [b"", b"no picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", png_head(10, 10), b"%!PS-Adobe-3.0"]
)
def test_upload_that_is_no_whole_picture_is_refused(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a picture"):
        read_upload(tmp_path / "a.png")


def test_network_is_drawn():
    drawn = picture_genotype(Genotype.parse(GENOTYPE), "a title")
    assert len(drawn.getcolors(maxcolors=drawn.width * drawn.height)) > 10


# Which networks


def test_default_network_that_is_not_there_is_left_out(folders):
    assert list(load_networks({"vqa": folders["vqa"], "vgd": default_folder("vgd")})) == ["vqa"]


def test_no_network_at_all_is_one_line_with_the_command_that_trains_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = call("demo.py")
    assert "python scripts/train.py --task vqa" in refusal(ended.code, ended.err, "demo.py")


def test_named_network_that_is_not_there_is_one_line(tmp_path, folders):
    ended = call("demo.py", "--vqa", folders["vqa"], "--vgd", tmp_path / "none")
    assert "no model at" in refusal(ended.code, ended.err, "demo.py")


def test_network_of_another_task_is_one_line(folders):
    ended = call("demo.py", "--vqa", folders["vgd"])
    assert "MMnasForVisualQuestionAnswering" in refusal(ended.code, ended.err, "demo.py")


def test_network_for_other_regions_is_one_line(folders, tmp_path):
    config = MMnasConfig.from_pretrained(folders["vqa"])
    TASKS["vqa"].model_class(MMnasConfig.from_dict(config.to_dict() | {"region_size": 8})).save_pretrained(tmp_path)
    ended = call("demo.py", "--vqa", tmp_path)
    assert "trained on scenes" in refusal(ended.code, ended.err, "demo.py")


def test_port_that_is_none_is_one_line():
    ended = call("demo.py", "--port 70000")
    assert "port 70000" in refusal(ended.code, ended.err, "demo.py")


def test_missing_gradio_is_one_line_that_says_how_to_install_it(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "mmnas_hf.demo.page", raising=False)
    ended = call("demo.py", "--vqa", folders["vqa"])
    assert ".[demo]" in refusal(ended.code, ended.err, "demo.py")


# The page in a browser


@pytest.fixture(scope="module")
def address(folders, tmp_path_factory):
    """The page of the three networks, served by the script."""
    pytest.importorskip("gradio", reason="the page needs gradio: pip install gradio")
    flags = [part for task, folder in folders.items() for part in (f"--{task}", folder)]
    log = tmp_path_factory.mktemp("server") / "log"
    with free_port() as port:
        command = [sys.executable, SCRIPTS / "demo.py", *flags, "--port", str(port)]
    shown = {"GRADIO_TEMP_DIR": str(log.parent / "shown")}
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, env=os.environ | shown) as server:
        try:
            until(lambda: server.poll() is not None or answers(port), 4 * SECONDS)
            assert server.poll() is None, log.read_text()
            yield f"http://127.0.0.1:{port}/"
        finally:
            server.terminate()
    assert "mmnas_hf" not in log.read_text()  # nowhere in a traceback


@contextmanager
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition, seconds=SECONDS):
    """Wait for something that must come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def browser(request):
    pytest.importorskip("selenium", reason="the page is tested in a browser: pip install selenium")
    try:
        find_browser()
    except InputError as error:
        pytest.skip(f"the page is tested in a browser: {error}")
    address = request.getfixturevalue("address")  # not before it is sure that there is a browser
    with open_browser() as chrome:
        chrome.get(address)
        until(lambda: is_filled(chrome))
        yield chrome


@pytest.fixture
def tab(browser, request):
    """The open tab of a task."""
    for button in browser.find_elements("css selector", "button[role=tab]"):
        if button.text == TITLES[request.param]:
            click(browser, button)
    return Tab(browser, request.param)


def click(chrome, element):
    """Click what may lie under a message."""
    chrome.execute_script("arguments[0].click()", element)


class Tab:
    """What a visitor does and sees in one tab."""

    def __init__(self, chrome, task):
        self.chrome, self.task = chrome, task

    def part(self, name, inside=""):
        return self.chrome.find_element("css selector", f"#{self.task}-{name} {inside}")

    def write(self, text, name="text"):
        """Replace what is written in a field, as with a keyboard."""
        from selenium.webdriver import Keys  # noqa: PLC0415 - other tests run without selenium

        self.part(name, "textarea").send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.BACKSPACE, text)

    def press(self, name="button"):
        click(self.chrome, self.chrome.find_element("css selector", f"button#{self.task}-{name}"))

    def upload(self, path):
        self.chrome.find_element("css selector", f"#tab-{self.task} input[type=file]").send_keys(str(path))

    def picture(self):
        with urllib.request.urlopen(self.part("picture", "img").get_attribute("src")) as reply:
            return Image.open(io.BytesIO(reply.read())).convert("RGB")

    def shows(self, shown):
        """Whether the tab shows these scores and words, and exactly this picture."""
        scores, words = self.part("scores").text, self.part("words").text
        return (
            all(name in scores and f"{score:.0%}" in scores for name, score in shown.scores.items())
            and all(word in words for word, _ in shown.words)
            and self.picture().tobytes() == shown.picture.tobytes()
        )

    def messages(self):
        return " ".join(one.text for one in self.chrome.find_elements("css selector", ".toast-body"))


def every_task():
    return pytest.mark.parametrize("tab", TASKS, indirect=True)


def for_task(task):
    return pytest.mark.parametrize("tab", [task], indirect=True)


def test_page_has_a_tab_for_each_network_and_opens_with_an_answer(browser, networks, examples):
    assert [button.text for button in browser.find_elements("css selector", "button[role=tab]")] == list(
        TITLES.values()
    )
    first = results.answer(networks["vqa"], examples[0].picture, examples[0].question)
    until(lambda: Tab(browser, "vqa").shows(first))


@every_task()
def test_page_shows_scores_words_and_the_painted_picture_of_a_text(tab, networks, examples):
    tab.write(TEXTS[tab.task])
    tab.press()
    until(lambda: tab.shows(SHOW[tab.task](networks[tab.task], examples[0].picture, TEXTS[tab.task])))


@for_task("vgd")
def test_page_shows_the_box_that_was_found(tab, networks, examples):
    tab.write("the cyan square")
    tab.press()
    (best, *_) = networks["vgd"]({"expression": "the cyan square", "image": examples[0].picture})
    until(lambda: results.name_box(best["box"]) in tab.part("scores").text)
    picture = tab.picture()
    scale = picture.width / examples[0].picture.width
    left, top, _, bottom = (round(corner * scale) for corner in best["box"])
    edge = [picture.getpixel((x, (top + bottom) // 2)) for x in range(left, left + 3)]
    assert (214, 0, 110) in edge  # the colour of the best box


@for_task("vqa")
def test_chosen_scene_comes_with_a_question_of_its_own(tab, networks, examples):
    click(tab.chrome, tab.chrome.find_elements("css selector", "#vqa-scenes button.thumbnail-item")[2])
    until(lambda: tab.shows(results.answer(networks["vqa"], examples[2].picture, examples[2].question)))


@for_task("vqa")
def test_uploaded_picture_is_answered_about(tab, networks, tmp_path):
    picture = Image.new("RGB", (300, 200), "#808080")
    ImageDraw.Draw(picture).rectangle((50, 50, 120, 120), fill="red")
    picture.save(tmp_path / "mine.png")
    tab.write("what colour is the square?")
    tab.upload(tmp_path / "mine.png")
    until(lambda: tab.shows(results.answer(networks["vqa"], picture, "what colour is the square?")))


@for_task("vqa")
def test_upload_that_is_no_picture_gets_a_message(tab, tmp_path):
    (tmp_path / "fake.png").write_text("no picture")
    tab.upload(tmp_path / "fake.png")
    until(lambda: "cannot be read as a picture" in tab.messages())


@for_task("vqa")
def test_upload_of_too_many_bytes_gets_a_message(tab, tmp_path):
    (tmp_path / "large.png").write_bytes(bytes(11_000_000))
    tab.upload(tmp_path / "large.png")
    until(lambda: "maximum allowed size" in tab.messages())


@for_task("vqa")
@pytest.mark.parametrize(
    ("text", "message"),
    [("", "write a question"), ("wherefore art", "wherefore art"), ("<img src=x onerror=alert(1)>", "<img src=x")],
)
def test_text_that_says_nothing_gets_a_message(tab, text, message):
    tab.write(text)
    tab.press()
    until(lambda: message in tab.messages())


@for_task("itm")
def test_caption_ranks_the_scenes(tab, networks, examples):
    pictures = [example.picture for example in examples]
    tab.write("a purple square", "caption")
    tab.press("search")
    ranked = results.rank_pictures(
        networks["itm"], networks["itm"].encode_images(pictures), pictures, "a purple square"
    )
    until(lambda: tab.part("found").text.split() == [score for _, score in ranked])


def test_page_asks_no_other_host_for_anything(browser, address):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"}
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith((address, "data:", "blob:", "chrome:"))] == []


def test_page_is_photographed_whole(browser, address, tmp_path):
    photograph(browser, address, tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as picture:
        assert picture.width == 1280
        assert picture.height == browser.execute_script("return document.documentElement.scrollHeight") > 1000
        assert len(picture.convert("RGB").getcolors(maxcolors=picture.width * picture.height)) > 1000


def test_photograph_that_cannot_be_written_is_refused(browser, address, tmp_path):
    with pytest.raises(InputError, match="cannot be written"):
        photograph(browser, address, tmp_path / "none" / "page.png")
