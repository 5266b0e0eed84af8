"""What the shipped generators are worth: the figures of the README, in one run.

    python benchmarks/quality.py DATA [--vgg-weights FILE] [--limit N] [--check]

DATA holds set5 and set14 (each with HR and LR_x4), coco/test and celeba/test. Prints
Markdown tables: PSNR and SSIM on Set5 and Set14; the checkerboard on whole images
(power at a period of 4 pixels, SR over HR); white, black and grey; and the square of
models and test sets with PSNR, FID and KID of VGG19's features. About ten minutes.
--check: exit code 1, naming them, if figures are worse than those that were shipped.
"""

import argparse
import pathlib

import numpy as np

from srgan_tf.data import sources
from srgan_tf.evaluation import compare, report, testset
from srgan_tf.networks import files
from srgan_tf.training import doctor
from srgan_tf.upscaling import tiles

SHIPPED = {"compact": "compact", "A": "coco", "B": "celeba"}
LEVELS = {"compact": 1, "A": 2, "B": 2}  # that white, black and grey may be off
GRID = {"compact": 1.0, "A": 1.5, "B": 1.5}  # the most that a checkerboard may be
LEAST_PSNR = {"set5": 31.8, "set14": 28.3}  # of compact, dB


def benchmark_table(data, models):
    """PSNR-Y and SSIM-Y with the LR images given, border 4."""
    sets = {name: [data / name / "HR"] for name in ("set5", "set14")}
    lr = {name: [data / name / "LR_x4"] for name in sets}
    reports, _ = compare.compare(sets, models, lr=lr)
    print("| | " + " | ".join(f"{name} PSNR-Y / SSIM-Y" for name in sets) + " |")
    print("| --- |" + " ---: |" * len(sets))
    for name in ("bicubic", *models):
        cells = [reports[each]["results"][name] for each in sets]
        shown = " | ".join(f"{c['psnr_y']:.2f} / {c['ssim_y']:.4f}" for c in cells)
        print(f"| {name} | {shown} |", flush=True)
    for name, least in LEAST_PSNR.items():
        psnr = reports[name]["results"]["compact"]["psnr_y"]
        yield psnr >= least, f"compact has {psnr:.2f} dB on {name}, not {least}"


def artefact_table(data, models, limit):
    """The checkerboard on whole images, and what becomes of flat colours."""
    upscalers = {
        name: tiles.Upscaler(files.load_generator(path))
        for name, path in models.items()
    }
    sets = {
        "COCO test": data / "coco" / "test", "Set14": data / "set14" / "HR",
        "CelebA test": data / "celeba" / "test",
    }  # fmt: skip
    print("\n| | " + " | ".join(f"checkerboard, {name}" for name in sets), end="")
    print(" | white | black | grey 128 |\n| --- |" + " ---: |" * 6)
    pairs = {name: {model: [] for model in models} for name in sets}
    for name, folder in sets.items():
        for pictures in testset.TestSet([folder], limit=limit):
            height, width = pictures.hr.shape[:2]
            if min(height, width) >= 24:
                for model, upscaler in upscalers.items():
                    pairs[name][model].append((upscaler(pictures.lr), pictures.hr))
    for model, upscaler in upscalers.items():
        cells = []
        for name in sets:
            grid = doctor.measure(pairs[name][model])["checkerboard"]
            cells.append(f"{grid:.2f}")
            yield grid < GRID[model], f"{model}: checkerboard of {grid:.2f} on {name}"
        for level in (255, 0, 128):
            sr = upscaler(np.full((24, 24, 3), level, np.uint8))
            cells.append(f"{sr.min()} to {sr.max()}")
            off = int(np.abs(sr.astype(int) - level).max())
            yield off <= LEVELS[model], f"{model} makes {level} {off} levels different"
        print(f"| {model} | " + " | ".join(cells) + " |", flush=True)


def study_table(data, models, weights, limit):
    """A and B on photographs and on faces, in the middle 88 pixels."""
    evaluator = compare.Evaluator("vgg19:block3_conv4", {"vgg19": weights})
    sets = {name: [data / name.lower() / "test"] for name in ("COCO", "CelebA")}
    reports, _ = compare.compare(
        sets, models, evaluator=evaluator, center_crop=88, limit=limit
    )
    print("\n" + report.markdown(reports), flush=True)
    for name, best in (("COCO", "A"), ("CelebA", "B")):
        found = reports[name]["results"]
        for other in found.keys() - {best}:
            ahead = found[best]["kid"] < found[other]["kid"]
            yield ahead, f"{best} has no smaller KID on {name} than {other}"
    gain = found["B"]["psnr_y"] - found["bicubic"]["psnr_y"]
    yield gain >= 1, f"B is {gain:.2f} dB over bicubic on faces, not 1"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--vgg-weights", metavar="FILE")
    parser.add_argument("--limit", type=int, default=100, help="images of a set (100)")
    parser.add_argument("--check", action="store_true", help="fail if one is worse")
    options = parser.parse_args()
    models = {name: files.find_model(path) for name, path in SHIPPED.items()}
    sources.list_photographs(options.data / "coco" / "test")  # before the long work
    checks = [
        *benchmark_table(options.data, models),
        *artefact_table(options.data, models, options.limit),
        *study_table(options.data, models, options.vgg_weights, options.limit),
    ]
    worse = [message for met, message in checks if not met]
    print("\n".join(worse) or f"none of {len(checks)} figures is worse than shipped")
    raise SystemExit(bool(worse) and options.check)


if __name__ == "__main__":
    main()
