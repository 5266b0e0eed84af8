"""Losses: content, discriminator and generator; the labels' noise.

Every loss is a float32 scalar, whatever precision its inputs have.
"""

import numpy as np
from keras import KerasTensor, ops

from srgan_tf import UserError
from srgan_tf.images import NETWORK_RANGE, to_pixels

# Content terms that compare pixels: what the mean is taken of.
PIXEL_TERMS = {"pixels": ops.square, "pixels_absolute": ops.absolute}


def check_terms(terms, extractor, high_size):
    """UserError for a content term that is unknown, or needs larger high images.

    extractor: from features.build_extractor, or None. high_size: their side, pixels.
    """
    known = [*PIXEL_TERMS, *(extractor.output if extractor is not None else ())]
    for term in terms:
        if term not in known:
            raise UserError(
                f"There is no content term {term!r} here, only {', '.join(known)}."
            )
    if extractor is None:
        return
    try:
        blank = KerasTensor((1, high_size, high_size, 3))
        found = extractor.compute_output_spec(blank).values()
        smallest = min(min(each.shape) for each in found)
    except ValueError:  # of some versions of Keras; others go on with no pixels
        smallest = 0
    if smallest < 1:
        raise UserError(
            f"high_size={high_size} leaves nothing of an image at "
            f"{', '.join(terms)}: set a larger one, or shallower features"
        )


def content_loss(
    terms, high, super_resolved, extractor=None, pixel_range=NETWORK_RANGE
):
    """Weighted sum of how far super-resolved images are from the high ones.

    terms: {term: weight}; "pixels" is the mean squared and "pixels_absolute" the mean
        absolute error of values in pixel_range; any other term ("vgg19/block5_conv4")
        is the mean squared error of the extractor's features of that name.
    high, super_resolved: [batch, height, width, 3] in pixel_range. No gradient goes
        into high.
    extractor: from features.build_extractor; needed where a term names features.
    check_terms tells what is wrong with terms; here they are taken as good.
    Ledig et al. 2017, eq. 4 and 5.
    """
    high = ops.stop_gradient(ops.cast(high, "float32"))
    super_resolved = ops.cast(super_resolved, "float32")
    if not terms.keys() <= PIXEL_TERMS.keys():
        real = extractor(to_pixels(high, pixel_range), training=False)
        fake = extractor(to_pixels(super_resolved, pixel_range), training=False)
    loss = ops.zeros((), "float32")
    for term, weight in terms.items():
        if distance := PIXEL_TERMS.get(term):
            error = distance(high - super_resolved)
        else:
            error = ops.square(ops.stop_gradient(real[term]) - fake[term])
        loss += weight * ops.mean(error)
    return loss


def discriminator_loss(real_logits, fake_logits, real_labels=1.0, fake_labels=0.0):
    """Half the cross-entropy of real images plus half that of super-resolved ones.

    logits: [batch, 1]. labels: a number or [batch, 1], the probability of being real.
    """
    real = _cross_entropy(real_logits, real_labels)
    fake = _cross_entropy(fake_logits, fake_labels)
    return 0.5 * (real + fake)


def adversarial_loss(fake_logits, labels=1.0):
    """Cross-entropy of super-resolved images passing for real, before its weight."""
    return _cross_entropy(fake_logits, labels)


def _cross_entropy(logits, labels):
    """Mean binary cross-entropy, from logits: finite, and never flat where wrong.

    -log sigmoid(x) = softplus(-x), and -log(1 - sigmoid(x)) = softplus(x).
    """
    logits, labels = ops.cast(logits, "float32"), ops.cast(labels, "float32")
    return ops.mean(
        labels * ops.softplus(-logits) + (1 - labels) * ops.softplus(logits)
    )


def noisy_labels(shape, mean, spread, key):
    """Labels drawn from N(mean, spread), a pure function of the key: float32 array.

    key: non-negative integers, such as (seed, step, 0). A spread of 0 gives the mean.
    Labels over 1 stay as drawn, as published: the loss is linear in them, so that the
    noise changes its mean by nothing, while clipping would shift every label.
    """
    generator = np.random.Generator(np.random.PCG64(list(key)))
    return generator.normal(mean, spread, shape).astype(np.float32)
