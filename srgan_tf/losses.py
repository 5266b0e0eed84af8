"""Losses: content, discriminator, adversarial; and the noise of the labels.

Every loss is a float32 scalar, whatever the precision of its inputs is.
"""

import keras
import numpy as np
from keras import ops

from srgan_tf import UserError, pixels


def _grid(difference):
    """The square of what in a difference repeats with a period of SCALE pixels.

    These are the means of every fourth pixel over windows of 32 pixels, less the mean
    of the window. What photographs hold has no fixed place on the LR grid and averages
    out; a pattern that pixel shuffle repeats for every LR pixel remains.
    """
    side = pixels.SCALE
    height, width = (size // side for size in difference.shape[1:3])
    phases = ops.reshape(difference, (-1, height, side, width, side, 3))
    phases = ops.transpose(phases, (0, 1, 3, 5, 2, 4))
    phases = ops.reshape(phases, (-1, height, width, 3 * side**2))
    window = min(8, height, width)
    means = ops.average_pool(phases, window, max(1, window // 2))
    means = ops.reshape(means, (-1, 3, side**2))
    return ops.square(means - ops.mean(means, axis=2, keepdims=True))


# Content terms that compare pixels: the function whose mean is taken.
PIXEL_TERMS = {"pixels": ops.square, "pixels_absolute": ops.absolute, "grid": _grid}


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


def interior(images, margin):
    """Images [batch, height, width, 3] without so many pixels at each border."""
    return images[:, margin:-margin, margin:-margin] if margin else images


def content_loss(terms, hr, sr, extractor=None, margin=0):
    """Weighted sum of the differences of SR images from their HR images.

    terms: {term: weight}. "pixels" is the mean squared and "pixels_absolute" the mean
        absolute error of the values; any other term ("vgg19/block5_conv4") is the mean
        squared error of the extractor's features of that name; "grid" is the mean of
        what repeats on the LR grid, see _grid.
    hr, sr: [batch, height, width, 3] in [-1, 1]. No gradient goes into hr.
    extractor: from features.build_extractor, if a term names features.
    margin: the pixels at each border that it does not see.
    Ledig et al. 2017, eq. 4 and 5.
    """
    hr, sr = ops.stop_gradient(ops.cast(hr, "float32")), ops.cast(sr, "float32")
    if not terms.keys() <= PIXEL_TERMS.keys():
        seen = (pixels.to_pixels(interior(images, margin)) for images in (hr, sr))
        hr_features, sr_features = (extractor(each, training=False) for each in seen)
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
