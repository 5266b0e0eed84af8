"""The fields of a recipe: what each means, what it may be, and how a text sets it."""

# ruff: noqa: RUF009  (the default of a field is made by _field)

import contextlib
import dataclasses
import difflib
import json
import math
import re

from srgan_tf import UserError, schedules

MOST_MEMORY = 80 * 2**30  # bytes of a device


def _field(default, meaning, choices=None, least=None, under=math.inf):
    """A field with its meaning, its choices, or its bounds least <= value < under."""
    metadata = {"meaning": meaning, "choices": choices, "least": least, "under": under}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=default.copy, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


# fmt: off
@dataclasses.dataclass(frozen=True)
class Recipe:
    """One experiment. Durations are written as "200 steps" or "25 epochs"."""

    name: str
    source: str
    # Networks
    generator: str = _field("srresnet", "architecture, see networks/generators.py")
    residual_blocks: int = _field(16, "residual blocks of the generator", least=1)
    filters: int = _field(64, "channels between the residual blocks", least=1)
    batch_norm: bool = _field(True, "batch normalization in the generator")
    start: str = _field("random", "random, or the generator to fine-tune: file or name")
    discriminator_filters: int = _field(64, "channels of its first layer", least=1)
    precision: str = _field("auto", "auto: what the hardware is fast with",
                            ("auto", "float32", "mixed_float16", "mixed_bfloat16"))
    deterministic: str = _field("auto", "the same bits in every run; auto: on a CPU",
                                ("auto", "true", "false"))
    jit_compile: str = _field("auto", "XLA compiles the steps of TensorFlow; auto: no",
                              ("auto", "true", "false"))
    synchronized: bool = _field(False, "batch normalization of the whole batch, where "
                                "several devices share it; with JAX it always is")
    lr_range: tuple = _field((-1.0, 1.0), "black and white in the generator's input")
    # Data
    patches: str = _field("random", "where a patch is cut; resize: the whole image, "
                          "made square", ("random", "center", "resize"))
    augment: tuple = _field((), "of patches: flip, turn, rotate_<degrees>; flat: "
                            "one in eight has one colour")
    patch_size: int = _field(96, "side of the HR patches, pixels; LR: a quarter")
    batch_size: int = _field(16, "patches a step", least=1)
    limit: int = _field(0, "use the first so many images; 0: all", least=0)
    split: str = _field("random", "how validation images are chosen; first: the first "
                        "by name train", ("random", "first"))
    validation_fraction: float = _field(0.1, "withheld, unless --validation is given",
                                        least=0, under=1)
    validation_images: int = _field(16, "images withheld and measured at most", least=1)
    validation_size: int = _field(0, "center crop of them, pixels; 0: patch_size")
    sample_images: int = _field(4, "rows of a sample picture", least=1)
    # Losses: weighted terms, see losses.content_loss
    pretrain_content: dict = _field({"pixels": 1.0}, "content loss of the pretraining")
    content: dict = _field({"vgg19/block5_conv4": 1.0}, "content loss of the gan stage")
    adversarial_weight: float = _field(1e-3, "of the adversarial loss", least=0)
    margin: int = _field(0, "pixels at the border of patches that the discriminator "
                         "and features do not see in the gan stage", least=0)
    real_label: float = _field(1.0, "mean of the labels of HR images")
    real_label_std: float = _field(0.0, "their standard deviation", least=0)
    fake_label: float = _field(0.0, "mean of the labels of SR images")
    fake_label_std: float = _field(0.0, "their standard deviation", least=0)
    generator_label: float = _field(1.0, "mean of the labels the generator aims at")
    generator_label_std: float = _field(0.0, "their standard deviation", least=0)
    # Schedule
    pretrain: str = _field("0 steps", "first stage: the generator alone")
    gan: str = _field("0 steps", "second stage: both networks")
    learning_rate: str = _field("1e-4", "see schedules.learning_rate")
    pretrain_learning_rate: str = _field("", "of the pretraining; empty: the same")
    beta_1: float = _field(0.9, "of Adam", least=0, under=1)
    epsilon: float = _field(1e-8, "of Adam", least=0, under=1)
    ema: float = _field(0.0, "decay of the generator's average, which is what is "
                        "written, measured and shown; 0: no average", least=0, under=1)
    save_every: str = _field("25 epochs", "how often a checkpoint is written")
    sample_every: str = _field("1 epoch", "how often a sample picture is written, "
                               "where an epoch ends")
    validate_every: str = _field("1 epoch", "how often validation images are measured, "
                                 "where an epoch ends")
    keep_best: bool = _field(False, "keep the best generators by PSNR and by SSIM")

    def schedule(self, stage_name):
        """The learning rate of a stage, as text."""
        pretrains = stage_name == "pretrain"
        return (pretrains and self.pretrain_learning_rate) or self.learning_rate
# fmt: on


_, _, *_FIELDS = dataclasses.fields(Recipe)  # all but name and source
SETTABLE = {field.name: field for field in _FIELDS}


