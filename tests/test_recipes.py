import dataclasses
import functools
import math
import os
import shutil

import h5py
import pytest
import tensorflow as tf

from srgan_tf import UserError, features, networks, recipes, steps, train


def test_upsampler_recipes_are_as_published():
    for name in ("coco", "celeba"):
        recipe = recipes.get_recipe(name)
        assert (recipe.generator, recipe.crop, recipe.high_size) == (
            "upsampling",
            "center",
            176,
        )
        assert (recipe.batch_size, recipe.gan) == (32, "2500 epochs")
        assert (recipe.learning_rate, recipe.epsilon) == ("1e-4", 1e-8)
        assert (recipe.real_label, recipe.fake_label) == (0.9, 0.1)
        assert recipe.generator_label == 0.9
        assert {recipe.real_label_spread, recipe.generator_label_spread} == {0.05}
        assert (recipe.sample_every, recipe.save_every) == ("1 epoch", "25 epochs")
        assert recipe.content == {"vgg19/block5_conv4": 1.0}
        assert recipe.adversarial_weight == 1e-3


def test_ledig_schedule():
    recipe = recipes.get_recipe("ledig2017")
    pretrain, gan = recipes.stages(recipe, 31)
    assert (pretrain.steps, gan.first_step, gan.steps) == (10**6, 10**6, 2 * 10**5)
    rate = recipe.learning_rate
    assert recipes.learning_rate_at(rate, 99_999, gan.steps) == 1e-4
    assert recipes.learning_rate_at(rate, 100_000, gan.steps) == 1e-5
    assert recipe.pretrain_content == {"pixels": 1.0}
    alone = recipes.get_recipe("srresnet")
    # A rate that the user sets must be the one that its only stage follows.
    assert (alone.learning_rate, alone.pretrain_learning_rate) == ("1e-4", "")


def test_stages_number_epochs_through():
    recipe = recipes.with_settings(
        recipes.get_recipe("tiny"), ["pretrain=7 steps", "gan=2 epochs"]
    )
    pretrain, gan = recipes.stages(recipe, 3)
    assert [pretrain.position(step) for step in range(7)] == [
        (1, 0),
        (1, 1),
        (1, 2),
        (2, 0),
        (2, 1),
        (2, 2),
        (3, 0),
    ]
    assert [step for step in range(7) if pretrain.ends_epoch(step)] == [2, 5, 6]
    assert gan.position(7) == (4, 0)
    assert (gan.last_step, gan.ends_epoch(12)) == (13, True)


def test_durations():
    assert recipes.duration_steps("200 steps", 7) == 200
    assert recipes.duration_steps("1 epoch", 7) == 7
    assert recipes.duration_steps("1,000 epochs", 7) == 7000
    for text in ("200", "two epochs", "-1 steps", "1.5 epochs"):
        with pytest.raises(UserError, match="no duration"):
            recipes.duration_steps(text, 7)


def test_learning_rates():
    assert recipes.learning_rate_at("5e-4", 3, 10) == 5e-4
    falling = [recipes.learning_rate_at("5e-4 to 5e-5", s, 11) for s in (0, 5, 10)]
    assert falling == pytest.approx([5e-4, 2.75e-4, 5e-5])
    steps = "1e-3, 1e-4 after 10 steps, 1e-5 after 20 steps"
    rates = [recipes.learning_rate_at(steps, s, 30) for s in (9, 10, 20)]
    assert rates == [1e-3, 1e-4, 1e-5]
    for text in ("fast", "0", "1e-3, 1e-4", "1e-3 to 0", "1e-3,", "2", "nan",
                 "1e-3, 5 after 9 steps, 1e-4 after 20 steps"):  # fmt: skip
        with pytest.raises(UserError, match="not understood"):
            recipes.learning_rate_at(text, 0, 30)


