"""Genotypes and spaces read and write what they should, and say plainly what is wrong with the rest."""

import json
import random
import subprocess
import sys

import pytest

from mmnas_hf.errors import InputError
from mmnas_hf.genotype import (
    DECODER_CANDIDATES,
    ENCODER_CANDIDATES,
    LETTERS,
    PUBLISHED,
    Genotype,
    SearchSpace,
    add_letter,
    mcan,
    operation_named,
    repeat_pattern,
)

EVERY_LETTER = "".join(LETTERS.values())
FORMS = ["SF|SGF", "S|S", "|RGF", f"FS|{EVERY_LETTER}", *map(str, PUBLISHED.values())]

every_form = pytest.mark.parametrize("form", FORMS)


# Reading and writing


@every_form
def test_a_short_form_reads_back_as_it_was(form):
    assert str(Genotype.parse(form)) == form


@every_form
def test_a_saved_genotype_loads_as_it_was(form, tmp_path):
    Genotype.parse(form).save(tmp_path / "genotype.json")
    assert Genotype.load(tmp_path / "genotype.json") == Genotype.parse(form)


@every_form
def test_a_dictionary_reads_back_as_it_was(form):
    genotype = Genotype.parse(form)
    assert Genotype.from_dict(json.loads(json.dumps(genotype.to_dict()))) == genotype


@pytest.mark.parametrize(("name", "letter"), LETTERS.items())
def test_names_and_letters_mean_the_same_operation(name, letter):
    assert operation_named(letter) == operation_named(name) == name


def test_a_genotype_may_be_made_of_letters_or_names():
    assert Genotype(("S", "feed_forward"), ("R",)) == Genotype.parse("SF|R")


def test_blanks_around_a_short_form_do_not_matter():
    assert Genotype.parse(" SF|SGF\n") == Genotype.parse("SF|SGF")


def original_file(*genotypes):
    """The original's architecture file with these short forms in its epochs."""
    epochs = {}
    for number, form in enumerate(genotypes):
        genotype = Genotype.parse(form)
        sides = {"enc": genotype.encoder, "dec": genotype.decoder}
        epochs[f"epoch{number}"] = {side: [[name] for name in names] for side, names in sides.items()}
    return epochs


def test_the_originals_file_reads():
    assert str(Genotype.from_dict(original_file("SF|SGF"))) == "SF|SGF"


def test_of_the_originals_epochs_the_last_counts_in_order_of_number():
    # By letters epoch9 would come after epoch10.
    assert str(Genotype.from_dict(original_file(*["S|S"] * 10, "SF|SGF"))) == "SF|SGF"


PUBLISHED_FORMS = {
    "mmnas-vqa": "SSSSFFFFSFFF|GGFFGFRGFGRFRSFRGF",
    "mmnas-vgd": "SFFSFFFFFFFS|GGGGGGFGRRGFRGGRGR",
    "mmnas-itm": "SSFFFSFSFFFF|SGGRSGRGGGGFGGRSGR",
    "mcan": "SFSFSFSFSFSF|SGFSGFSGFSGFSGFSGF",
}


def test_the_published_genotypes_are_those_of_the_paper():
    assert {name: str(genotype) for name, genotype in PUBLISHED.items()} == PUBLISHED_FORMS


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_load_by_name(name):
    assert Genotype.load(name) == PUBLISHED[name]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_genotypes_are_in_the_published_space(name):
    SearchSpace.chain().check(PUBLISHED[name])


def test_mcans_pattern_fits_any_depth():
    assert str(mcan(3, 5)) == "SFS|SGFSG"


def test_a_pattern_repeats_over_each_side():
    assert str(repeat_pattern("SF", "RGF", 3, 4)) == "SFS|RGFR"


# Fingerprints


def test_a_fingerprint_does_not_change_between_releases():
    assert PUBLISHED["mmnas-vqa"].fingerprint == "9d3c18b7f223"


def test_different_genotypes_have_different_fingerprints():
    genotypes = [Genotype.parse(form) for form in ("SF|SGF", "FS|SGF", "SF|SG", "S|FSGF", "SF|SGR", "SFS|GF")]
    assert len({genotype.fingerprint for genotype in genotypes}) == len(genotypes)


# Paths and spaces


def test_a_path_opens_each_nodes_operation_encoder_first():
    assert Genotype.parse("SF|G").as_path() == [{"self_att_64": 1.0}, {"feed_forward": 1.0}, {"guided_att_64": 1.0}]


@every_form
def test_a_genotype_is_the_only_point_of_its_own_space(form):
    space = Genotype.parse(form).as_space()
    assert space.size == 1
    assert space.sample(random.Random(0)) == Genotype.parse(form)


