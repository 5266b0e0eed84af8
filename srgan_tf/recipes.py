"""Recipes: every number of an experiment in one dataclass, and the named ones."""

import dataclasses
import difflib
import json
import math
import re

from srgan_tf import UserError


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One experiment. Durations are written as said: "200 steps", "25 epochs"."""

    name: str
    source: str
    # Networks
    generator: str = "srresnet"  # a key of networks.GENERATORS
    residual_blocks: int = 16
    filters: int = 64
    batch_norm: bool = True  # in the generator
    start: str = "random"  # random | interpolation, see networks.start_as_interpolation
    discriminator_filters: int = 64
    precision: str = "auto"  # float32 | mixed_float16 | mixed_bfloat16 | auto
    low_range: tuple = (-1.0, 1.0)  # of the generator's input
    high_range: tuple = (-1.0, 1.0)  # of its output and of the discriminator's input
    # Data
    crop: str = "random"  # center | random | resize (the whole image to a square)
    augment: tuple = ()  # of random crops, see data.Batches
    high_size: int = 96  # pixels a side; low images are a quarter of it
    batch_size: int = 16
    limit: int = 0  # use the first so many images; 0: all
    split: str = "random"  # how validation images are drawn: random | first
    validate_fraction: float = 0.1  # where no --validate is given
    validate_images: int = 16  # measured at most
    validate_size: int = 0  # center crop of them, pixels a side; 0: high_size
    sample_images: int = 4  # rows of a sample picture
    # Losses: weighted terms, see losses.content_loss
    pretrain_content: dict = dataclasses.field(default_factory=lambda: {"pixels": 1.0})
    content: dict = dataclasses.field(
        default_factory=lambda: {"vgg19/block5_conv4": 1.0}
    )
    adversarial_weight: float = 1e-3
    real_label: float = 1.0  # means and standard deviations of the noisy labels
    real_label_spread: float = 0.0
    fake_label: float = 0.0
    fake_label_spread: float = 0.0
    generator_label: float = 1.0
    generator_label_spread: float = 0.0
    # Schedule
    pretrain: str = "0 steps"  # the generator alone, by pretrain_content
    gan: str = "0 steps"  # both, by content and the adversarial loss
    learning_rate: str = "1e-4"  # see learning_rate_at
    pretrain_learning_rate: str = ""  # empty: as learning_rate
    beta_1: float = 0.9
    epsilon: float = 1e-8
    save_every: str = "25 epochs"
    sample_every: str = "1 epoch"
    validate_every: str = "1 epoch"
    keep_best: bool = False  # models/<run>.best_psnr.h5, .best_ssim.h5 of the stage


@dataclasses.dataclass(frozen=True)
class Stage:
    """A stretch of steps [first_step, first_step + steps) trained in one way."""

    name: str  # pretrain | gan
    first_step: int
    steps: int
    first_epoch: int  # epochs count from 1 and begin anew with a stage
    steps_per_epoch: int

    @property
    def last_step(self):
        return self.first_step + self.steps

    def position(self, step):
        """(epoch from 1, index of the step in that epoch from 0)."""
        epoch, index = divmod(step - self.first_step, self.steps_per_epoch)
        return self.first_epoch + epoch, index

    def ends_epoch(self, step):
        """Whether the step is its epoch's last; a stage's last epoch may be short."""
        _, index = self.position(step)
        return index == self.steps_per_epoch - 1 or step == self.last_step - 1


def stages(recipe, steps_per_epoch):
    """The stages of a recipe that have any step, in order; UserError if none has."""
    found, step, epoch = [], 0, 1
    for name in ("pretrain", "gan"):
        steps = duration_steps(getattr(recipe, name), steps_per_epoch)
        if steps:
            found.append(Stage(name, step, steps, epoch, steps_per_epoch))
            step += steps
            epoch += math.ceil(steps / steps_per_epoch)
    if not found:
        raise UserError(
            f"recipe {recipe.name} trains nothing: set pretrain or gan to a duration, "
            'for instance --set gan="100 epochs"'
        )
    return found


def duration_steps(text, steps_per_epoch):
    """Steps of a duration such as "200 steps" or "1 epoch"."""
    match = re.fullmatch(r"\s*(\d[\d_,]*)\s*(step|epoch)s?\s*", text)
    if not match:
        raise UserError(f'"{text}" is no duration: write "200 steps" or "25 epochs"')
    count = int(re.sub("[_,]", "", match[1]))
    return count * (steps_per_epoch if match[2] == "epoch" else 1)


def learning_rate_at(schedule, step, steps):
    """Learning rate of the step-th of a stage's steps (from 0).

    "1e-4" is constant; "1e-4, 1e-5 after 100000 steps" changes at that step (more
    changes may follow); "5e-4 to 5e-5" falls along half a cosine over the stage.
    """
    number = r"\s*([-+.\deE]+)\s*"
    try:
        if match := re.fullmatch(f"{number}to{number}", schedule):
            first, last = rates = float(match[1]), float(match[2])
            fraction = step / max(1, steps - 1)
            rate = last + (first - last) * 0.5 * (1 + math.cos(math.pi * fraction))
        else:
            start, *changes = schedule.split(",")
            rates = [rate := float(start)]
            for change in changes:
                match = re.fullmatch(rf"{number}after\s+(\d+)\s+steps?\s*", change)
                rates.append(float(match[1]))
                rate = rates[-1] if step >= int(match[2]) else rate
    except (ValueError, TypeError):
        rates = [math.nan]
    if not all(0 < each < 1 for each in rates):
        raise UserError(
            f'learning rate "{schedule}" is not understood: write "1e-4", '
            '"1e-4, 1e-5 after 100000 steps" or "5e-4 to 5e-5" (each between 0 and 1)'
        )
    return rate


def with_settings(recipe, settings):
    """The recipe with "key=value" settings applied, typed and checked."""
    fields = {
        field.name: field.type
        for field in dataclasses.fields(Recipe)
        if field.name not in ("name", "source")
    }
    changes = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f'--set {setting} lacks a value: write "key=value"')
        if key not in fields:
            near = difflib.get_close_matches(key, fields, 1, 0)
            raise UserError(f"there is no setting {key}; did you mean {near[0]}?")
        changes[key] = _typed(key, fields[key], text)
    return check(dataclasses.replace(recipe, **changes))


def _typed(key, kind, text):
    """The value of a setting's text: JSON where the field is no text."""
    if kind is str:
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if kind is tuple and isinstance(value, str):
        value = [word.strip() for word in text.split(",") if word.strip()]
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        hints = {int: "a whole number", float: "a number", bool: "true or false"}
        hint = hints.get(kind, 'JSON such as {"pixels": 1.0} or [0.0, 1.0]')
        raise UserError(f"{key}={text} is not understood: it takes {hint}")
    return value


