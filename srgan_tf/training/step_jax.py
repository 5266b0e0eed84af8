"""The two training steps of SRGAN, pretrain and gan, under Keras' JAX backend.

Read step.py first: the mathematics is the same. JAX compiles pure functions, so that a
step takes the values of all variables and returns new ones. They stay on the devices,
in State.held, until something is saved, validated or shown.
"""

import jax
import keras
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from srgan_tf import losses
from srgan_tf.pixels import to_network_range


def pretrain(state, recipe):
    """The step of the first stage: the generator alone, by the content loss."""
    generator, optimizer = state.generator, state.generator_optimizer
    extractor = state.extractors["pretrain"]

    def pretrain_step(values, rate, frozen, lr, hr):
        """One update of the generator on a batch of uint8 (LR, HR) images."""
        ((weights, others, moments),) = values
        lr, hr = _in_network_range(lr, hr, generator)

        def generator_loss(weights):
            sr, new = generator.stateless_call(weights, others, lr, training=True)
            with _with_values(extractor, frozen):
                terms = recipe.pretrain_content
                content = losses.content_loss(terms, hr, sr, extractor)
            return content, ({"perceptual": content, "content": content}, new)

        (measures, others), weights, moments = _updated(
            generator_loss, weights, optimizer, moments, rate
        )
        return [(weights, others, moments)], measures

    return _compiled(pretrain_step, state, recipe, [(generator, optimizer)], extractor)


def gan(state, recipe):
    """The step of the second stage: both networks, each by its own loss."""
    generator, discriminator = state.networks()
    optimizers = state.generator_optimizer, state.discriminator_optimizer
    extractor, margin = state.extractors["gan"], recipe.margin

    def gan_step(values, rate, frozen, lr, hr, *labels):
        """One update of both networks on a batch of uint8 (LR, HR) images."""
        real_labels, fake_labels, generator_labels = labels
        (g_weights, g_others, g_moments), (d_weights, d_others, d_moments) = values
        lr, hr = _in_network_range(lr, hr, generator)

        def discriminate(weights, others, images):
            images = losses.interior(images, margin)
            return discriminator.stateless_call(weights, others, images, training=True)

        def generator_loss(weights):
            sr, new = generator.stateless_call(weights, g_others, lr, training=True)
            fake_logits, _ = discriminate(d_weights, d_others, sr)
            with _with_values(extractor, frozen):
                content = losses.content_loss(recipe.content, hr, sr, extractor, margin)
            adversarial = losses.adversarial_loss(fake_logits, generator_labels)
            perceptual = content + recipe.adversarial_weight * adversarial
            parts = {"content": content, "adversarial": adversarial}
            return perceptual, ({"perceptual": perceptual, **parts}, sr, new)

        def discriminator_loss(weights):
            # Separate batches: mixed, batch norm would tell HR from SR by their mean.
            real_logits, new = discriminate(weights, d_others, hr)
            # The compiler merges this pass with that of the generator's loss.
            fake_logits, new = discriminate(weights, new, sr)
            logits = real_logits, fake_logits
            loss = losses.discriminator_loss(*logits, real_labels, fake_labels)
            real, fake = (jax.nn.sigmoid(each).mean() for each in logits)
            return loss, ({"discriminator": loss, "d_real": real, "d_fake": fake}, new)

        # Each network is trained by its own loss alone.
        (measures, sr, g_others), g_weights_new, g_moments = _updated(
            generator_loss, g_weights, optimizers[0], g_moments, rate
        )
        (more, d_others_new), d_weights, d_moments = _updated(
            discriminator_loss, d_weights, optimizers[1], d_moments, rate
        )
        new = (g_weights_new, g_others, g_moments), (d_weights, d_others_new, d_moments)
        return list(new), measures | more

    networks = zip(state.networks(), optimizers, strict=True)
    return _compiled(gan_step, state, recipe, networks, extractor)


def _in_network_range(lr, hr, generator):
    lr, hr = (keras.ops.cast(images, "float32") for images in (lr, hr))
    return to_network_range(lr, generator.settings.lr_range), to_network_range(hr)


def _with_values(owner, values):
    """Within it, the variables of a network or optimizer have these values."""
    pairs = zip(owner.variables if owner else (), values, strict=True)
    return keras.StatelessScope([pair for pair in pairs if pair[1] is not None])


def _updated(loss, weights, optimizer, moments, rate):
    """(what else the loss returns, weights, moments) after an update by its gradient.

    moments: the values of optimizer.variables, but None for the learning rate.
    """

    def scaled_loss(weights):
        value, others = loss(weights)
        with _with_values(optimizer, moments):
            # Scaled against underflow in mixed_float16, else unchanged.
            return optimizer.scale_loss(value), others

    (_, others), gradients = jax.value_and_grad(scaled_loss, has_aux=True)(weights)
    given = [rate if value is None else value for value in moments]
    weights, new = optimizer.stateless_apply(given, gradients, weights)
    pairs = zip(moments, new, strict=True)
    return others, weights, [None if old is None else value for old, value in pairs]


def _compiled(step, state, recipe, networks, extractor):
    """A function (learning rate, lr, hr, labels...) → measures; it updates the state.

    step: a pure function (values, learning rate, values of the extractor, *batch) →
    (values, measures). networks: [(network, its optimizer)]. The batch is divided among
    the state's devices; what is a mean over the batch is one over all of them.
    """
    state.settle()
    variables, rates = [], []
    for network, optimizer in networks:
        given = optimizer.learning_rate  # it comes with each step
        rates.append(given)
        others = [None if each is given else each for each in optimizer.variables]
        variables.append(
            (network.trainable_variables, network.non_trainable_variables, others)
        )
    leaves, structure = jax.tree.flatten(variables)
    devices = jax.local_devices()[: state.devices.count]
    mesh = Mesh(np.array(devices), ["batch"])
    whole, divided = (NamedSharding(mesh, PartitionSpec(*x)) for x in ((), ["batch"]))
    frozen = [each.value for each in (extractor.variables if extractor else ())]
    frozen = jax.device_put(frozen, whole)
    exactly = recipe.deterministic == "true" and devices[0].platform == "gpu"
    compiled = jax.jit(
        lambda values, rate, frozen, batch: step(values, rate, frozen, *batch),
        donate_argnums=0, in_shardings=(whole, whole, whole, divided),
        out_shardings=whole,
        compiler_options={"xla_gpu_deterministic_ops": True} if exactly else None,
    )  # fmt: skip

    def update(rate, *batch):
        held = [value for _, value in state.held[: len(leaves)]]
        if not held:
            values = [variable.value for variable in leaves]
            held = jax.device_put(values, whole, donate=True)
        values = jax.tree.unflatten(structure, held)
        values, measures = compiled(values, rate, frozen, batch)
        state.held = list(zip(leaves, jax.tree.leaves(values), strict=True))
        state.held += [(variable, rate) for variable in rates]
        return measures

    return update
