"""Recipes: every number of every experiment. Each published variant has a name here.

A line beside each thing that a source leaves open, or has wrong, says what is done here
and why. How a recipe is read and checked is in settings.py.
"""

import dataclasses
import difflib

from srgan_tf import UserError
from srgan_tf.settings import Recipe


def _variant(recipe, name, what, **changes):
    """A recipe of the same source. what: which of its experiments it is."""
    source = f"{recipe.source.partition(': ')[0]}: {what}"
    return dataclasses.replace(recipe, name=name, source=source, **changes)


_VGG22, _VGG54 = "vgg19/block2_conv2", "vgg19/block5_conv4"
_NOISY_LABELS = {
    "real_label": 0.9, "real_label_std": 0.05,
    "fake_label": 0.1, "fake_label_std": 0.05,
    "generator_label": 0.9, "generator_label_std": 0.05,
}  # fmt: skip

# Published experiments.

_ledig2017 = Recipe(
    name="ledig2017",
    source="Ledig et al. 2017, arXiv:1609.04802: SRGAN-VGG54",
    lr_range=(0.0, 1.0),
    # The paper augments nothing beyond random patches; flips and turns cost nothing
    # and every replication adds them.
    augment=("flip", "turn"),
    pretrain="1000000 steps",
    gan="200000 steps",
    pretrain_learning_rate="1e-4",
    learning_rate="1e-4, 1e-5 after 100000 steps",
    save_every="5000 steps",
    sample_every="5000 steps",
    validate_every="5000 steps",
)

_srresnet = _variant(
    _ledig2017, "srresnet", "SRResNet-MSE", gan="0 steps", learning_rate="1e-4",
    pretrain_learning_rate="",
)  # fmt: skip

_coco = Recipe(
    name="coco",
    source="UpSampler 2019, github.com/Jacklu0831/UpSampler: Model A",
    generator="upsampling",
    patches="center",
    patch_size=176,
    batch_size=32,
    gan="2500 epochs",
    **_NOISY_LABELS,
)

# 2,000 images, of which the first 80 % train; all the others are measured.
_PROTOCOL = {
    "limit": 2000, "split": "first", "validation_fraction": 0.2,
    "validation_images": 400,
}  # fmt: skip

_singh2019 = Recipe(
    name="singh2019_vgg",
    source="Singh 2019, Implementing Super Resolution GAN: plain generator, VGG",
    generator="upsampling",
    patches="resize",
    patch_size=224,
    batch_size=8,
    # The source does not name the layer and the labels: the paper's, VGG54, 1 and 0.
    gan="1000 epochs",  # the last of his table: `srgan plot --at 10,50,100,500,1000`
)

_chan = Recipe(
    name="chan_mse",
    source="unique-chan 2021, github.com/unique-chan/SRGAN: MSE",
    # Linear output in [0, 1] there, tanh in [-1, 1] here, as in every other recipe.
    patch_size=128,
    batch_size=40,  # of the README's examples
    augment=("rotate_10", "flip"),  # the original's rotations leave black corners
    validation_size=256,
    # There detach() keeps the adversarial gradient from the generator; here it has it.
    content={"pixels": 1.0},
    pretrain="250 epochs",
    gan="200 epochs",  # or 100; his two stages are two scripts, here one run
    keep_best=True,
)

# His "block 4" counts residual blocks, skips the first group and takes one too many;
# here block i is the end of He et al.'s conv<i>_x.
_CHAN_FEATURES = {
    "vgg54": _VGG54,
    "resnet18_block4": "resnet18/block4",
    "resnet34_block3": "resnet34/block3",
    "resnet34_block5": "resnet34/block5",
}


def _chan_variants():
    """A feature alone in both stages, and in mixtures with the MSE."""
    for name, term in _CHAN_FEATURES.items():
        for mixed in (False, True):
            yield _variant(
                _chan, f"chan_{'mse_' * mixed}{name}", f"{'MSE and ' * mixed}{term}",
                pretrain_content={"pixels": 0.7, term: 0.3} if mixed else {term: 1.0},
                content={"pixels": 0.6, term: 0.4} if mixed else {term: 1.0},
            )  # fmt: skip


_diningeachox = Recipe(
    name="diningeachox",
    source="diningeachox 2021, github.com/diningeachox/Image-Super-Resolution",
    lr_range=(0.0, 1.0),
    batch_size=2,  # the source does not give a patch size: the paper's 96 pixels
    pretrain="25 epochs",
    # "The layer before the 4th pooling" would be VGG44; its name and the paper say
    # VGG54. His weight of 0.006 is the paper's 1 / 12.75², by which the extractor
    # divides already: 0.006 * 12.75² = 0.975.
    content={"pixels": 1.0, _VGG54: 0.975},
    gan="200000 steps",
    pretrain_learning_rate="1e-4",
    learning_rate="1e-4, 1e-5 after 100000 steps",
)

