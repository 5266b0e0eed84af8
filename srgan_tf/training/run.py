"""A training run: what it consists of, and where it stands."""

import dataclasses
import math

from srgan_tf import settings
from srgan_tf.data import batches, split
from srgan_tf.training import folder, log, state, validation


@dataclasses.dataclass
class Run:
    """One run of a recipe on photographs, and where it stands."""

    recipe: settings.Recipe
    seed: int
    folder: folder.RunFolder
    run_id: str
    split: split.Split
    batches: batches.Batches
    validation: validation.Validation
    stages: list
    state: state.State
    step: int = 0  # steps done
    log: dict = dataclasses.field(default_factory=log.new_loss_log)
    sums: dict = dataclasses.field(default_factory=dict)  # of the epoch under way
    best: dict = dataclasses.field(default_factory=dict)  # {metric: [value, step]}
    log_due: float = -math.inf  # when to write it again, by the monotonic clock
    saved: int = 0  # the step of the newest checkpoint, if any
    ready: bool = True  # False if an error or a second Ctrl-C broke a step off
    anew: bool = False  # whether it replaces a run of its name, once it trains

    @property
    def name(self):
        return self.folder.name

    @property
    def last_step(self):
        return self.stages[-1].last_step

    @property
    def stage(self):
        """The stage of the last step done, or the first."""
        return next(each for each in self.stages if self.step <= each.last_step)

    @property
    def missing(self):
        """What a failing root lacks: paths, as text."""
        lacks = [] if self.saved == self.step else [self.folder.checkpoints]
        return sorted(map(str, [*lacks, *self.folder.missing]))