def with_settings(recipe, settings):
    """The recipe with "key=value" settings applied, typed and checked."""
    changes = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UserError(f'--set {setting} lacks a value: write "key=value"')
        if key not in SETTABLE:
            near = difflib.get_close_matches(key, SETTABLE, 1, 0)
            raise UserError(f"there is no setting {key}; did you mean {near[0]}?")
        changes[key] = _typed(key, SETTABLE[key].type, text)
    return check(dataclasses.replace(recipe, **changes))


def _typed(key, kind, text):
    """The value of a setting's text: JSON where the field is not a text."""
    if kind is str:
        return text
    value = text
    with contextlib.suppress(ValueError):
        value = json.loads(text)
    if kind is tuple and isinstance(value, str):
        value = [word.strip() for word in text.split(",") if word.strip()]
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if kind is float and _is_finite(value):
        value = float(value)
    if type(value) is not kind:
        hints = {int: "a whole number", float: "a number", bool: "true or false"}
        hint = hints.get(kind, 'JSON such as {"pixels": 1.0} or [0.0, 1.0]')
        raise UserError(f"{key}={text} is not understood: it takes {hint}")
    return value


def check(recipe):
    """The recipe, if its values make sense; else a UserError naming the field."""
    for name, field in SETTABLE.items():
        value, facts = getattr(recipe, name), field.metadata
        choices, least, under = facts["choices"], facts["least"], facts["under"]
        if choices and value not in choices:
            raise UserError(f"{name}={value}: choose from {', '.join(choices)}")
        if field.type is float and not math.isfinite(value):
            raise UserError(f"{name}={value}: it must be a finite number")
        if least is not None and not least <= value < under:
            most = "" if under == math.inf else f" and under {under}"
            raise UserError(f"{name}={value}: it must be at least {least}{most}")
    ends = recipe.lr_range
    if len(ends) != 2 or not all(map(_is_finite, ends)) or ends[0] >= ends[1]:
        raise UserError(f"lr_range={list(ends)}: write [black, white], two numbers")
    for name in ("save_every", "sample_every", "validate_every"):
        if not schedules.duration_steps(getattr(recipe, name), 1):
            raise UserError(f"{name} is 0: set it to at least 1 step")
    for name in ("patch_size", "validation_size"):
        size = getattr(recipe, name)
        if size % 4 or (size or recipe.patch_size) < 24:
            raise UserError(f"{name}={size}: it must be a multiple of 4, at least 24")
    seen = recipe.patch_size - 2 * recipe.margin
    if seen < 16:
        raise UserError(f"margin={recipe.margin} leaves {seen} pixels: at least 16")
    check_memory(recipe, MOST_MEMORY)
    for stage in schedules.stages(recipe, 1):
        schedules.learning_rate(recipe.schedule(stage.name))
    for word in map(str, recipe.augment):
        if not re.fullmatch(r"flip|turn|flat|rotate_\d+", word):
            raise UserError(f"augment={word}: choose from flip, turn, flat, rotate_10")
        if word.startswith("rotate") and recipe.patches != "random":
            raise UserError(f"augment={word} needs patches=random")
    for name in ("pretrain_content", "content"):
        terms = getattr(recipe, name)
        if not terms or not all(_is_finite(w) and w > 0 for w in terms.values()):
            raise UserError(f'{name}={terms}: write {{"term": weight}}, all above 0')
    return recipe


def check_memory(recipe, most, batch_size=None):
    """UserError if a step needs more than so many bytes, whatever its precision is.

    batch_size: of the machine, if that is not the recipe's.
    """
    batch_size, channels = batch_size or recipe.batch_size, recipe.discriminator_filters
    # HR and SR images, and of each what the discriminator's first layer and activation
    # give, in 2 bytes; the weights of its last layer but one.
    area = (recipe.patch_size - 2 * recipe.margin) ** 2
    needed = area * ((24 + 8 * channels) * batch_size + 128 * channels)
    if needed > most:
        sizes = "batch_size, patch_size or discriminator_filters"
        raise UserError(f"a step needs over {most / 2**30:.3g} GiB: reduce {sizes}")


def _is_finite(value):
    # math.isfinite would fail for a whole number of 400 digits.
    return type(value) in (int, float) and abs(value) < 1e300


def describe(recipe):
    """(name, networks, losses, schedule, source) of a recipe, as short texts."""
    networks = f"{recipe.generator} {recipe.residual_blocks}x{recipe.filters}"
    networks += "" if recipe.start == "random" else f", started from {recipe.start}"
    losses, schedule = [], []
    for stage in schedules.stages(recipe, 1):
        terms = recipe.content if stage.name == "gan" else recipe.pretrain_content
        shown = [name if w == 1 else f"{w:g} {name}" for name, w in terms.items()]
        if stage.name == "gan":
            shown.append(f"{recipe.adversarial_weight:g} adversarial")
        losses.append(" + ".join(shown))
        length, rate = getattr(recipe, stage.name), recipe.schedule(stage.name)
        schedule.append(f"{stage.name} {length} at {rate}")
    losses, schedule = "; ".join(losses), "; ".join(schedule)
    return recipe.name, networks, losses, schedule, recipe.source
