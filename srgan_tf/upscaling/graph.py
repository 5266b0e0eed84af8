"""How far the layers of a generator see, and where its graph can be cut in two."""

import math
from typing import NamedTuple

import keras

from srgan_tf import UserError
from srgan_tf.pixels import SCALE

# Layers and operations of Keras in which a pixel depends on its own place alone.
_POINTWISE = (
    "Activation BatchNormalization Dropout ELU GaussianNoise Identity LeakyReLU PReLU "
    "ReLU Rescaling Softmax Add Average Concatenate Maximum Minimum Multiply Subtract "
    "Absolute Cast Clip Divide LeakyRelu Negative Relu Sigmoid Silu Tanh TrueDivide"
)
_SLIDING = "Conv2D DepthwiseConv2D SeparableConv2D TailConvolution Conv2DTranspose"
_TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}  # input pixels; lanczos: up to 10


class Step(NamedTuple):
    """One call of a layer: it enlarges, and an output pixel sees its neighbours."""

    inputs: list[keras.KerasTensor]
    output: keras.KerasTensor
    size: int  # of its window, in output pixels
    factor: int  # by which it enlarges
    scale: int  # side of its output / side of the LR image


def steps(generator):
    """[Step] of a functional Keras model, each after those that it depends on.

    Raises UserError, naming the layer, for one that goes below the resolution of its
    input or is not known here: a guess would leave seams.
    """
    scales, found = {id(generator.inputs[0]): 1}, []
    # calls, not layers: a layer may be shared
    for _, calls in sorted(generator._nodes_by_depth.items(), reverse=True):
        for call in (call for call in calls if not call.is_input):
            size, factor = _window(call.operation)
            inputs, output = list(call.input_tensors), call.output_tensors[0]
            scale = scales[id(output)] = factor * scales[id(inputs[0])]
            found.append(Step(inputs, output, size, factor, scale))
    return found


def _window(layer):
    """(size, factor) of a layer or operation, as in Step."""
    kind = type(layer).__name__
    if not type(layer).__module__.startswith(("keras.", "srgan_tf.")):
        kind = f"a {kind} of your own"
    if kind in _POINTWISE.split() and getattr(layer, "axis", -1) in (-1, 3):
        return 1, 1
    if kind == "PixelShuffle":
        return layer.block, layer.block
    if kind == "Bilinear":
        return 2 * SCALE, SCALE
    if kind == "UpSampling2D" and len(set(layer.size)) == 1:
        return _TAPS.get(layer.interpolation, 10) * layer.size[0], layer.size[0]
    if kind in _SLIDING.split() and layer.padding == "same":
        window = zip(layer.kernel_size, layer.dilation_rate, strict=True)
        size, (stride, other) = max(d * (k - 1) + 1 for k, d in window), layer.strides
        if stride == other and (kind == "Conv2DTranspose" or stride == 1):
            return size, stride
    raise UserError(f"The layer {layer.name} ({kind}) cannot be tiled.")


def reach(steps, start, end):
    """How many pixels of tensor start a pixel of tensor end sees to each side."""
    seen = {id(start): 0, id(end): 0}
    for step in reversed(steps):
        # even kernels count as the next odd ones
        beyond = seen[id(step.output)] + max(0, (step.size - step.factor + 1) // 2)
        for key in map(id, step.inputs):
            seen[key] = max(math.ceil(beyond / step.factor), seen.get(key, 0))
    return seen[id(start)]


def cut(steps, start, end):
    """How many steps the front part of a generator gets; 0 if it has but one part.

    The cut is a tensor at LR resolution through which every path leads and before
    which the generator sees further than after it: with the fewest channels, the last.
    """
    best, fewest = 0, math.inf
    for count in range(1, len(steps)):
        middle, later = steps[count - 1].output, steps[count:]
        crossing = {id(tensor) for step in later for tensor in step.inputs}
        crossing -= {id(step.output) for step in later}
        if crossing == {id(middle)} and steps[count - 1].scale == 1:
            before, channels = reach(steps[:count], start, middle), middle.shape[-1]
            if channels <= fewest and before > reach(later, middle, end):
                best, fewest = count, channels
    return best
