"""What is looked at while a run trains: the same validation images every time."""

import functools

import numpy as np

from srgan_tf import data, doctor, images, metrics, networks, plots

TITLES = ("low", "bicubic", "super-resolved", "high")


class Validation:
    """Center crops of the validation images, and what a generator makes of them.

    sources: data.Sources. recipe: says how many, and of which size.
    """

    def __init__(self, sources, recipe):
        self.sources, self.recipe = sources, recipe
        self.size = recipe.validate_size or recipe.high_size

    def pairs(self, count):
        """(low, high), uint8, of the first `count` images, one after another."""
        for source in self.sources[:count]:
            how = "resize" if self.recipe.crop == "resize" else "center"
            high = data.cut(source.pixels(), how, self.size)
            yield images.bicubic_down(high), high

    @functools.cached_property
    def _bicubic(self):
        pairs = self.pairs(self.recipe.validate_images)
        return _mean_psnr((images.bicubic_up(low), high) for low, high in pairs)

    def scores(self, generator):
        """{column: mean over the images} of a loss log: PSNR-Y and SSIM-Y (crop 4).

        Bicubic's PSNR-Y and what the doctor looks at too. Empty without any image.
        """
        made = [
            (networks.super_resolve(generator, low), high)
            for low, high in self.pairs(self.recipe.validate_images)
        ]
        if not made:
            return {}
        ssims = [metrics.ssim(*pair, crop=images.SCALE, luma=True) for pair in made]
        return {
            "psnr_y": _mean_psnr(made),
            "ssim_y": float(np.mean(ssims)),
            "psnr_bicubic": self._bicubic,
            **doctor.measure(made),
        }

    def sample(self, generator):
        """A picture of low, bicubic, super-resolved and high; None without any image.

        uint8 [height, width, 3], a row an image, its pixels exact.
        """
        rows = [
            [low, images.bicubic_up(low), networks.super_resolve(generator, low), high]
            for low, high in self.pairs(self.recipe.sample_images)
        ]
        return plots.gallery(rows, TITLES) if rows else None


def _mean_psnr(pairs):
    scores = [metrics.psnr(*pair, crop=images.SCALE, luma=True) for pair in pairs]
    return float(np.mean(scores))