def check(recipe):
    """The recipe, if its values make sense; UserError naming what does not."""
    stages(recipe, 1)
    for field in ("save_every", "sample_every", "validate_every"):
        if duration_steps(getattr(recipe, field), 1) < 1:
            raise UserError(f"{field} is 0: set it to at least 1 step")
    for schedule in (recipe.learning_rate, recipe.pretrain_learning_rate):
        if schedule:
            learning_rate_at(schedule, 0, 1)
    for field in ("start", "crop", "split", "precision"):
        choices = {
            "start": ("random", "interpolation"),
            "crop": ("center", "random", "resize"),
            "split": ("random", "first"),
            "precision": ("auto", "float32", "mixed_float16", "mixed_bfloat16"),
        }[field]
        if getattr(recipe, field) not in choices:
            raise UserError(
                f"{field}={getattr(recipe, field)}: choose one of {', '.join(choices)}"
            )
    for field in (
        "residual_blocks",
        "filters",
        "discriminator_filters",
        "batch_size",
        "validate_images",
        "sample_images",
    ):
        if getattr(recipe, field) < 1:
            raise UserError(f"{field}={getattr(recipe, field)}: it must be at least 1")
    for field in ("high_size", "validate_size"):
        size = getattr(recipe, field)
        if size % 4 or (size or recipe.high_size) < 24:
            raise UserError(f"{field}={size}: it must be a multiple of 4, at least 24")
    for field in ("validate_fraction", "epsilon"):
        if not 0 < getattr(recipe, field) < 1:
            raise UserError(
                f"{field}={getattr(recipe, field)}: it must lie between 0 and 1"
            )
    for field, end in (
        ("beta_1", 1),
        ("limit", math.inf),
        ("adversarial_weight", math.inf),
        ("real_label_spread", math.inf),
        ("fake_label_spread", math.inf),
        ("generator_label_spread", math.inf),
    ):
        if not 0 <= getattr(recipe, field) < end:
            words = "0 or more" if end == math.inf else f"0 or more and under {end}"
            raise UserError(f"{field}={getattr(recipe, field)}: it must be {words}")
    for word in recipe.augment:
        if not re.fullmatch(r"flip|turn|rotate_\d+", str(word)):
            raise UserError(f"augment={word}: choose from flip, turn, rotate_10")
        if str(word).startswith("rotate") and recipe.crop != "random":
            raise UserError(f"augment={word} needs crop=random, not {recipe.crop}")
    for field in ("low_range", "high_range"):
        bounds = getattr(recipe, field)
        numbers = all(type(bound) in (int, float) for bound in bounds)
        if not numbers or len(bounds) != 2 or not bounds[0] < bounds[1]:
            raise UserError(f"{field}={list(bounds)}: write [lowest, highest]")
    for field in ("pretrain_content", "content"):
        terms = getattr(recipe, field)
        if not terms or not all(
            type(weight) in (int, float) and 0 < weight < math.inf
            for weight in terms.values()
        ):
            raise UserError(
                f'{field}={json.dumps(terms)}: write {{"term": weight}} with weights '
                "above 0"
            )
    return recipe


