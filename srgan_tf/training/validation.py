"""What is looked at while a run trains: the same validation images every time."""

import functools
import logging

import numpy as np

from srgan_tf import metrics, pixels, plots
from srgan_tf.data import batches, photographs
from srgan_tf.networks import generators
from srgan_tf.training import doctor

logger = logging.getLogger(__name__)
TITLES = ("LR", "bicubic", "SR", "HR")
LEAST = 128  # pixels: smaller pictures are shown larger, so that letters fit


class Validation:
    """Center crops of the validation images (Sources), as a recipe says."""

    def __init__(self, found, recipe):
        self.found, self.recipe = found, recipe

    @functools.cached_property
    def pairs(self):
        """[(lr, hr)], uint8. An image that cannot be decoded is named and left out."""
        recipe, pairs = self.recipe, []
        how = "resize" if recipe.patches == "resize" else "center"
        size = recipe.validation_size or recipe.patch_size
        for source in self.found[: recipe.validation_images]:
            try:
                pairs.append(batches.cut_patch(source.pixels(), how, size))
            except photographs.UnreadableImage as error:
                logger.warning("not used for validation: %s", error)
        return pairs

    @functools.cached_property
    def _psnr_bicubic(self):
        return _mean_psnr((pixels.bicubic_up(lr), hr) for lr, hr in self.pairs)

    def scores(self, generator):
        """{column of the loss log: mean over the images}; empty without any image."""
        pairs = [(generators.super_resolve(generator, lr), hr) for lr, hr in self.pairs]
        if not pairs:
            return {}
        ssims = [metrics.ssim(*pair, border=pixels.SCALE, luma=True) for pair in pairs]
        return {
            "psnr_y": _mean_psnr(pairs),
            "ssim_y": float(np.mean(ssims)),
            "psnr_bicubic": self._psnr_bicubic,
            **doctor.measure(pairs),
        }

    def sample(self, generator):
        """A picture, uint8, of LR, bicubic, SR and HR images; None without any."""
        rows = [
            [lr, pixels.bicubic_up(lr), generators.super_resolve(generator, lr), hr]
            for lr, hr in self.pairs[: self.recipe.sample_images]
        ]
        return plots.gallery(rows, TITLES, least=LEAST) if rows else None


def _mean_psnr(pairs):
    scores = [metrics.psnr(*pair, border=pixels.SCALE, luma=True) for pair in pairs]
    return float(np.mean(scores))
