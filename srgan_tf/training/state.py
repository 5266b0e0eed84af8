"""What a step of training changes, built, read and given back; which step does it."""

import contextlib
import dataclasses
import hashlib
import random
import re

import keras
import numpy as np

from srgan_tf import UserError, features, losses, schedules, settings, streams
from srgan_tf.networks import discriminator as discriminators
from srgan_tf.networks import files, generators
from srgan_tf.training import hardware, sharing

MEASURES = ("perceptual", "content", "adversarial", "discriminator", "d_real", "d_fake")
OUT_OF_MEMORY = r"(?i)resource.?exhausted|out of memory"


@dataclasses.dataclass
class State:
    """All that a step changes; and the frozen extractors, {stage: model or None}."""

    generator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator: keras.Model | None
    discriminator_optimizer: keras.optimizers.Optimizer | None
    extractors: dict
    # {name: SHA-256} of what a run begins with: start's generator, feature networks.
    origins: dict = dataclasses.field(default_factory=dict)
    # [(variable, its newer value)]: what JAX's step keeps on the device between steps.
    held: list = dataclasses.field(default_factory=list)
    devices: sharing.Devices = sharing.ONE

    def networks(self):
        return [net for net in (self.generator, self.discriminator) if net is not None]

    @property
    def precision(self):
        return self.generator.dtype_policy.name

    def settle(self):
        """Gives the variables the values that are held on the device, if any are."""
        for variable, value in self.held:
            variable.assign(value)
        self.held = []

    def variables(self):
        """{name: variables} of the whole state: what a checkpoint holds."""
        self.settle()
        frozen = dict.fromkeys(("extractors", "origins", "held", "devices"))
        parts = vars(self) | frozen
        return {name: part.variables for name, part in parts.items() if part}


def build(recipe, seed, weights=None, devices=sharing.ONE):
    """The State that a run of this recipe begins with.

    weights: see features.build_extractor. devices: those that will share its steps.
    UserError if a content loss or start misfits, or a CPU's memory is too small.
    """
    if not hardware.is_accelerated():
        part = recipe.batch_size // devices.machines
        settings.check_memory(recipe, hardware.main_memory(), part)
    with devices.scope():
        state = _build(recipe, seed, weights)
    state.devices = devices
    return state


def _build(recipe, seed, weights):
    stages = {stage.name for stage in schedules.stages(recipe, 1)}
    random.seed(seed)  # from which Keras draws the seeds of its initializers
    chosen = generators.GeneratorSettings(
        recipe.generator, recipe.residual_blocks, recipe.filters, recipe.batch_norm,
        recipe.lr_range, recipe.name,
    )  # fmt: skip
    discriminator = discriminator_optimizer = None
    with features.dtype_policy(hardware.precision(recipe.precision)):
        generator = generators.build_generator(chosen)
        if "gan" in stages:
            discriminator = discriminators.build_discriminator(
                recipe.patch_size - 2 * recipe.margin, recipe.discriminator_filters
            )
            discriminator_optimizer = _optimizer(discriminator, recipe, ema=0.0)
        origins = {"start_sha256": _start_from(generator, recipe.start)}
    if recipe.synchronized and keras.backend.backend() == "tensorflow":
        networks = [generator, *([discriminator] if discriminator else [])]
        for layer in (layer for network in networks for layer in network.layers):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
    contents = {"pretrain": recipe.pretrain_content, "gan": recipe.content}
    extractors = {}
    for stage in sorted(stages):
        extractors[stage] = features.build_extractor(
            contents[stage], weights, generator.dtype_policy.name
        )
        side = recipe.patch_size - 2 * (recipe.margin if stage == "gan" else 0)
        losses.check_terms(contents[stage], extractors[stage], side)
        if extractors[stage]:
            digest = hashlib.sha256()
            for weight in extractors[stage].get_weights():
                digest.update(weight.tobytes())
            origins[f"{stage}_features_sha256"] = digest.hexdigest()
    optimizers = _optimizer(generator, recipe, recipe.ema), discriminator_optimizer
    networks = generator, optimizers[0], discriminator, optimizers[1]
    return State(*networks, extractors, origins)