# Published experiments. A line beside each thing that its source leaves open, or has
# wrong, says what is done here and why.

_LEDIG = "Ledig et al. 2017, arXiv:1609.04802"
_UPSAMPLER = "UpSampler 2019, github.com/Jacklu0831/UpSampler"
_SINGH = "Singh 2019, Implementing Super Resolution GAN"
_DININGEACHOX = "diningeachox 2021, github.com/diningeachox/Image-Super-Resolution"
_CHAN = "unique-chan 2021, github.com/unique-chan/SRGAN"
_VGG22, _VGG54 = "vgg19/block2_conv2", "vgg19/block5_conv4"
_variant = dataclasses.replace

_ledig2017 = Recipe(
    name="ledig2017",
    source=f"{_LEDIG}, SRGAN-VGG54",
    low_range=(0.0, 1.0),
    # The paper augments nothing beyond random crops; flips and turns cost nothing
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
    _ledig2017,
    name="srresnet",
    source=f"{_LEDIG}, SRResNet-MSE",
    gan="0 steps",
    learning_rate="1e-4",
    pretrain_learning_rate="",
)

_coco = Recipe(
    name="coco",
    source=f"{_UPSAMPLER}, Model A",
    generator="upsampling",
    crop="center",
    high_size=176,
    batch_size=32,
    real_label=0.9,
    real_label_spread=0.05,
    fake_label=0.1,
    fake_label_spread=0.05,
    generator_label=0.9,
    generator_label_spread=0.05,
    gan="2500 epochs",
)

# 2,000 images, of which the first 80 % train.
_PROTOCOL = {"limit": 2000, "split": "first", "validate_fraction": 0.2}

_singh2019 = Recipe(
    name="singh2019_vgg",
    source=f"{_SINGH}: plain generator, VGG",
    generator="upsampling",
    crop="resize",
    high_size=224,
    batch_size=8,
    # No word on the layer and on labels: the paper's, VGG54, 1 and 0.
    gan="1000 epochs",  # the last of his table: `srgan plot --at 10,50,100,500,1000`
)

