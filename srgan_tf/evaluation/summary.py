"""From what was measured of each image to means, standard deviations, differences."""

import itertools
import math

import numpy as np

from srgan_tf import metrics

METRICS = {  # in the order of a report: title and format
    "psnr_y": ("PSNR-Y, dB", ".2f"), "ssim_y": ("SSIM-Y", ".4f"),
    "psnr_rgb": ("PSNR-RGB, dB", ".2f"), "ssim_rgb": ("SSIM-RGB", ".4f"),
    "fid": ("FID", ".4g"), "kid": ("KID", ".4g"),
}  # fmt: skip
RESAMPLES, FID_RESAMPLES = 1000, 30  # of the bootstrap; an FID takes 0.1 s


@np.errstate(invalid="ignore")  # infinite PSNRs of identical images
def summarize(names, scores, features, independent):
    """The "results" and "differences" of a report, see compare.compare.

    names: the candidates. scores: of each image {candidate: {metric: value}}. features:
    {candidate or "hr": float [images, dimensions]}. independent: candidates whose
    features are of other images than HR's, not pairs.
    """
    drawn = {name: {} for name in names}  # {metric: [value, *resamples]}
    count, draws = len(scores), None
    if count > 1:
        draws = metrics.bootstrap_indices(count, RESAMPLES, 0)
    for name, found in drawn.items():
        for metric in scores[0].get(name, ()):
            each = [image[name][metric] for image in scores]
            # of two images, each resample holds both
            means = metrics.mean_resamples(each, draws) if count > 2 else ()
            found[metric] = np.append(np.mean(each), means)
        if count > 1 and len(features.get(name, ())) > 1:
            pair, paired = (features["hr"], features[name]), name not in independent
            indices = [draws]  # of a pair, else others for each
            if not paired:
                indices.append(metrics.bootstrap_indices(len(pair[1]), RESAMPLES, 1))
            few = [each[:FID_RESAMPLES] for each in indices]
            fid, kid = metrics.frechet_distance(*pair), metrics.kid(*pair, paired)
            found["fid"] = np.append(fid, metrics.frechet_resamples(*pair, *few))
            found["kid"] = np.append(kid, metrics.kid_resamples(*pair, *indices))
    differences = {}
    for a, b in itertools.combinations(names, 2):
        both = drawn[a].keys() & drawn[b].keys()
        apart = {metric: drawn[b][metric] - drawn[a][metric] for metric in both}
        differences[f"{b} - {a}"] = _cells(apart)
    results = {name: _cells(found) for name, found in drawn.items()}
    return {"results": results, "differences": differences}


def _cells(drawn):
    """{metric: value, metric_std: standard deviation}; None for unknown and NaN."""
    cells = {}
    for metric in METRICS:
        value, *resamples = drawn.get(metric, [math.nan])
        std = np.std(resamples, ddof=1) if resamples else math.nan
        for name, number in ((metric, value), (f"{metric}_std", std)):
            cells[name] = None if math.isnan(number) else float(number)
    return cells
