import dataclasses
import math

import pytest

from srgan_tf import UserError, recipes


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