_chan = Recipe(
    name="chan_mse",
    source=f"{_CHAN}: MSE",
    # Linear output in [0, 1] there, tanh in [-1, 1] here, as in every other recipe.
    high_size=128,
    batch_size=40,  # of the README's examples
    augment=("rotate_10", "flip"),  # the original's rotations leave black corners
    validate_size=256,
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
                _chan,
                name=f"chan_{'mse_' if mixed else ''}{name}",
                source=f"{_CHAN}: {'MSE and ' if mixed else ''}{term}",
                pretrain_content={"pixels": 0.7, term: 0.3} if mixed else {term: 1.0},
                content={"pixels": 0.6, term: 0.4} if mixed else {term: 1.0},
            )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _ledig2017,
        _variant(
            _ledig2017,
            name="ledig2017_vgg22",
            source=f"{_LEDIG}, SRGAN-VGG22",
            content={_VGG22: 1.0},
        ),
        _variant(
            _ledig2017,
            name="ledig2017_mse",
            source=f"{_LEDIG}, SRGAN-MSE",
            content={"pixels": 1.0},
        ),
        _srresnet,
        _variant(
            _srresnet,
            name="srresnet_vgg22",
            source=f"{_LEDIG}, SRResNet-VGG22",
            pretrain_content={_VGG22: 1.0},
        ),
        _coco,
        _variant(_coco, name="celeba", source=f"{_UPSAMPLER}, Model B"),
        _variant(
            _coco,
            name="coco_2000",
            source=f"{_UPSAMPLER}, Model A, its 2,000 images",
            **_PROTOCOL,
        ),
        _variant(
            _coco,
            name="celeba_2000",
            source=f"{_UPSAMPLER}, Model B, its 2,000 images",
            **_PROTOCOL,
        ),
        _singh2019,
        _variant(
            _singh2019,
            name="singh2019_vgg_inception_a",
            source=f"{_SINGH}: Inception-ResNet-A generator, VGG",
            generator="inception_a",
        ),
        _variant(
            _singh2019,
            name="singh2019_inception_resnet_v2",
            source=f"{_SINGH}: Inception-ResNet-A generator, InceptionResNetV2",
            generator="inception_a",
            # Two places, no weights: their mean.
            content={
                "inception_resnet_v2/mixed_5b": 0.5,
                "inception_resnet_v2/block35_5": 0.5,
            },
        ),
        Recipe(
            name="diningeachox",
            source=_DININGEACHOX,
            low_range=(0.0, 1.0),
            batch_size=2,  # no word on crops: the paper's 96 pixels
            pretrain="25 epochs",
            # "The layer before the 4th pooling" would be VGG44; its name and the paper
            # say VGG54. The weight as published, though his VGG19 is torchvision's.
            content={"pixels": 1.0, _VGG54: 0.006},
            gan="200000 steps",
            pretrain_learning_rate="1e-4",
            learning_rate="1e-4, 1e-5 after 100000 steps",
        ),
        _chan,
        *_chan_variants(),
        Recipe(
            name="maddrell2018",
            source="Maddrell-Mander 2018, super-resolution GAN in TensorFlow",
            generator="deconv",
            residual_blocks=5,
            augment=("flip", "turn"),
            # "Several depths at once", no weights: the mean of all five.
            content={
                "vgg19/block1_conv2": 0.2,
                "vgg19/block2_conv2": 0.2,
                "vgg19/block3_conv4": 0.2,
                "vgg19/block4_conv4": 0.2,
                "vgg19/block5_conv4": 0.2,
            },
            pretrain="100000 steps",  # no schedule known: a tenth of the paper's
            gan="20000 steps",
            save_every="5000 steps",
            sample_every="1000 steps",  # for `srgan progress`
            validate_every="1000 steps",
        ),
        Recipe(
            name="tiny",
            source="this project: the demonstration and the tests",
            residual_blocks=4,
            filters=16,
            batch_norm=False,
            start="interpolation",
            discriminator_filters=16,
            augment=("flip", "turn"),
            high_size=64,
            batch_size=8,
            content={"pixels": 1.0},
            pretrain="20 epochs",
            gan="20 epochs",
            learning_rate="1e-3",
            save_every="5 epochs",
        ),
    )
}


def get_recipe(name):
    """The named recipe; UserError with the nearest name for another."""
    if name not in RECIPES:
        near = difflib.get_close_matches(name, RECIPES, 1, 0)
        raise UserError(
            f"there is no recipe {name}; did you mean {near[0]}? "
            "`srgan recipes` lists them"
        )
    return RECIPES[name]


def describe(recipe):
    """(name, networks, losses, schedule, source) of a recipe, in words."""
    networks = f"{recipe.generator} {recipe.residual_blocks}x{recipe.filters}"
    losses, schedule = [], []
    for stage in ("pretrain", "gan"):
        length = getattr(recipe, stage)
        if duration_steps(length, 1) == 0:
            continue
        terms = recipe.pretrain_content if stage == "pretrain" else recipe.content
        words = [
            name if weight == 1 else f"{weight:g} {name}"
            for name, weight in terms.items()
        ]
        rate = recipe.learning_rate
        if stage == "gan":
            words.append(f"{recipe.adversarial_weight:g} adversarial")
        elif recipe.pretrain_learning_rate:
            rate = recipe.pretrain_learning_rate
        losses.append(" + ".join(words))
        schedule.append(f"{stage} {length} at {rate}")
    return (
        recipe.name, networks, "; ".join(losses), "; ".join(schedule), recipe.source,
    )  # fmt: skip