def test_settings_are_typed():
    recipe = recipes.with_settings(
        recipes.get_recipe("coco"),
        [
            "batch_size=8", "adversarial_weight=1", "batch_norm=false",
            'content={"pixels": 0.6, "vgg19/block2_conv2": 1}',
            "augment=flip,turn", "low_range=[0, 1]", "learning_rate=5e-4",
            "gan=3 steps",
        ],
    )  # fmt: skip
    assert (recipe.batch_size, recipe.adversarial_weight) == (8, 1.0)
    assert recipe.batch_norm is False
    assert recipe.content == {"pixels": 0.6, "vgg19/block2_conv2": 1}
    assert recipe.augment == ("flip", "turn")
    assert recipe.low_range == (0, 1)
    assert recipe.name == "coco"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("batchsize=8", "did you mean batch_size"),
        ("batch_size=8.5", "whole number"),
        ("batch_size=true", "whole number"),
        ("batch_norm=1", "true or false"),
        ("content=vgg", "JSON"),
        ('content={"pixels": -1}', "weights above 0"),
        ("batch_size", "lacks a value"),
        ("name=mine", "no setting name"),
        ("high_size=50", "multiple of 4"),
        ("crop=middle", "center, random, resize"),
        ("batch_size=0", "at least 1"),
        ("augment=flop", "flip, turn, rotate_10"),
        ("augment=rotate_10", "needs crop=random, not center"),
        ("gan=0 steps", "trains nothing"),
        ("save_every=0 steps", "at least 1"),
        ("filters=0", "at least 1"),
        ("validate_fraction=1.0", "between 0 and 1"),
        ("low_range=[1, 0]", "lowest, highest"),
        ("low_range=0,1", "lowest, highest"),
        ('high_range=["black", 1]', "lowest, highest"),
        ("precision=float64", "mixed_bfloat16"),
        ("gan=_ steps", "no duration"),
        ("limit=-1", "limit=-1: it must be 0 or more"),
        ("real_label_spread=-0.1", "0 or more"),
        ("adversarial_weight=NaN", "0 or more"),
        ("beta_1=1.0", "under 1"),
        ("epsilon=0", "between 0 and 1"),
    ],
)
def test_mistaken_settings_are_named(setting, words):
    recipe = recipes.get_recipe("coco")
    with pytest.raises(UserError, match=words) as error:
        recipes.with_settings(recipe, [setting])
    assert "\n" not in str(error.value)


def test_unknown_recipe_names_the_nearest():
    with pytest.raises(UserError, match="did you mean celeba"):
        recipes.get_recipe("celebA")


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_valid_and_says_where_it_comes_from(name):
    recipe = recipes.check(recipes.RECIPES[name])
    assert recipe.name == name
    assert recipe.source
    assert all(recipes.describe(recipe))
    assert all(
        not isinstance(value, float) or math.isfinite(value)
        for value in dataclasses.astuple(recipe)
    )


