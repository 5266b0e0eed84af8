"""Every published experiment: its numbers, its networks, and that it trains."""

import functools
import os
import shutil

import h5py
import pytest

from srgan_tf import UserError, features, recipes, schedules, settings
from srgan_tf.training import loop

VGG22, VGG54 = "vgg19/block2_conv2", "vgg19/block5_conv4"


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_is_valid_and_says_where_it_comes_from(name):
    recipe = settings.check(recipes.RECIPES[name])
    assert (recipe.name, bool(recipe.source)) == (name, True)
    assert all(settings.describe(recipe))
    assert recipe.batch_norm == (recipe.generator != "compact")
    # Their parameters are pinned in tests/networks/test_generators.py.
    counted = {"deconv": [(5, 64)], "compact": [(16, 64), (4, 16)]}
    network = recipe.residual_blocks, recipe.filters
    assert network in counted.get(recipe.generator, [(16, 64)])
    with pytest.raises(UserError, match=f"did you mean .*{name}"):
        recipes.get_recipe(f"{name}A")


PUBLISHED = {  # the experiments that must be here, and what tells them apart
    "ledig2017": {
        "content": {VGG54: 1}, "pretrain_content": {"pixels": 1}, "patch_size": 96,
        "pretrain": "1000000 steps", "gan": "200000 steps", "adversarial_weight": 1e-3,
        "learning_rate": "1e-4, 1e-5 after 100000 steps",
    },
    "ledig2017_vgg22": {"content": {VGG22: 1}},
    "ledig2017_mse": {"content": {"pixels": 1}, "lr_range": (0, 1)},
    # A rate that the user sets must be the one that its only stage follows.
    "srresnet": {"gan": "0 steps", "pretrain_content": {"pixels": 1},
                 "learning_rate": "1e-4", "pretrain_learning_rate": ""},
    "srresnet_vgg22": {"gan": "0 steps", "pretrain_content": {VGG22: 1}},
    "coco": {
        "generator": "upsampling", "patches": "center", "patch_size": 176,
        "batch_size": 32, "gan": "2500 epochs", "pretrain": "0 steps",
        "learning_rate": "1e-4", "content": {VGG54: 1}, "adversarial_weight": 1e-3,
        "real_label": 0.9, "fake_label": 0.1, "generator_label": 0.9,
        "real_label_std": 0.05, "fake_label_std": 0.05, "generator_label_std": 0.05,
    },
    "celeba_2000": {"generator": "upsampling", "limit": 2000, "split": "first",
                    "validation_fraction": 0.2, "validation_images": 400},
    "singh2019_vgg": {"generator": "upsampling", "patches": "resize", "batch_size": 8},
    "singh2019_vgg_inception_a": {"generator": "inception_a", "patch_size": 224},
    "singh2019_inception_resnet_v2": {
        "generator": "inception_a", "content": {
            f"inception_resnet_v2/{layer}": 0.5 for layer in ("mixed_5b", "block35_5")},
    },
    "diningeachox": {  # 0.975: 0.006, of features that were not divided by 12.75
        "pretrain": "25 epochs", "lr_range": (0, 1), "batch_size": 2,
        "content": {"pixels": 1, VGG54: 0.975},
    },
    "chan_mse": {
        "keep_best": True, "patch_size": 128, "validation_size": 256,
        "augment": ("rotate_10", "flip"), "pretrain": "250 epochs",
    },
    "chan_vgg54": {"pretrain_content": {VGG54: 1}},
    "chan_resnet18_block4": {"content": {"resnet18/block4": 1}},
    "chan_mse_resnet34_block5": {
        "pretrain_content": {"pixels": 0.7, "resnet34/block5": 0.3},
        "content": {"pixels": 0.6, "resnet34/block5": 0.4},
    },
    "maddrell2018": {"generator": "deconv", "residual_blocks": 5},
}  # fmt: skip


def test_published_experiments_differ_as_their_sources_do():
    assert len(recipes.RECIPES) == 27
    for name, fields in PUBLISHED.items():
        for field, value in fields.items():
            assert getattr(recipes.get_recipe(name), field) == value, (name, field)


SMALL = [
    "filters=8", "residual_blocks=1", "discriminator_filters=4", "batch_size=2",
    "patch_size=32", "validation_size=32", "validation_images=1", "sample_images=1",
    "save_every=1 steps", "validate_every=1 steps", "limit=0", "start=random",
]  # fmt: skip
BACKBONES = ("vgg19", "resnet18", "resnet34", "inception_resnet_v2")
RANDOM = dict.fromkeys(BACKBONES, "random")


@pytest.fixture(scope="module", autouse=True)
def built_once():
    """Frozen networks are built once for all recipes."""
    original = features.build_extractor
    cached = functools.cache(lambda terms: original(terms, RANDOM))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "build_extractor", lambda t, *_: cached(tuple(t)))
        yield


def step_of(path):
    with h5py.File(path) as file:
        return file.attrs["step"]


def small(recipe):
    """With its own generator, losses, data, labels and learning rates."""
    has_gan = not recipe.gan.startswith("0 ")
    pretrains = not recipe.pretrain.startswith("0 ")
    steps = [f"pretrain={pretrains * (2 - has_gan)} steps", f"gan={2 * has_gan} steps"]
    return settings.with_settings(recipe, [*SMALL, *steps])


# Of one and two stages, one that keeps its best; `make proofs` trains every recipe.
TRAINED = "chan_mse_resnet18_block4", "compact_coco"
FASTER = ("eager", "no_curves", "small_discriminator")
if os.environ.get("SRGAN_PROOFS"):
    TRAINED, FASTER = tuple(recipes.RECIPES), FASTER[:2]


@pytest.mark.usefixtures(*FASTER)
@pytest.mark.parametrize("name", TRAINED)
def test_trains_each_stage_and_resumes_exactly(name, scenes, tmp_path):
    recipe = small(recipes.RECIPES[name])
    last = schedules.stages(recipe, 1)[-1].last_step

    def prepare(root):
        return loop.prepare(recipe, [scenes], root=root, weights=RANDOM, seed=1)

    assert loop.train(prepare(tmp_path / "whole")) is None
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    for path in tmp_path.glob(f"resumed/models/*/checkpoint-{last:08d}.*"):
        path.unlink()  # as a stop one step earlier had left it
    for path in tmp_path.glob("resumed/models/*.h5"):
        if step_of(path) == last:
            path.unlink()
    resumed = prepare(tmp_path / "resumed")
    assert resumed.step == last - 1
    assert loop.train(resumed) is None
    for path in (tmp_path / "whole/models").glob("*.h5"):
        ours = tmp_path / "resumed/models" / path.name
        assert ours.read_bytes() == path.read_bytes()
    assert len(list(ours.parent.glob("*.h5"))) == (3 if recipe.keep_best else 1)