def test_the_default_space_is_the_published_one():
    space = SearchSpace.chain()
    assert space == SearchSpace((ENCODER_CANDIDATES,) * 12, (DECODER_CANDIDATES,) * 18)
    assert space.size == 2**12 * 4**18


def test_a_space_reads_back_as_it_was_written():
    space = SearchSpace((("self_att_64",),), (("feed_forward", "identity"), ("guided_att_64",)))
    assert SearchSpace.from_dict(json.loads(json.dumps(space.to_dict()))) == space


def test_a_spaces_operations_come_in_order_of_first_appearance():
    space = SearchSpace((("F", "S"),), (("R", "S"),))
    assert space.operations == ("feed_forward", "self_att_64", "rel_self_att_64")


def test_sampling_with_one_seed_gives_one_sequence():
    drawn = [[SearchSpace.chain().sample(generator) for _ in range(3)] for generator in map(random.Random, (7, 7))]
    assert drawn[0] == drawn[1]


def test_sampling_with_different_seeds_differs():
    assert len({SearchSpace.chain().sample(random.Random(seed)) for seed in range(20)}) == 20


def test_samples_are_points_of_the_space_and_reach_all_of_it():
    space, generator = SearchSpace.chain(1, 1), random.Random(0)
    drawn = {space.sample(generator) for _ in range(200)}
    assert len(drawn) == space.size
    assert all(space.check(genotype) is None for genotype in drawn)


# Errors

WRONG_FORMS = {
    "SX|S": "unknown operation 'X'; known: S=self_att_64",
    "SFSGF": "has no '|' between encoder and decoder",
    "SG|S": "guided_att_64 in the encoder",
    "SF|": "at least one decoder node",
}


@pytest.mark.parametrize(("form", "message"), WRONG_FORMS.items())
def test_a_wrong_short_form_raises(form, message):
    with pytest.raises(InputError) as error:
        Genotype.parse(form)
    assert message in str(error.value)


def test_a_file_that_is_not_there_raises_and_tells_what_would_do():
    with pytest.raises(InputError, match=r"no genotype 'nowhere\.json'; give a file, .*, or: mmnas-vqa"):
        Genotype.load("nowhere.json")


WRONG_FILES = ["{}", "[]", "3", "null", "no JSON", '{"encoder": ["S"]}', '{"encoder": 1, "decoder": 2}']
WRONG_FILES += ['{"epoch0": {}}', '{"epoch0": {"enc": [], "dec": [[]]}}', '{"encoder": ["S"], "decoder": ["Q"]}']


@pytest.mark.parametrize("content", WRONG_FILES)
def test_a_file_without_a_genotype_raises_and_names_the_file(content, tmp_path):
    path = tmp_path / "genotype.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"genotype\.json holds no genotype"):
        Genotype.load(path)


MISFITS = {
    "SF|SGF": "has 3 decoder nodes; the space has 2",
    "S|SG": "has 1 encoder nodes; the space has 2",
    "SF|SD": "'signed_rel_self_att_64' is no candidate of decoder node 1; valid: self_att_64, rel_self_att_64",
}


@pytest.mark.parametrize(("form", "message"), MISFITS.items())
def test_a_genotype_outside_a_space_raises(form, message):
    with pytest.raises(InputError) as error:
        SearchSpace.chain(2, 2).check(Genotype.parse(form))
    assert message in str(error.value)


WRONG_SPACES = [
    (((),), (("S",),), "at least one"),
    ((("S", "S"),), (("S",),), "each only once"),
    ((("S", "self_att_64"),), (("S",),), "each only once"),
    ((("G",),), (("S",),), "guided_att_64 in the encoder"),
    ((("S",),), (), "at least one decoder node"),
    ((("S",),), (("magic",),), "unknown operation 'magic'"),
]


@pytest.mark.parametrize(("encoder", "decoder", "message"), WRONG_SPACES)
def test_a_wrong_space_raises(encoder, decoder, message):
    with pytest.raises(InputError, match=message):
        SearchSpace(encoder, decoder)


@pytest.mark.parametrize(("name", "letter"), [("new", "S"), ("self_att_64", "Z"), ("new", ""), ("new", "XY")])
def test_a_letter_that_is_taken_or_none_raises(name, letter):
    before = dict(LETTERS)
    with pytest.raises(InputError, match="taken or not one letter"):
        add_letter(name, letter)
    assert before == LETTERS


@pytest.mark.parametrize("letter", ["|", " "])
def test_a_letter_that_short_forms_cannot_hold_raises(letter):
    with pytest.raises(InputError):
        add_letter("new", letter)


@pytest.fixture(autouse=True)
def letters():
    """Forget letters that a test has added."""
    before = dict(LETTERS)
    yield
    LETTERS.clear()
    LETTERS.update(before)


def test_importing_genotypes_does_not_import_torch():
    code = "import sys, mmnas_hf.genotype; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