PUBLISHED = {  # the experiments that must be here, and what tells them apart
    "ledig2017": {"content": {"vgg19/block5_conv4": 1}},
    "ledig2017_vgg22": {"content": {"vgg19/block2_conv2": 1}},
    "ledig2017_mse": {"content": {"pixels": 1}, "low_range": (0, 1)},
    "srresnet": {"gan": "0 steps", "pretrain_content": {"pixels": 1}},
    "srresnet_vgg22": {"gan": "0 steps", "pretrain_content": {"vgg19/block2_conv2": 1}},
    "coco_2000": {"limit": 2000, "split": "first", "validate_fraction": 0.2},
    "celeba_2000": {"limit": 2000, "split": "first", "validate_fraction": 0.2},
    "singh2019_vgg": {"generator": "upsampling", "crop": "resize", "batch_size": 8},
    "singh2019_vgg_inception_a": {"generator": "inception_a", "high_size": 224},
    "singh2019_inception_resnet_v2": {
        "content": {
            "inception_resnet_v2/mixed_5b": 0.5,
            "inception_resnet_v2/block35_5": 0.5,
        },
        "generator": "inception_a",
    },
    "diningeachox": {
        "pretrain": "25 epochs", "low_range": (0, 1), "high_range": (-1, 1),
        "content": {"pixels": 1, "vgg19/block5_conv4": 0.006}, "batch_size": 2,
        "gan": "200000 steps", "learning_rate": "1e-4, 1e-5 after 100000 steps",
    },
    "chan_mse": {
        "keep_best": True, "high_size": 128, "validate_size": 256,
        "augment": ("rotate_10", "flip"), "pretrain": "250 epochs",
    },
    "chan_vgg54": {"pretrain_content": {"vgg19/block5_conv4": 1}},
    "chan_resnet18_block4": {"content": {"resnet18/block4": 1}},
    "chan_resnet34_block3": {"content": {"resnet34/block3": 1}},
    "chan_mse_resnet34_block5": {
        "pretrain_content": {"pixels": 0.7, "resnet34/block5": 0.3},
        "content": {"pixels": 0.6, "resnet34/block5": 0.4},
    },
    "maddrell2018": {"generator": "deconv", "residual_blocks": 5},
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_experiments_differ_as_their_sources_do(name):
    recipe = recipes.get_recipe(name)
    for field, value in PUBLISHED[name].items():
        assert getattr(recipe, field) == value, field


# Trainable parameters: of a generator's settings, of a discriminator's size.
GENERATORS = {
    ("srresnet", 16, 64): 1_550_659,
    ("upsampling", 16, 64): 2_039_555,  # UpSampler's and Singh's, goldens.md
    ("inception_a", 16, 64): 1_943_299,
    ("deconv", 5, 64): 542_339,
    ("srresnet", 4, 16): 47_347,
}
DISCRIMINATORS = {
    (64, 16): 819_249,
    (96, 64): 23_565_505,
    (128, 64): 38_245_569,
    (176, 64): 68_129_985,  # UpSampler 2019, goldens.md
    (224, 64): 107_451_585,  # Singh 2019, goldens.md
}


def parameters(network):
    return sum(math.prod(variable.shape) for variable in network.trainable_variables)


@functools.cache
def generator_parameters(architecture, blocks, filters, batch_norm):
    settings = networks.GeneratorSettings(architecture, blocks, filters, batch_norm)
    return parameters(networks.build_generator(settings))


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_builds_with_the_pinned_parameters(name):
    recipe = recipes.RECIPES[name]
    generator = (recipe.generator, recipe.residual_blocks, recipe.filters)
    assert generator_parameters(*generator, recipe.batch_norm) == GENERATORS[generator]
    # The discriminators themselves are counted in test_networks.
    assert (recipe.high_size, recipe.discriminator_filters) in DISCRIMINATORS


@pytest.mark.parametrize("size", [(64, 16), (96, 64), (128, 64)])  # test_networks: more
def test_discriminators_have_the_pinned_parameters(size):
    assert parameters(networks.build_discriminator(*size)) == DISCRIMINATORS[size]


SMALL = [
    "filters=8", "residual_blocks=1", "discriminator_filters=4", "batch_size=2",
    "high_size=32", "validate_size=32", "validate_images=1",
    "sample_images=1", "save_every=1 steps", "validate_every=1 steps", "limit=0",
]  # fmt: skip
RANDOM = dict.fromkeys(
    ("vgg19", "resnet18", "resnet34", "inception_resnet_v2"), "random"
)


@pytest.fixture(scope="module")
def extractor():
    """features.build_extractor, frozen networks built once for all recipes."""
    built, original = {}, features.build_extractor

    def build(terms, weights):
        key = tuple(terms)
        if key not in built:
            built[key] = original(terms, weights)
        return built[key]

    return build


def saved(path):
    """The settings in a generator's file."""
    with h5py.File(path) as file:
        return dict(file.attrs)


def small(recipe):
    """With its own generator, losses, data, labels and learning rates."""
    settings = [*SMALL]
    has_gan = not recipe.gan.startswith("0 ")
    if not recipe.pretrain.startswith("0 "):
        settings.append("pretrain=1 steps" if has_gan else "pretrain=2 steps")
    settings += ["gan=2 steps"] * has_gan
    return recipes.with_settings(recipe, settings)


def distinct(key):
    """Names of recipes that differ, made small, in more than key looks past."""
    found = {}
    for recipe in recipes.RECIPES.values():
        settings = dataclasses.replace(small(recipe), name="", source="")
        found.setdefault(repr(key(settings)), recipe.name)
    return list(found.values())


def by_networks(recipe):
    """Without weights, layers, and terms of pixels: test_losses and test_features."""
    fields = ("pretrain_content", "content")
    terms = {field: [t for t in getattr(recipe, field) if "/" in t] for field in fields}
    networks = {
        field: sorted({term.partition("/")[0] for term in terms[field]})
        for field in fields
    }
    return dataclasses.replace(recipe, **networks)


def by_state(recipe):
    """Without what has no state: frozen features, and which images validate."""
    return dataclasses.replace(
        recipe, content={}, pretrain_content={}, split="", validate_fraction=0
    )


# `make proofs` trains and resumes every recipe.
ALL = os.environ.get("SRGAN_PROOFS")
TRAINED = list(recipes.RECIPES) if ALL else distinct(by_networks)
RESUMED = TRAINED if ALL else distinct(by_state)


@pytest.mark.parametrize("name", TRAINED)
def test_trains_each_stage_and_resumes_exactly(
    name, scenes, tmp_path, extractor, monkeypatch, no_curves
):
    recipe = small(recipes.RECIPES[name])
    last = recipes.stages(recipe, 1)[-1].last_step

    def run(root):
        return train.Run(recipe, [scenes], root=root, weights=RANDOM, seed=1)

    monkeypatch.setattr(steps.features, "build_extractor", extractor)
    tf.config.run_functions_eagerly(True)
    try:
        assert run(tmp_path / "whole").train() is None
        assert saved(tmp_path / f"whole/models/{name}.h5")["recipe"] == name
        if name not in RESUMED:
            return
        shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
        for path in tmp_path.glob(f"resumed/models/*/checkpoint-{last:08d}.*"):
            path.unlink()  # as a stop one step earlier had left it
        for path in tmp_path.glob("resumed/models/*.h5"):
            if saved(path)["step"] == last:
                path.unlink()
        resumed = run(tmp_path / "resumed")
        assert resumed.first_step == last - 1
        assert resumed.train() is None
    finally:
        tf.config.run_functions_eagerly(False)
    kept = [f"models/{name}.h5"]
    if recipe.keep_best:
        kept += [f"models/{name}.best_{measure}.h5" for measure in ("psnr", "ssim")]
    for file in kept:
        ours, theirs = (tmp_path / root / file for root in ("resumed", "whole"))
        assert ours.read_bytes() == theirs.read_bytes()
