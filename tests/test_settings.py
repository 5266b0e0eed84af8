"""How a recipe's fields are set, checked and described."""

import pytest

from srgan_tf import UserError, recipes, settings


def test_settings_are_typed():
    recipe = settings.with_settings(
        recipes.get_recipe("coco"),
        [
            "batch_size=8", "adversarial_weight=1", "batch_norm=false",
            'content={"pixels": 0.6, "vgg19/block2_conv2": 1}', "augment=flip,turn",
            "lr_range=[0, 1]", "learning_rate=5e-4", "gan=3 steps",
            "deterministic=true", "start=models/a=b.h5",
        ],
    )  # fmt: skip
    assert (recipe.batch_size, recipe.adversarial_weight) == (8, 1.0)
    assert isinstance(recipe.adversarial_weight, float)
    assert recipe.batch_norm is False
    assert recipe.content == {"pixels": 0.6, "vgg19/block2_conv2": 1}
    assert recipe.augment == ("flip", "turn")
    assert recipe.lr_range == (0, 1)
    assert (recipe.deterministic, recipe.start) == ("true", "models/a=b.h5")
    assert (recipe.name, recipe.learning_rate) == ("coco", "5e-4")
    assert recipes.get_recipe("coco").batch_size == 32


@pytest.mark.parametrize(
    ("setting", "subject"),
    [("batchsize=8", "batch_size"), ("name=mine", "name"),
     ("batch_size", "batch_size"), ("batch_size=8.5", "batch_size=8.5.*whole number"),
     ("batch_norm=1", "batch_norm.*true or false"), ("content=vgg", "content.*JSON"),
     ('content={"pixels": -1}', "content.*above 0"),
     ('pretrain_content={"pixels": "a"}', "pretrain_content"),
     ("patch_size=50", "patch_size=50.*multiple of 4"),
     ("margin=81", "margin=81 leaves 14 pixels"),
     ("validation_size=-4", "validation_size"),
     ("patches=middle", "patches=middle.*center"), ("augment=flop", "augment=flop"),
     ("augment=rotate_10", "augment=rotate_10.*patches=random"),
     ("gan=0 steps", "coco trains nothing"), ("save_every=0 steps", "save_every"),
     ("filters=0", "filters=0.*1"),
     ("validation_fraction=1.0", "validation_fraction=1.0.*under 1"),
     ("precision=float64", "precision=float64.*mixed_bfloat16"),
     ("real_label_std=-0.1", "real_label_std"),
     ("adversarial_weight=NaN", "adversarial_weight"),
     ("fake_label=Infinity", "fake_label"), ('lr_range=["black", 1]', "lr_range"),
     ("lr_range=[1, 0]", "lr_range"), ("beta_1=1.0", "beta_1=1.0.*under 1"),
     ("learning_rate=fast", "fast"), ("adversarial_weight=1e400", "finite|number"),
     (f"adversarial_weight=1{'0' * 400}", "number"), ("patch_size=40000", "GiB"),
     (f"batch_size=1{'0' * 4000}", "GiB"),
     (f'content={{"pixels": 1{"0" * 400}}}', "content"),
     (f"lr_range=[0, 1{'0' * 400}]", "lr_range"), ("patch_size=4096", "patch_size"),
     ("batch_size=1000000", "batch_size"), (f"gan=1{'0' * 5000} steps", "duration"),
     ("discriminator_filters=100000", "discriminator_filters")],
)  # fmt: skip
def test_mistaken_settings_are_named(setting, subject):
    with pytest.raises(UserError, match=subject) as error:
        settings.with_settings(recipes.get_recipe("coco"), [setting])
    assert "\n" not in str(error.value)


def test_each_stage_has_its_learning_rate():
    recipe = settings.with_settings(
        recipes.get_recipe("tiny"), ["learning_rate=1e-4", "pretrain_learning_rate="]
    )
    assert (recipe.schedule("pretrain"), recipe.schedule("gan")) == ("1e-4", "1e-4")
    recipe = settings.with_settings(recipe, ["pretrain_learning_rate=1e-3"])
    assert (recipe.schedule("pretrain"), recipe.schedule("gan")) == ("1e-3", "1e-4")


def test_describes_what_a_recipe_does():
    recipe = settings.with_settings(
        recipes.get_recipe("tiny"), ["start=compact", "adversarial_weight=0.5"]
    )
    name, networks, losses, schedule, source = settings.describe(recipe)
    assert (name, source) == ("tiny", recipe.source)
    assert networks == "compact 4x16, started from compact"
    assert losses == "pixels; pixels + 0.5 adversarial"
    assert schedule.count("20 epochs") == 2
