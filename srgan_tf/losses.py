"""Losses: content, discriminator, adversarial; and the noise of the labels.

Every loss is a float32 scalar, whatever the precision of its inputs is.
"""

import keras
import numpy as np
from keras import ops

from srgan_tf import UserError, pixels

# Content terms that compare pixels: the function whose mean is taken.
PIXEL_TERMS = {"pixels": ops.square, "pixels_absolute": ops.absolute}


def check_terms(terms, extractor, patch_size):
    """Raises UserError for content terms that are unknown or need larger HR patches.

    terms, extractor: as content_loss takes them. patch_size: a side, in pixels.
    """
    known = [*PIXEL_TERMS, *(extractor.output if extractor else ())]
    if unknown := [term for term in terms if term not in known]:
        choices = ", ".join(known)
        raise UserError(f"there is no content term {unknown[0]!r}, only {choices}")
    blank = keras.KerasTensor((1, patch_size, patch_size, 3))
    try:
        outputs = extractor.compute_output_spec(blank).values() if extractor else ()
        fits = all(min(output.shape) > 0 for output in outputs)
    except ValueError:  # some versions of Keras refuse, others return empty shapes
        fits = False
    if not fits:
        names = ", ".join(terms)
        raise UserError(f"patch_size={patch_size} is too small for {names}: enlarge it")


def content_loss(terms, hr, sr, extractor=None):
    """Weighted sum of the differences of SR images from their HR images.

    terms: {term: weight}. "pixels" is the mean squared and "pixels_absolute" the mean
        absolute error of the values; any other term ("vgg19/block5_conv4") is the mean
        squared error of the extractor's features of that name.
    hr, sr: [batch, height, width, 3] in [-1, 1]. No gradient goes into hr.
    extractor: from features.build_extractor, if a term names features.
    Ledig et al. 2017, eq. 4 and 5.
    """
    hr, sr = ops.stop_gradient(ops.cast(hr, "float32")), ops.cast(sr, "float32")
    if not terms.keys() <= PIXEL_TERMS.keys():
        hr_features = extractor(pixels.to_pixels(hr), training=False)
        sr_features = extractor(pixels.to_pixels(sr), training=False)
    loss = ops.zeros((), "float32")
    for term, weight in terms.items():
        if distance := PIXEL_TERMS.get(term):
            error = distance(hr - sr)
        else:
            error = ops.square(ops.stop_gradient(hr_features[term]) - sr_features[term])
        loss += weight * ops.mean(error)
    return loss


def discriminator_loss(real_logits, fake_logits, real_labels=1.0, fake_labels=0.0):
    """Half the cross-entropy of HR images plus half the cross-entropy of SR images.

    logits: [batch, 1]. labels: a number or [batch, 1], the probability of being real.
    """
    real = _cross_entropy(real_logits, real_labels)
    return 0.5 * (real + _cross_entropy(fake_logits, fake_labels))


def adversarial_loss(fake_logits, labels=1.0):
    """Cross-entropy of SR images against the label "real", before its weight."""
    return _cross_entropy(fake_logits, labels)


def _cross_entropy(logits, labels):
    """Mean binary cross-entropy from logits, with a gradient however wrong they are."""
    logits, labels = ops.cast(logits, "float32"), ops.cast(labels, "float32")
    real = labels * ops.softplus(-logits)  # softplus(-x) = -log sigmoid(x)
    return ops.mean(real + (1 - labels) * ops.softplus(logits))


def noisy_labels(shape, mean, std, rng):
    """Labels drawn from a normal distribution by a NumPy generator: a float32 array.

    Those over 1 are not clipped, as published: that would shift the mean of the loss.
    """
    return rng.normal(mean, std, shape).astype(np.float32)
