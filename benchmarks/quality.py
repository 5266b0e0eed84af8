"""What the shipped generators are worth: the figures of the README, in one run.

    python benchmarks/quality.py DATA [--vgg-weights FILE] [--limit N] [NAME=FILE.h5 …]

DATA holds set5 and set14 (each with HR and LR_x4), coco/test and celeba/test. Prints
Markdown tables: PSNR and SSIM on Set5 and Set14; the checkerboard on whole images
(power at a period of 4 pixels, SR over HR); white, black and grey; and the square of
models and test sets with PSNR, FID and KID of VGG19's features. About ten minutes.
"""

import argparse
import pathlib

import numpy as np

from srgan_tf.data import sources
from srgan_tf.evaluation import compare, report, testset
from srgan_tf.networks import files
from srgan_tf.training import doctor
from srgan_tf.upscaling import tiles

SHIPPED = ["compact=compact", "A=coco", "B=celeba"]


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
        print(f"| {name} | {shown} |")


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
        cells = [
            f"{doctor.measure(pairs[name][model])['checkerboard']:.2f}" for name in sets
        ]
        for level in (255, 0, 128):
            sr = upscaler(np.full((24, 24, 3), level, np.uint8))
            cells.append(f"{sr.min()} to {sr.max()}")
        print(f"| {model} | " + " | ".join(cells) + " |")


def study_table(data, models, weights, limit):
    """A and B on photographs and on faces, in the middle 88 pixels."""
    evaluator = compare.Evaluator("vgg19:block3_conv4", {"vgg19": weights})
    sets = {name: [data / name.lower() / "test"] for name in ("COCO", "CelebA")}
    reports, _ = compare.compare(
        sets, models, evaluator=evaluator, center_crop=88, limit=limit
    )
    print("\n" + report.markdown(reports))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("models", nargs="*", default=SHIPPED, metavar="NAME=FILE.h5")
    parser.add_argument("--vgg-weights", metavar="FILE")
    parser.add_argument("--limit", type=int, default=100, help="images of a set (100)")
    options = parser.parse_args()
    models = dict(each.split("=", 1) for each in options.models)
    models = {name: files.find_model(path) for name, path in models.items()}
    sources.list_photographs(options.data / "coco" / "test")  # before the long work
    benchmark_table(options.data, models)
    artefact_table(options.data, models, options.limit)
    study_table(options.data, models, options.vgg_weights, options.limit)


if __name__ == "__main__":
    main()
