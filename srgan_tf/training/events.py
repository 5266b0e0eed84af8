"""What a training reports: the command line and the notebook are two readers of it."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Step:
    """A step is done. number: steps so far, of `last`."""

    number: int
    last: int
    measures: dict  # {name: float}, of state.MEASURES


@dataclasses.dataclass(frozen=True)
class Epoch:
    """An epoch is done. row: its row of the loss log; findings: new ones, messages."""

    epoch: int
    row: dict
    findings: list


@dataclasses.dataclass(frozen=True)
class Picture:
    """A sample picture was made: uint8 [height, width, 3]."""

    pixels: np.ndarray
    epoch: int
    step: int


@dataclasses.dataclass(frozen=True)
class Saved:
    """A checkpoint was written to `path`, or could not be: then path is None."""

    path: object
    step: int
