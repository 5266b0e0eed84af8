"""What a training step does: both networks, both optimizers, one function a stage."""

import contextlib
import subprocess

import keras
import tensorflow as tf

from srgan_tf import UserError, features, images, losses, networks, recipes


class Trainer:
    """Both networks, both optimizers, and a compiled step for each stage."""

    def __init__(self, recipe, seed, weights=None):
        """weights: {backbone: file, "random" or None}, see features.build_extractor."""
        self.recipe, self.seed = recipe, seed
        stages = {stage.name for stage in recipes.stages(recipe, 1)}
        keras.utils.set_random_seed(seed)
        keras.config.set_dtype_policy(_precision(recipe.precision))
        try:
            self.generator = networks.build_generator(
                networks.GeneratorSettings(
                    architecture=recipe.generator,
                    residual_blocks=recipe.residual_blocks,
                    filters=recipe.filters,
                    batch_norm=recipe.batch_norm,
                    low_range=recipe.low_range,
                    high_range=recipe.high_range,
                    recipe=recipe.name,
                )
            )
            if recipe.start == "interpolation":
                networks.start_as_interpolation(self.generator)
            self.generator_optimizer = self._optimizer(self.generator)
            self.discriminator = self.discriminator_optimizer = None
            if "gan" in stages:
                self.discriminator = networks.build_discriminator(
                    recipe.high_size, recipe.discriminator_filters
                )
                self.discriminator_optimizer = self._optimizer(self.discriminator)
        finally:
            keras.config.set_dtype_policy("float32")
        contents = {"pretrain": recipe.pretrain_content, "gan": recipe.content}
        self.extractors = {}
        for stage, terms in contents.items():
            if stage in stages:
                extractor = features.build_extractor(terms, weights)
                losses.check_terms(terms, extractor, recipe.high_size)
                self.extractors[stage] = extractor
        # Sums of three tensors or more, of known shape, TensorFlow's memory optimizer
        # rewrites where it thinks memory scarce (on a CPU it did for 4 images of 96
        # pixels) into sums whose order is left to chance, and with it the last bit of
        # each weight: so the batch size is not told.
        low, high = (
            tf.TensorSpec((None, side, side, 3), tf.uint8)
            for side in (recipe.high_size // images.SCALE, recipe.high_size)
        )
        labels = [tf.TensorSpec((None, 1), tf.float32)] * 3
        self._steps = {
            "pretrain": tf.function(self.pretrain_step, [low, high]),
            "gan": tf.function(self.gan_step, [low, high, *labels]),
        }

    def _optimizer(self, network):
        # Names of their own: Keras would count the optimizers of the process, and a
        # checkpoint's names must fit any process.
        optimizer = keras.optimizers.Adam(
            1e-4, beta_1=self.recipe.beta_1, epsilon=self.recipe.epsilon, name="adam"
        )
        if network.dtype_policy.name == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name="scaled")
        # Built before any restore: Keras would else start Adam from zero, with a
        # warning only.
        optimizer.build(network.trainable_variables)
        return optimizer

    def networks(self):
        """The generator and, where it is trained, the discriminator."""
        return [self.generator] + [self.discriminator] * bool(self.discriminator)

    def variables(self):
        """{name: variables} of the whole state of training."""
        names = (
            "generator",
            "generator_optimizer",
            "discriminator",
            "discriminator_optimizer",
        )
        parts = {name: getattr(self, name) for name in names}
        return {name: part.variables for name, part in parts.items() if part}

    def iterations(self):
        """Updates of each optimizer since its start."""
        optimizers = (self.generator_optimizer, self.discriminator_optimizer)
        return [
            int(optimizer.iterations.numpy()) for optimizer in optimizers if optimizer
        ]

    def begin_stage(self):
        """Forget the generator's Adam moments: they belong to another loss."""
        for variable in self.generator_optimizer.variables:
            if "learning_rate" not in variable.path and "scale" not in variable.path:
                variable.assign(keras.ops.zeros_like(variable))

    def step(self, stage, step, low, high):
        """Train on one uint8 batch; {measure: float}, of train.MEASURES."""
        recipe = self.recipe
        schedule = recipe.learning_rate
        if stage.name == "pretrain" and recipe.pretrain_learning_rate:
            schedule = recipe.pretrain_learning_rate
        rate = recipes.learning_rate_at(schedule, step - stage.first_step, stage.steps)
        self.generator_optimizer.learning_rate.assign(rate)
        arguments = [tf.constant(low), tf.constant(high)]
        if stage.name == "gan":
            self.discriminator_optimizer.learning_rate.assign(rate)
            shape = (len(low), 1)
            for index, kind in enumerate(("real", "fake", "generator")):
                mean = getattr(recipe, f"{kind}_label")
                spread = getattr(recipe, f"{kind}_label_spread")
                labels = losses.noisy_labels(
                    shape, mean, spread, (self.seed, step, index)
                )
                arguments.append(tf.constant(labels))
        try:
            values = self._steps[stage.name](*arguments)
        except tf.errors.ResourceExhaustedError as error:
            raise UserError(
                f"the memory is too small for batch_size={recipe.batch_size}: set a "
                "smaller one, or a smaller high_size"
            ) from error
        return {name: float(value) for name, value in values.items()}

    def ranges(self, low, high):
        """uint8 batches as float32 in the recipe's ranges."""
        low, high = tf.cast(low, tf.float32), tf.cast(high, tf.float32)
        return (
            images.to_range(low, self.recipe.low_range),
            images.to_range(high, self.recipe.high_range),
        )

    def pretrain_step(self, low, high):
        """The generator alone, by the content loss."""
        low, high = self.ranges(low, high)
        with tf.GradientTape() as tape:
            super_resolved = self.generator(low, training=True)
            content = losses.content_loss(
                self.recipe.pretrain_content, high, super_resolved,
                self.extractors["pretrain"], self.recipe.high_range,
            )  # fmt: skip
            scaled = self.generator_optimizer.scale_loss(content)
        _apply(self.generator_optimizer, tape, scaled, self.generator)
        return {"perceptual": content, "content": content}

    def gan_step(self, low, high, real_labels, fake_labels, generator_labels):
        """The discriminator, then the generator against the updated one.

        One forward pass of the generator serves both. Real and fake images go through
        the discriminator as batches of their own: mixed, batch norm would tell which is
        which by the batch's statistics.
        """
        low, high = self.ranges(low, high)
        with tf.GradientTape() as tape:
            super_resolved = self.generator(low, training=True)
            with tape.stop_recording():
                measures = self.discriminator_step(
                    high, super_resolved, real_labels, fake_labels
                )
            # The discriminator judges by batch statistics, as when it learns, but only
            # its own step may move its moving averages.
            averages = [
                (variable, tf.identity(variable.value))
                for variable in self.discriminator.non_trainable_variables
            ]
            logits = self.discriminator(super_resolved, training=True)
            content = losses.content_loss(
                self.recipe.content, high, super_resolved,
                self.extractors["gan"], self.recipe.high_range,
            )  # fmt: skip
            adversarial = losses.adversarial_loss(logits, generator_labels)
            perceptual = content + self.recipe.adversarial_weight * adversarial
            scaled = self.generator_optimizer.scale_loss(perceptual)
        for variable, value in averages:
            variable.assign(value)
        _apply(self.generator_optimizer, tape, scaled, self.generator)
        return {
            "perceptual": perceptual,
            "content": content,
            "adversarial": adversarial,
            **measures,
        }

    def discriminator_step(self, high, super_resolved, real_labels, fake_labels):
        """Teach the discriminator one batch of real and one of fake images."""
        super_resolved = tf.stop_gradient(super_resolved)
        with tf.GradientTape() as tape:
            real_logits = self.discriminator(high, training=True)
            fake_logits = self.discriminator(super_resolved, training=True)
            loss = losses.discriminator_loss(
                real_logits, fake_logits, real_labels, fake_labels
            )
            scaled = self.discriminator_optimizer.scale_loss(loss)
        _apply(self.discriminator_optimizer, tape, scaled, self.discriminator)
        return {
            "discriminator": loss,
            "d_real": tf.reduce_mean(tf.sigmoid(tf.cast(real_logits, tf.float32))),
            "d_fake": tf.reduce_mean(tf.sigmoid(tf.cast(fake_logits, tf.float32))),
        }


