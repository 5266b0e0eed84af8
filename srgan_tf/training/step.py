"""The two training steps of SRGAN, and the networks and optimizers that they update.

Read from top to bottom: what is trained (State, build), then how (pretrain, gan). The
form is that of TensorFlow's DCGAN and pix2pix tutorials.
"""

import contextlib
import dataclasses

import keras
import tensorflow as tf

from srgan_tf import UserError, features, losses, schedules, streams
from srgan_tf.networks import discriminator as discriminators
from srgan_tf.networks import files, generators
from srgan_tf.pixels import SCALE, to_network_range
from srgan_tf.training import hardware

MEASURES = ("perceptual", "content", "adversarial", "discriminator", "d_real", "d_fake")


@dataclasses.dataclass
class State:
    """All that a step changes; and the frozen extractors, {stage: model or None}."""

    generator: keras.Model
    generator_optimizer: keras.optimizers.Optimizer
    discriminator: keras.Model | None
    discriminator_optimizer: keras.optimizers.Optimizer | None
    extractors: dict

    def networks(self):
        return [net for net in (self.generator, self.discriminator) if net is not None]

    @property
    def precision(self):
        return self.generator.dtype_policy.name

    def variables(self):
        """{name: variables} of the whole state: what a checkpoint holds."""
        parts = vars(self) | {"extractors": None}  # they are frozen
        return {name: part.variables for name, part in parts.items() if part}


def build(recipe, seed, weights=None):
    """The State that a run of this recipe begins with.

    weights: see features.build_extractor. UserError if a content loss or start misfits.
    """
    stages = {stage.name for stage in schedules.stages(recipe, 1)}
    keras.utils.set_random_seed(seed)
    chosen = generators.GeneratorSettings(
        recipe.generator, recipe.residual_blocks, recipe.filters, recipe.batch_norm,
        recipe.lr_range, recipe.name,
    )  # fmt: skip
    discriminator = discriminator_optimizer = None
    with hardware.dtype_policy(hardware.precision(recipe.precision)):
        generator = generators.build_generator(chosen)
        if "gan" in stages:
            discriminator = discriminators.build_discriminator(
                recipe.patch_size, recipe.discriminator_filters
            )
            discriminator_optimizer = _optimizer(discriminator, recipe, ema=0.0)
        if recipe.start != "random":
            _start_from(generator, recipe.start)
    contents = {"pretrain": recipe.pretrain_content, "gan": recipe.content}
    extractors = {}
    for stage in sorted(stages):
        extractors[stage] = features.build_extractor(contents[stage], weights)
        losses.check_terms(contents[stage], extractors[stage], recipe.patch_size)
    optimizers = _optimizer(generator, recipe, recipe.ema), discriminator_optimizer
    return State(generator, optimizers[0], discriminator, optimizers[1], extractors)


def _optimizer(network, recipe, ema):
    # A fixed name: Keras would number the optimizers of the process, and a
    # checkpoint's names must fit any process.
    optimizer = keras.optimizers.Adam(
        1e-4, beta_1=recipe.beta_1, epsilon=recipe.epsilon, use_ema=ema > 0,
        ema_momentum=ema, name="adam",
    )  # fmt: skip
    if network.dtype_policy.name == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="scaled")
    # Built before any restore: Keras would otherwise start Adam from zero.
    optimizer.build(network.trainable_variables)
    return optimizer


def _start_from(generator, start):
    path = files.find_model(start)
    other = files.load_generator(path)
    fields = ("architecture", "residual_blocks", "filters", "batch_norm", "lr_range")
    for field in fields:
        ours, theirs = (getattr(g.settings, field) for g in (generator, other))
        if ours != theirs:
            raise UserError(f"start={start}: {path} has {field} {theirs}, not {ours}")
    generator.set_weights(other.get_weights())


@contextlib.contextmanager
def averaged(state):
    """Gives the generator the moving average of its weights, if the recipe asks for it.

    Afterwards it has its own weights again.
    """
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
            variable.assign(keras.ops.zeros_like(variable))


