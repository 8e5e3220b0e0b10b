"""Recipes: read, checked, overridden, written and read again."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from tellapart import registry
from tellapart.errors import RecipeError
from tellapart.recipe.groups import LADDER
from tellapart.recipe.load import FOLDER, Recipe, describe, load, load_all, names, parse, text
from tellapart.recipe.schema import Features, Inputs, OptionsModel, Train

NEIGHBORS = {"family": "knn"}
MLP = {"family": "network", "net": "mlp"}


def models_within(model: type[BaseModel]) -> set[type[BaseModel]]:
    """A model and all that its fields hold."""
    found, waiting = set(), [model]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        stack = [info.annotation for info in one.model_fields.values()]
        while stack:
            kind = stack.pop()
            stack += getattr(kind, "__args__", ())
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                waiting.append(kind)
    return found


MODELS = sorted(
    models_within(Recipe).union(
        *(
            models_within(registry.find(k, n).Options)
            for k in registry.KINDS
            if k not in ("loggers", "layouts")
            for n in registry.names(k)
        )
    ),
    key=lambda model: f"{model.__module__}.{model.__qualname__}",
)


def model_name(model) -> str:
    return f"{model.__module__}.{model.__qualname__}"


def test_the_ladder_comes_first_and_every_file_is_listed():
    assert names()[: len(LADDER)] == list(LADDER)
    assert set(names()) == {p.stem for p in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("name", names())
def test_every_recipe_survives_writing_and_reading(name):
    recipe = load(name)
    again = parse(yaml.safe_load(recipe.dump()))
    assert again == recipe and again.dump() == recipe.dump() and again.digest() == recipe.digest()
    assert text(name).startswith("# ")


@pytest.mark.parametrize("name", names())
def test_every_recipe_is_resolved_in_full(name):
    recipe = load(name)
    family = registry.find("classifiers", recipe.classifier.family)
    options = family.options_model(recipe.classifier.options)
    assert set(recipe.classifier.options) == set(options.model_fields)
    for section in ("augment", "features", "train"):
        if section not in family.optional:
            assert (getattr(recipe, section) is not None) == (section in family.sections)


@pytest.mark.parametrize("name", names())
def test_a_resolved_recipe_from_a_file_is_the_same(name, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(load(name).dump(), encoding="utf-8")
    assert load(str(path)) == load(name)


def test_none_survives_where_the_default_is_another(monkeypatch):
    """Dumping must not drop a None that was chosen."""
    from pydantic import Field

    from tellapart.classifiers.knn import Knn

    class Options(Knn.Options):
        """With a default that is not None."""

        most: int | None = Field(default=3, description="test")

    monkeypatch.setattr(Knn, "Options", Options)
    recipe = parse({"classifier": NEIGHBORS | {"most": None}})
    assert parse(yaml.safe_load(recipe.dump())).classifier.options["most"] is None


def test_a_recipe_needs_nothing_but_a_family():
    recipe = parse({"classifier": NEIGHBORS})
    assert recipe.inputs == Inputs() and recipe.seed == 0
    assert recipe.features == Features(descriptors=[{"pixels": {"unit": True}}])
    assert recipe.augment is None and recipe.train is None
    network = parse({"classifier": MLP})
    assert network.train == Train() and network.augment == [] and network.features is None


def test_digests_tell_settings_apart():
    base = load("mlp")
    assert load("mlp", ["seed=1"]).digest() != base.digest() != load("mlp", ["train.epochs=3"]).digest()
    assert load("mlp", ["seed=0"]).digest() == base.digest() and len(base.digest()) == 8


def test_overrides():
    recipe = load("mlp", ["train.epochs=3", "train.optimizer.lr=1e-4", "inputs.size=[8, 9]", "classifier.widths=[5]", "seed=7"])
    assert recipe.train and recipe.train.epochs == 3 and recipe.train.optimizer.lr == 1e-4
    assert recipe.inputs.size == (8, 9) and recipe.seed == 7
    assert recipe.classifier.options["widths"] == [5]
    assert recipe.train.batch == load("mlp").train.batch  # what was not named stays


def test_overrides_of_sections_that_the_file_leaves_out_or_empty(tmp_path):
    path = tmp_path / "r.yaml"
    for train in ("", "train:\n"):
        path.write_text(f"classifier: {{family: network, net: mlp}}\n{train}")
        recipe = load(str(path), ["train.epochs=2", "train.patience="])
        assert recipe.train and recipe.train.epochs == 2 and recipe.train.patience is None


def test_the_later_override_wins():
    assert load("mlp", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(("number", "value"), [("1e-3", 1e-3), ("3E-4", 3e-4), ("+.5", 0.5), ("2", 2.0)])
def test_numbers_as_people_write_them(number, value):
    recipe = load("mlp", [f"train.optimizer.lr={number}"])
    assert recipe.train and recipe.train.optimizer.lr == value


@pytest.mark.parametrize("spelling", ["metadata", '"metadata"', "'metadata'"])
def test_the_name_of_a_family_needs_no_quotes(tmp_path, spelling):
    path = tmp_path / "r.yaml"
    path.write_text(f"classifier: {{family: {spelling}}}")
    assert load(str(path)) == load("metadata")


def test_extends_merges_mappings_and_replaces_lists(tmp_path):
    (tmp_path / "base.yaml").write_text(
        "inputs: {size: 16, resize: crop}\naugment: [{flip: {}}, {rotate90: {}}]\n"
        "classifier: {family: network, net: mlp, widths: [8, 8]}\ntrain: {epochs: 9, optimizer: {name: sgd, lr: 0.5}}\n"
    )
    change = (
        "extends: {}\ninputs: {{size: 32}}\naugment: [{{flip: {{}}}}]\n"
        "classifier: {{widths: [4]}}\ntrain: {{optimizer: {{lr: 0.1}}}}\n"
    )
    mine = tmp_path / "mine.yaml"
    for base in ("base", "base.yaml"):
        mine.write_text(change.format(base))
        recipe = load(str(mine))
        assert recipe.inputs.size == 32 and recipe.inputs.resize == "crop"
        assert recipe.augment is not None and [list(a) for a in recipe.augment] == [["flip"]]
        assert recipe.classifier.options["widths"] == [4] and recipe.classifier.options["net"] == "mlp"
        assert recipe.train and (recipe.train.epochs, recipe.train.optimizer.name, recipe.train.optimizer.lr) == (9, "sgd", 0.1)


def test_extends_a_packaged_recipe(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: knn\nclassifier: {k: 1}")
    assert load(str(path)) == load("knn", ["classifier.k=1"])
    assert load(str(path), ["classifier.k=2"]).classifier.options["k"] == 2


def test_extends_one_level_only(tmp_path):
    (tmp_path / "a.yaml").write_text("classifier: {family: knn}")
    (tmp_path / "b.yaml").write_text("extends: a")
    (tmp_path / "c.yaml").write_text("extends: b")
    assert load(str(tmp_path / "b.yaml")) == parse({"classifier": NEIGHBORS})
    with pytest.raises(RecipeError, match="c.yaml: extends b, which extends another: only one level is allowed"):
        load(str(tmp_path / "c.yaml"))


def test_extends_nothing_that_exists(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: kn")
    with pytest.raises(RecipeError, match="unknown recipe 'kn': did you mean 'knn'"):
        load(str(tmp_path / "a.yaml"))


def test_a_bom_is_no_part_of_the_recipe(tmp_path):
    path = tmp_path / "r.yml"
    path.write_text("classifier: {family: knn}", encoding="utf-8-sig")
    assert load(str(path)) == parse({"classifier": NEIGHBORS})


BAD = [
    ({}, "recipe: classifier: is required"),
    ({"classifier": {}}, "recipe: classifier.family: is required"),
    ({"classifier": NEIGHBORS, "trian": {}}, "recipe: trian: unknown section 'trian': did you mean 'train'?"),
    ({"classifier": NEIGHBORS, "inputs": {"sise": 3}}, "recipe: inputs.sise: unknown option 'sise': did you mean 'size'"),
    ({"classifier": NEIGHBORS, "inputs": {"size": 0}}, "recipe: inputs.size: expected pixels: one number"),
    ({"classifier": NEIGHBORS, "inputs": {"size": [0, 3]}}, "recipe: inputs.size: expected pixels: one number"),
    ({"classifier": NEIGHBORS, "inputs": {"size": "big"}}, "or auto: the data's own, within `limit`; found 'big'"),
    ({"classifier": NEIGHBORS, "inputs": {"resize": "fit"}}, "recipe: inputs.resize: expected 'stretch', 'crop'"),
    ({"classifier": NEIGHBORS, "seed": -1}, "recipe: seed: expected a number of at least 0, found -1"),
    ({"classifier": NEIGHBORS, "seed": 1.5}, "recipe: seed: "),
    ({"classifier": NEIGHBORS, 1: 2}, "recipe: 1: Keys should be strings"),
    ({"classifier": "knn"}, "recipe: classifier: expected a mapping"),
    ({"classifier": {"family": "knnn"}}, "recipe: unknown classifier family 'knnn': did you mean 'knn'?"),
    ({"classifier": NEIGHBORS | {"kk": 3}}, "recipe: classifier: kk: unknown option 'kk': did you mean 'k'?"),
    ({"classifier": NEIGHBORS | {"k": 0}}, "recipe: classifier: k: expected a number of at least 1, found 0"),
    (
        {"classifier": NEIGHBORS, "train": {}},
        "the family 'knn' does not use the section 'train'; it takes classifier, features",
    ),
    ({"classifier": NEIGHBORS, "augment": []}, "the family 'knn' does not use the section 'augment'"),
    (
        {"classifier": {"family": "metadata"}, "features": {}},
        "the family 'metadata' does not use the section 'features'; it takes classifier, inputs, seed",
    ),
    ({"classifier": {"family": "metadata"}, "features": {}}, "it takes classifier, inputs, seed"),
    ({"classifier": {"family": "network"}}, "recipe: classifier: net: is required"),
    ({"classifier": {"family": "network", "net": "mpl"}}, "recipe: unknown net 'mpl': did you mean 'mlp'?"),
    ({"classifier": {"family": "network", "net": 3}}, "recipe: classifier: net: expected text, found 3"),
    (
        {"classifier": NEIGHBORS, "features": {"descriptors": [{"pixel": {}}]}},
        "recipe: features: unknown descriptor 'pixel': did you mean 'pixels'",
    ),
    (
        {"classifier": NEIGHBORS, "features": {"descriptors": ["pixels"]}},
        "recipe: features.descriptors.0: expected a mapping",
    ),
    (
        {"classifier": NEIGHBORS, "features": {"descriptors": [{"pixels": {}, "spectrum": {}}]}},
        "recipe: features: expected one {name: options} an entry",
    ),
    ({"classifier": NEIGHBORS, "features": {"descriptors": [{}]}}, "recipe: features: expected one {name: options} an entry"),
    (
        {"classifier": NEIGHBORS, "features": {"descriptors": [{"spectrum": {"blok": 1}}]}},
        "features: spectrum: blok: unknown option 'blok': did you mean 'block'",
    ),
    ({"classifier": MLP, "augment": [{"flipp": {}}]}, "recipe: augment: unknown augmentation 'flipp': did you mean 'flip'"),
    (
        {"classifier": MLP, "augment": [{"flip": {"horizontal": 2}}]},
        "augment: flip: horizontal: expected a number of at most 1, found 2",
    ),
    (
        {"classifier": MLP | {"views": ["flp"]}},
        "classifier: views.0: expected 'as is', 'flip', 'upside down', 'turned', 'five crops', 'closer' or 'farther'",
    ),
    ({"classifier": MLP, "augment": "flip"}, "recipe: augment: expected a list, found 'flip'"),
    (
        {"classifier": MLP, "train": {"optimizer": {"name": "sdg"}}},
        "recipe: train.optimizer.name: expected 'sgd', 'adam'",
    ),
    (
        {"classifier": MLP, "train": {"optimizer": {"rate": 1}}},
        "recipe: train.optimizer.rate: unknown option 'rate': expected one of lr",
    ),
    ({"classifier": MLP, "train": {"optimizer": {"lr": float("inf")}}}, "train.optimizer.lr: expected a finite number"),
    ({"classifier": MLP, "train": {"optimizer": {"lr": float("nan")}}}, "train.optimizer.lr: "),
    ({"classifier": MLP, "train": {"epochs": 0}}, "train.epochs: expected a number of at least 1"),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=[m for _, m in BAD])
def test_what_is_wrong_is_said_in_words(content, message):
    with pytest.raises(RecipeError) as caught:
        parse(content)
    assert message in caught.value.message
    assert "pydantic" not in caught.value.message and caught.value.exit_code == 4


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(RecipeError) as caught:
        parse({"classifier": NEIGHBORS, "seed": -1, "inputs": {"size": 0, "limit": 0}})
    assert len(caught.value.message.splitlines()) == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train", "-s train: expected SECTION.OPTION=VALUE, for example train.epochs=3"),
        ("=3", "-s =3: expected SECTION.OPTION=VALUE"),
        ("train.epochs=[", "-s train.epochs=[: not valid YAML"),
        ("train.epochs=many", "mlp: train.epochs: expected an integer"),
        ("train.epoch=3", "mlp: train.epoch: unknown option 'epoch': did you mean 'epochs'"),
        ("trian.epochs=3", "mlp: trian: unknown section 'trian': did you mean 'train'"),
        ("train=3", "mlp: train: expected a mapping"),
        ("train.epochs.most=3", "-s train.epochs.most=…: epochs is a value, not a section"),
        ("augment.0.flip=1", "-s augment.0.flip=…: augment is a list of 0: expected a place from 0, found '0'"),
        ("classifier.family=svm", "mlp: the family 'svm' does not use the section 'augment'"),
        ("extends=cnn-small", "unknown section 'extends'"),
    ],
)
def test_bad_overrides(override, message):
    with pytest.raises(RecipeError) as caught:
        load("mlp", ["augment=[]", "train.epochs=2", override])
    assert message in caught.value.message


def test_an_override_reaches_into_a_list():
    found = load("lite0-probe", ["features.descriptors.0.embedding.size=96"])
    assert found.features.descriptors[0]["embedding"]["size"] == 96
    with pytest.raises(RecipeError, match="descriptors is a list of 1: expected a place from 0, found '1'"):
        load("lite0-probe", ["features.descriptors.1.embedding.size=96"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"classifier: {family: knn", "not valid YAML"),
        (b"a: b: c", "not valid YAML"),
        (b"- a\n- b", "a recipe is a YAML mapping with the sections inputs, augment"),
        (b"just words", "a recipe is a YAML mapping"),
        (b"", "a recipe is a YAML mapping"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"!!python/object/apply:os.system [echo]", "not valid YAML"),
        (b"classifier: {family: knn, k: 0}", "classifier: k: expected"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load(str(path))
    assert message in caught.value.message and "bad.yaml" in caught.value.message


def test_unknown_recipes():
    with pytest.raises(RecipeError, match="unknown recipe 'metadat': did you mean 'metadata'") as caught:
        load("metadat")
    assert "tellapart recipes" in (caught.value.hint or "")
    with pytest.raises(RecipeError, match="nowhere.yaml: cannot be read"):
        load("nowhere.yaml")


def test_several_recipes_take_the_overrides_they_have_a_use_for():
    found = load_all({"metadata": "metadata", "mlp": "mlp", "n": "knn"}, ["train.epochs=2", "classifier.k=3", "seed=5"])
    assert [recipe.seed for recipe in found.values()] == [5, 5, 5]
    assert found["mlp"].train and found["mlp"].train.epochs == 2
    assert found["n"].classifier.options["k"] == 3


@pytest.mark.parametrize("override", ["features.pca=3", "classifier.kernel=rbf", "trian.epochs=1"])
def test_an_override_that_nobody_has_a_use_for_is_an_error(override):
    with pytest.raises(RecipeError, match="none of metadata, mlp has such a setting"):
        load_all({"metadata": "metadata", "mlp": "mlp"}, [override])


def test_a_misspelt_option_of_a_section_in_use_is_an_error():
    with pytest.raises(RecipeError, match="unknown option 'epoch': did you mean 'epochs'"):
        load_all({"metadata": "metadata", "mlp": "mlp"}, ["train.epoch=3"])


@pytest.mark.parametrize("model", MODELS, ids=model_name)
def test_every_option_is_described(model):
    assert (model.__doc__ or "").strip()
    for option, default, description in describe(model):
        assert len(description) >= 5, f"{option} of {model_name(model)} has no description"
        assert default


@pytest.mark.parametrize("model", MODELS, ids=model_name)
def test_options_are_exported_as_json_schema(model):
    schema = model.model_json_schema()
    json.dumps(schema)
    assert schema["type"] == "object"
    if issubclass(model, OptionsModel):
        assert schema["additionalProperties"] is False


@pytest.mark.parametrize("model", MODELS, ids=model_name)
def test_options_do_not_change(model):
    assert model.model_config["frozen"]


plain = st.none() | st.booleans() | st.integers(-3, 300) | st.floats() | st.text(max_size=5)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=6
)
OPTIONS = ["size", "limit", "mode", "resize", "epochs", "optimizer", "descriptors", "pca", "family", "k", "net", "stages", "x"]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*Recipe.model_fields, "x"]), values | st.dictionaries(st.sampled_from(OPTIONS), values, max_size=4)
    ),
    st.sampled_from(["knn", "network", "metadata", "svm"]),
)
def test_nonsense_is_a_recipe_error_or_a_recipe_that_survives(content, family):
    if isinstance(content.get("classifier"), dict):
        content["classifier"] |= {"family": family}
    try:
        recipe = parse(content)
    except RecipeError:
        return
    assert parse(yaml.safe_load(recipe.dump())) == recipe


@pytest.mark.parametrize(("written", "meant"), [("16", "16"), ("32", "32"), ("'16'", "16"), ("bf16", "bf16")])
def test_precision_is_a_name_however_yaml_reads_it(written, meant):
    found = load("mlp", [f"train.precision={written}"]).train
    assert found is not None and found.precision == meant