def _apply(optimizer, tape, loss, network):
    gradients = tape.gradient(loss, network.trainable_variables)
    optimizer.apply_gradients(zip(gradients, network.trainable_variables, strict=True))


def hardware():
    """{"gpu": name or None, "memory": its bytes or None, "precision", versions}.

    precision: the Keras policy that the precision "auto" takes here.
    """
    devices = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details(devices[0]) if devices else {}
    memory = None
    if devices:  # TensorFlow tells what it would take, not what there is
        command = "nvidia-smi --query-gpu=memory.total --format=csv,noheader,nounits"
        with contextlib.suppress(OSError, ValueError, IndexError):
            told = subprocess.run(command.split(), capture_output=True, text=True)
            memory = int(told.stdout.split()[0]) * 2**20
    return {
        "gpu": details.get("device_name", "GPU") if devices else None,
        "memory": memory,
        "precision": _precision("auto"),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


def _precision(name):
    """The Keras policy of a precision; "auto" asks the hardware."""
    if name != "auto":
        return name
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        return "float32"
    details = tf.config.experimental.get_device_details(devices[0])
    major, minor = details.get("compute_capability", (0, 0))
    # Tensor cores know float16 from 7.0 (T4: 7.5) and bfloat16 from 8.0 on.
    if (major, minor) >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if (major, minor) >= (7, 0) else "float32"