def compile_step(stage, state, recipe, seed):
    """A function (step number, lr, hr) → {measure: scalar tensor} for a stage.

    It sets the learning rate, draws the labels and trains once. lr, hr: uint8 batches.
    """
    schedule = schedules.learning_rate(recipe.schedule(stage.name))
    update = {"pretrain": pretrain, "gan": gan}[stage.name](state, recipe)
    optimizers = [state.generator_optimizer]
    if stage.name == "gan":
        optimizers.append(state.discriminator_optimizer)

    def train_step(number, lr, hr):
        for optimizer in optimizers:
            optimizer.learning_rate = schedule(number - stage.first_step, stage.steps)
        batch = [lr, hr]
        if stage.name == "gan":
            batch += noisy_labels(recipe, seed, number, len(lr))
        try:
            return update(*map(tf.constant, batch))
        except tf.errors.ResourceExhaustedError as error:
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


def _image_specs(recipe):
    # The batch size is unknown to the graph: where TensorFlow finds memory scarce, it
    # rewrites sums of three or more tensors of known shape into sums whose order, and
    # with it the last bit of each weight, changes from run to run.
    sides = recipe.patch_size // SCALE, recipe.patch_size
    return [tf.TensorSpec((None, side, side, 3), tf.uint8) for side in sides]


def pretrain(state, recipe):
    """The step of the first stage: the generator alone, by the content loss."""
    generator, optimizer = state.generator, state.generator_optimizer

    @tf.function(input_signature=_image_specs(recipe))
    def pretrain_step(lr, hr):
        """One update of the generator on a batch of uint8 (LR, HR) images."""
        lr = to_network_range(tf.cast(lr, tf.float32), generator.settings.lr_range)
        hr = to_network_range(tf.cast(hr, tf.float32))
        with tf.GradientTape() as tape:
            sr = generator(lr, training=True)  # (batch, 4h, 4w, 3)
            content = losses.content_loss(
                recipe.pretrain_content, hr, sr, state.extractors["pretrain"]
            )
            loss = optimizer.scale_loss(content)
        gradients = tape.gradient(loss, generator.trainable_variables)
        optimizer.apply(gradients, generator.trainable_variables)
        return {"perceptual": content, "content": content}

    return pretrain_step


def gan(state, recipe):
    """The step of the second stage: both networks, each by its own loss."""
    generator, discriminator = state.networks()
    generator_optimizer = state.generator_optimizer
    discriminator_optimizer = state.discriminator_optimizer
    labels = [tf.TensorSpec((None, 1), tf.float32)] * 3

    @tf.function(input_signature=[*_image_specs(recipe), *labels])
    def gan_step(lr, hr, real_labels, fake_labels, generator_labels):
        """One update of both networks on a batch of uint8 (LR, HR) images."""
        lr = to_network_range(tf.cast(lr, tf.float32), generator.settings.lr_range)
        hr = to_network_range(tf.cast(hr, tf.float32))
        with (
            tf.GradientTape() as generator_tape,
            tf.GradientTape() as discriminator_tape,
        ):
            sr = generator(lr, training=True)  # (batch, 4h, 4w, 3)
            # Separate batches: mixed, batch norm would tell HR from SR by their mean.
            real_logits = discriminator(hr, training=True)  # (batch, 1)
            fake_logits = discriminator(sr, training=True)
            discriminator_loss = losses.discriminator_loss(
                real_logits, fake_logits, real_labels, fake_labels
            )
            extractor = state.extractors["gan"]
            content = losses.content_loss(recipe.content, hr, sr, extractor)
            adversarial = losses.adversarial_loss(fake_logits, generator_labels)
            perceptual = content + recipe.adversarial_weight * adversarial
            # Scaled against underflow in mixed_float16, else unchanged.
            generator_loss = generator_optimizer.scale_loss(perceptual)
            scaled_loss = discriminator_optimizer.scale_loss(discriminator_loss)
        # Each network is trained by its own loss alone.
        weights = generator.trainable_variables, discriminator.trainable_variables
        generator_gradients = generator_tape.gradient(generator_loss, weights[0])
        discriminator_gradients = discriminator_tape.gradient(scaled_loss, weights[1])
        generator_optimizer.apply(generator_gradients, weights[0])
        discriminator_optimizer.apply(discriminator_gradients, weights[1])
        return {
            "perceptual": perceptual,
            "content": content,
            "adversarial": adversarial,
            "discriminator": discriminator_loss,
            "d_real": tf.reduce_mean(tf.sigmoid(real_logits)),
            "d_fake": tf.reduce_mean(tf.sigmoid(fake_logits)),
        }

    return gan_step