_maddrell2018 = Recipe(
    name="maddrell2018",
    source="Maddrell-Mander 2018, super-resolution GAN in TensorFlow",
    generator="deconv",
    residual_blocks=5,
    augment=("flip", "turn"),
    # "Several depths at once", without weights: the mean of all five.
    content={
        "vgg19/block1_conv2": 0.2,
        "vgg19/block2_conv2": 0.2,
        "vgg19/block3_conv4": 0.2,
        "vgg19/block4_conv4": 0.2,
        "vgg19/block5_conv4": 0.2,
    },
    pretrain="100000 steps",  # no schedule is known: a tenth of the paper's
    gan="20000 steps",
    save_every="5000 steps",
    sample_every="1000 steps",  # for `srgan progress`
    validate_every="1000 steps",
)

# Experiments of this project: the generator `compact`, which works at LR resolution.

_compact = Recipe(
    name="compact",
    source="this project",
    generator="compact",
    batch_norm=False,
    augment=("flip", "turn"),
    validation_size=192,
    pretrain_content={"pixels_absolute": 1.0},
    pretrain="48000 steps",
    learning_rate="7e-4 to 1e-6",
    save_every="1000 steps",
    sample_every="5000 steps",
    validate_every="1000 steps",
)

_compact_coco = _variant(
    _compact,
    "compact_coco",
    "Model A",
    start="compact",
    discriminator_filters=32,
    augment=("flip", "turn", "flat"),
    batch_size=32,
    # Without the term grid, pixel shuffle leaves dots every 4 pixels.
    content={"pixels_absolute": 1.0, _VGG22: 4e-4, "grid": 100.0},
    margin=8,  # where the generator sees zeros in place of neighbours
    # At this scale of the content, 1e-3 would be a hundredth of its gradient.
    adversarial_weight=0.01,
    beta_1=0.5,
    pretrain="0 steps",
    gan="7000 steps",
    learning_rate="1e-4 to 1e-5",
    ema=0.999,
    save_every="500 steps",
    sample_every="500 steps",
    validate_every="500 steps",
    **_NOISY_LABELS,
)

_compact_celeba = _variant(  # faces stand upright and have 89x109 pixels
    _compact_coco, "compact_celeba", "Model B", augment=("flip", "flat"),
    patch_size=88, validation_size=88,
)  # fmt: skip

_tiny = Recipe(
    name="tiny",
    source="this project: the demonstration and the tests",
    generator="compact",
    residual_blocks=4,
    filters=16,
    batch_norm=False,
    discriminator_filters=16,
    augment=("flip", "turn"),
    patch_size=64,
    batch_size=8,
    content={"pixels": 1.0},
    pretrain="20 epochs",
    gan="20 epochs",
    learning_rate="1e-3",
    save_every="5 epochs",
)


def _recipes():
    yield _ledig2017
    yield _variant(_ledig2017, "ledig2017_vgg22", "SRGAN-VGG22", content={_VGG22: 1.0})
    yield _variant(_ledig2017, "ledig2017_mse", "SRGAN-MSE", content={"pixels": 1.0})
    yield _srresnet
    features = {"pretrain_content": {_VGG22: 1.0}}
    yield _variant(_srresnet, "srresnet_vgg22", "SRResNet-VGG22", **features)
    yield _coco
    yield _variant(_coco, "celeba", "Model B")
    yield _variant(_coco, "coco_2000", "Model A, its 2,000 images", **_PROTOCOL)
    yield _variant(_coco, "celeba_2000", "Model B, its 2,000 images", **_PROTOCOL)
    yield _singh2019
    inception = _variant(
        _singh2019, "singh2019_vgg_inception_a",
        "Inception-ResNet-A generator, VGG", generator="inception_a",
    )  # fmt: skip
    yield inception
    yield _variant(
        inception, "singh2019_inception_resnet_v2",
        "Inception-ResNet-A generator, InceptionResNetV2",
        # Two places, without weights: their mean.
        content={"inception_resnet_v2/mixed_5b": 0.5,
                 "inception_resnet_v2/block35_5": 0.5},
    )  # fmt: skip
    yield _diningeachox
    yield _chan
    yield from _chan_variants()
    yield _maddrell2018
    yield from (_compact, _compact_coco, _compact_celeba, _tiny)


RECIPES = {recipe.name: recipe for recipe in _recipes()}


def get_recipe(name):
    """The named recipe; UserError with the nearest name for another."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 1, 0)
        raise UserError(
            f"there is no recipe {name}; did you mean {near[0]}? "
            "`srgan recipes` lists them"
        )
    return RECIPES[name]
