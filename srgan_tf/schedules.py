"""The language of a recipe's durations and learning rates, and its stages."""

import dataclasses
import math
import re

from srgan_tf import UserError


@dataclasses.dataclass(frozen=True)
class Stage:
    """Steps [first_step, first_step + steps) that are trained in one way."""

    name: str  # pretrain | gan
    first_step: int
    steps: int
    first_epoch: int  # epochs count from 1, and a stage begins a new one
    steps_per_epoch: int

    @property
    def last_step(self):
        return self.first_step + self.steps

    def position(self, step):
        """(epoch from 1, index of the step in that epoch from 0)."""
        epoch, index = divmod(step - self.first_step, self.steps_per_epoch)
        return self.first_epoch + epoch, index

    def ends_epoch(self, step):
        """Whether the step is its epoch's last; a stage's last epoch may be short."""
        _, index = self.position(step)
        return index == self.steps_per_epoch - 1 or step == self.last_step - 1

    def due(self, step, every):
        """Whether a multiple of `every` steps lies in the epoch that ends at `step`."""
        done = step - self.first_step + 1
        before = (done - 1) // self.steps_per_epoch * self.steps_per_epoch
        return done // every > before // every


def stages(recipe, steps_per_epoch):
    """The stages of a recipe that have any step, in order; UserError if none has."""
    found, step, epoch = [], 0, 1
    for name in ("pretrain", "gan"):
        steps = duration_steps(getattr(recipe, name), steps_per_epoch)
        if steps:
            found.append(Stage(name, step, steps, epoch, steps_per_epoch))
            step += steps
            epoch += math.ceil(steps / steps_per_epoch)
    if not found:
        raise UserError(f"{recipe.name} trains nothing: set pretrain or gan longer")
    return found


def duration_steps(text, steps_per_epoch):
    """Steps of a duration such as "200 steps" or "1 epoch"."""
    match = re.fullmatch(r"\s*(\d[\d_,]{0,14})\s*(step|epoch)s?\s*", text)
    if not match:
        raise UserError(f'"{text}" is not a duration: write "200 steps" or "25 epochs"')
    count = int(re.sub("[_,]", "", match[1]))
    return count * (steps_per_epoch if match[2] == "epoch" else 1)


def learning_rate(text):
    """The schedule that a text describes, a function (step of the stage, steps) → rate.

    "1e-4" is constant; "1e-4, 1e-5 after 100000 steps" changes at that step (more
    changes may follow); "5e-4 to 5e-5" falls along half a cosine over the stage. Raises
    UserError for another text.
    """
    number = r"\s*([-+.\deE]+)\s*"
    start, *others = text.split(",")
    last = None  # the rate that a cosine ends at
    try:
        if match := re.fullmatch(f"{number}to{number}", text):
            start, last = match[1], float(match[2])
        changes = [(0, float(start))]  # (first step, rate), in order
        for change in others:
            match = re.fullmatch(rf"{number}after\s+(\d+)\s+steps?\s*", change)
            changes.append((int(match[2]), float(match[1])))
        rates = [rate for _, rate in changes] + ([] if last is None else [last])
        if not all(0 < rate < 1 for rate in rates):
            raise ValueError(rates)
    except (ValueError, TypeError):
        raise UserError(
            f'learning rate "{text}" is not understood: write "1e-4", '
            '"1e-4, 1e-5 after 100000 steps" or "5e-4 to 5e-5" (each between 0 and 1)'
        ) from None

    def schedule(step, steps):
        if last is None:
            return [rate for start, rate in changes if step >= start][-1]
        share = 0.5 * (1 + math.cos(math.pi * (step / max(1, steps - 1))))
        return last + (changes[0][1] - last) * share

    return schedule
