"""The two training steps of SRGAN, pretrain and gan, in TensorFlow.

Read from top to bottom. The form is that of TensorFlow's DCGAN and pix2pix tutorials.
What is trained, the networks and their optimizers, is built in state.py; step_jax.py
has the same steps for Keras' JAX backend.
"""

import functools

import keras
import tensorflow as tf

from srgan_tf import UserError, losses
from srgan_tf.pixels import SCALE, to_network_range


def _specs(recipe):
    """Of the learning rate and the images."""
    # The batch size is unknown to the graph: where TensorFlow finds memory scarce, it
    # rewrites sums of three or more tensors of known shape into sums whose order, and
    # with it the last bit of each weight, changes from run to run.
    sides = recipe.patch_size // SCALE, recipe.patch_size
    images = [tf.TensorSpec((None, side, side, 3), tf.uint8) for side in sides]
    return [tf.TensorSpec((), tf.float32), *images]


def pretrain(state, recipe):
    """The step of the first stage: the generator alone, by the content loss."""
    generator, optimizer = state.generator, state.generator_optimizer

    def pretrain_step(rate, lr, hr):
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
        optimizer.learning_rate.assign(rate)
        _apply(optimizer, gradients, generator.trainable_variables)
        return {"perceptual": content, "content": content}

    return _compiled(pretrain_step, state, recipe)


def gan(state, recipe):
    """The step of the second stage: both networks, each by its own loss."""
    generator, discriminator = state.networks()
    generator_optimizer = state.generator_optimizer
    discriminator_optimizer = state.discriminator_optimizer
    extractor, margin = state.extractors["gan"], recipe.margin

    def gan_step(rate, lr, hr, real_labels, fake_labels, generator_labels):
        """One update of both networks on a batch of uint8 (LR, HR) images."""
        lr = to_network_range(tf.cast(lr, tf.float32), generator.settings.lr_range)
        hr = to_network_range(tf.cast(hr, tf.float32))
        with (
            tf.GradientTape() as generator_tape,
            tf.GradientTape() as discriminator_tape,
        ):
            sr = generator(lr, training=True)  # (batch, 4h, 4w, 3)
            # Separate batches: mixed, batch norm would tell HR from SR by their mean.
            seen = (losses.interior(images, margin) for images in (hr, sr))
            real_logits, fake_logits = (  # (batch, 1)
                discriminator(images, training=True) for images in seen
            )
            discriminator_loss = losses.discriminator_loss(
                real_logits, fake_logits, real_labels, fake_labels
            )
            content = losses.content_loss(recipe.content, hr, sr, extractor, margin)
            adversarial = losses.adversarial_loss(fake_logits, generator_labels)
            perceptual = content + recipe.adversarial_weight * adversarial
            # Scaled against underflow in mixed_float16, else unchanged.
            generator_loss = generator_optimizer.scale_loss(perceptual)
            scaled_loss = discriminator_optimizer.scale_loss(discriminator_loss)
        # Each network is trained by its own loss alone.
        weights = generator.trainable_variables, discriminator.trainable_variables
        generator_gradients = generator_tape.gradient(generator_loss, weights[0])
        discriminator_gradients = discriminator_tape.gradient(scaled_loss, weights[1])
        generator_optimizer.learning_rate.assign(rate)
        discriminator_optimizer.learning_rate.assign(rate)
        _apply(generator_optimizer, generator_gradients, weights[0])
        _apply(discriminator_optimizer, discriminator_gradients, weights[1])
        return {
            "perceptual": perceptual,
            "content": content,
            "adversarial": adversarial,
            "discriminator": discriminator_loss,
            "d_real": tf.reduce_mean(tf.sigmoid(real_logits)),
            "d_fake": tf.reduce_mean(tf.sigmoid(fake_logits)),
        }

    return _compiled(gan_step, state, recipe, labels=3)


def _apply(optimizer, gradients, variables):
    """Updates the variables by the mean of all devices' gradients."""
    context = tf.distribute.get_replica_context()
    count = context.num_replicas_in_sync
    if count > 1:
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # Each device sees whether its gradients are finite: they must agree.
            gradients = context.all_reduce("MEAN", gradients)
        gradients = [gradient / count for gradient in gradients]  # Keras takes the sum
    optimizer.apply(gradients, variables)


def _compiled(step, state, recipe, labels=0):
    """The step as a function of a whole batch, whatever devices share it."""
    devices, compiles = state.devices, recipe.jit_compile == "true"
    if compiles and devices.strategy:
        raise UserError("jit_compile=true is for one device: set it to false")
    here = devices.count // devices.machines

    def on_device(rate, *batch):
        number = tf.distribute.get_replica_context().replica_id_in_sync_group % here
        size = tf.shape(batch[0])[0] // here
        return step(rate, *(x[number * size : (number + 1) * size] for x in batch))

    def on_devices(*batch):
        measures = devices.strategy.run(on_device, batch)
        mean = functools.partial(devices.strategy.reduce, "MEAN", axis=None)
        return {name: mean(value) for name, value in measures.items()}

    signature = [*_specs(recipe), *[tf.TensorSpec((None, 1), tf.float32)] * labels]
    # Nothing in a step is for AutoGraph, which takes seconds and leaves files behind.
    return tf.function(
        on_devices if devices.strategy else step, input_signature=signature,
        autograph=False, jit_compile=compiles,
    )  # fmt: skip