def _optimizer(network, recipe, ema):
    # A fixed name: Keras would number the optimizers of the process, and a
    # checkpoint's names must fit any process.
    if keras.backend.backend() == "tensorflow":
        from srgan_tf.training.adam import Adam
    else:
        Adam = keras.optimizers.Adam
    optimizer = Adam(
        1e-4, beta_1=recipe.beta_1, epsilon=recipe.epsilon, use_ema=ema > 0,
        ema_momentum=ema, name="adam",
    )  # fmt: skip
    if network.dtype_policy.name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="scaled")
    # Built before any restore: Keras would otherwise start Adam from zero.
    optimizer.build(network.trainable_variables)
    return optimizer


def _start_from(generator, start):
    """Gives the generator the weights of a file; the file's SHA-256."""
    if start == "random":
        return ""
    path = files.find_model(start)
    other = files.load_generator(path)
    fields = ("architecture", "residual_blocks", "filters", "batch_norm", "lr_range")
    for field in fields:
        ours, theirs = (getattr(g.settings, field) for g in (generator, other))
        if ours != theirs:
            raise UserError(f"start={start}: {path} has {field} {theirs}, not {ours}")
    generator.set_weights(other.get_weights())
    return other.sha256


@contextlib.contextmanager
def averaged(state):
    """Gives the generator the moving average of its weights, if the recipe asks for it.

    Afterwards it has its own weights again.
    """
    state.settle()
    optimizer = state.generator_optimizer
    adam = getattr(optimizer, "inner_optimizer", optimizer)
    if not adam.use_ema or not adam.iterations.numpy():
        yield  # there is no average, or not yet
        return
    weights = state.generator.trainable_variables
    kept = [variable.numpy() for variable in weights]
    adam.finalize_variable_values(weights)
    try:
        yield
    finally:
        for variable, value in zip(weights, kept, strict=True):
            variable.assign(value)


def forget_moments(optimizer):
    """Sets Adam's moments and count (and so its average) to zero, for another loss."""
    adam = getattr(optimizer, "inner_optimizer", optimizer)
    for variable in adam.variables:
        if variable is not adam.learning_rate:
            variable.assign(np.zeros(variable.shape, variable.dtype))


def compile_step(stage, state, recipe, seed):
    """A function (step number, lr, hr) → {measure: scalar tensor} for a stage.

    It takes the learning rate of the step, draws the labels and trains once. lr, hr:
    uint8 batches, or of several machines this one's part of them.
    """
    if keras.backend.backend() == "jax":
        from srgan_tf.training import step_jax as step
    else:
        from srgan_tf.training import step
    schedule = schedules.learning_rate(recipe.schedule(stage.name))
    update = getattr(step, stage.name)(state, recipe)

    def train_step(number, lr, hr):
        rate = np.float32(schedule(number - stage.first_step, stage.steps))
        batch = [rate, lr, hr]
        if stage.name == "gan":
            whole = len(lr) * state.devices.machines
            labels = noisy_labels(recipe, seed, number, whole)
            batch += [each[state.devices.part(whole)] for each in labels]
        try:
            return update(*batch)
        except Exception as error:  # each backend and device has a kind of its own
            if not re.search(OUT_OF_MEMORY, f"{type(error).__name__} {error}"):
                raise
            raise UserError(
                f"the memory is too small for batch_size={recipe.batch_size}: set a "
                "smaller one, or a smaller patch_size"
            ) from error

    return train_step


def noisy_labels(recipe, seed, number, batch):
    """Labels of HR and SR images and those the generator aims at, [batch, 1]."""
    for index, kind in enumerate(("real_label", "fake_label", "generator_label")):
        mean, std = getattr(recipe, kind), getattr(recipe, f"{kind}_std")
        rng = streams.rng(streams.LABELS, seed, number, index)
        yield losses.noisy_labels((batch, 1), mean, std, rng)
