"""A run: prepared, taken up where it stands, trained in a loop that can be stopped."""

import csv
import dataclasses
import functools
import io
import json
import math
import platform
import signal
import subprocess
import threading
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from srgan_tf import (
    UserError,
    __version__,
    checkpoint,
    data,
    doctor,
    events,
    images,
    networks,
    plots,
    recipes,
    steps,
    validation,
)

SAVE_SECONDS = 15 * 60  # at the latest, whatever save_every says: sessions end
MEASURES = ("perceptual", "content", "adversarial", "discriminator", "d_real", "d_fake")

# Fields of a recipe that may change within a run: how often things are written, and how
# long a stage lasts.
MAY_CHANGE = ("save_every", "sample_every", "validate_every", "keep_best", "pretrain",
              "gan", "source")  # fmt: skip


class _Signals:
    """Notes SIGINT and SIGTERM, so that the step under way is finished; once.

    A second signal acts as if nobody had asked to finish.
    """

    def __enter__(self):
        self.received = None
        self._previous = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, frame):
        self.received = number
        self._restore()

    def _restore(self):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __exit__(self, *_):
        self._restore()


class Run:
    """One run of a recipe on data, in its folder: prepared, resumed, trained."""

    def __init__(
        self,
        recipe,
        paths,
        validate=(),
        root=".",
        run="",
        seed=0,
        weights=None,
        memory_budget=2 * 2**30,
        log=lambda event: None,
        writes=True,
        tensorboard=False,
        progress=False,
    ):
        """Find the images, split them, build the networks, take up a checkpoint.

        paths, validate: see data.find_images; weights: see features.build_extractor;
        memory_budget: bytes of decoded images kept; log: called with a dict for every
        event ("message", "step", "epoch", "picture" or "saved"); writes: False for a
        dry run. tensorboard: event files beside the loss log. progress: a GIF of the
        sample pictures beside them, made anew at every save.
        Raises UserError for whatever the user must mend before training can start.
        """
        tf.config.experimental.enable_op_determinism()
        self.recipe, self.seed, self.log = recipe, seed, log
        self.folder = checkpoint.RunFolder(root, run or recipe.name, log)
        self.events, self.progress = None, progress
        if tensorboard and writes:
            self.events = events.Events(self.folder.events, log)
        if writes:
            self.folder.lock()
        try:
            self._prepare(paths, validate, weights, memory_budget, writes)
        except OSError as error:
            self.folder.unlock()
            place, reason = error.filename or root, error.strerror or error
            words = f"{place}: {reason}: see that it is there and mounted"
            raise UserError(words) from error
        except BaseException:
            self.folder.unlock()
            raise

    def _prepare(self, paths, validate, weights, memory_budget, writes):
        recipe = self.recipe
        self.trainer = steps.Trainer(recipe, self.seed, weights)
        smallest = validate_size = 1
        if recipe.crop != "resize":
            smallest = recipe.high_size
            validate_size = recipe.validate_size or recipe.high_size
        if not validate:
            smallest = max(smallest, validate_size)
        found = data.find_images(paths, smallest, memory_budget, self.log)
        measured = validate and data.find_images(
            validate, validate_size, memory_budget, self.log
        )
        frozen = self._frozen()
        self.split = data.split_images(
            found, measured or recipe.validate_fraction, self.seed,
            limit=recipe.limit, how=recipe.split, log=self.log,
            frozen=frozen and frozen["split"],
        )  # fmt: skip
        self.batches = data.Batches(
            self.split.train, recipe.batch_size, recipe.crop, recipe.high_size,
            self.seed, recipe.augment,
        )  # fmt: skip
        self.validation = validation.Validation(self.split.validate, recipe)
        self.stages = recipes.stages(recipe, self.batches.steps_per_epoch)
        self.last_step = self.stages[-1].last_step
        self.first_step, self.rows, self.sums, self.best = 0, [], {}, {}
        if frozen:
            self._check_settings(frozen)
            self.folder.run_id = frozen["run_id"]
            self.folder.take_up()
            if newest := self.folder.newest_checkpoint():
                self._restore(*newest)
        elif writes:
            self._refuse_orphans()
        self.step = self.first_step  # steps done
        if writes:
            self._write_info(frozen)

    # Taking up a run --------------------------------------------------------------

    def _frozen(self):
        """What info/<run>.json says, if the run has begun before."""
        path = self.folder.info
        if not path.exists():
            return None
        try:
            frozen = json.loads(path.read_text("utf-8"))
            frozen["split"], frozen["recipe"], frozen["seed"], frozen["precision"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{path} is damaged: restore it from a copy, or give --run a new name"
            ) from None
        if "run_id" not in frozen:  # shipped with the project, without its checkpoints
            raise UserError(
                f"{path} tells of a model trained elsewhere: give another --root or "
                f"--run, so that {self.folder.generator} is not overwritten"
            )
        # Until something was saved, anything may be changed. The generator is asked for
        # by name: a listing of Drive may not show yet what is there.
        begun = self.folder.generator.exists() or self.folder.has_checkpoints()
        return frozen if begun else None

    def _refuse_orphans(self):
        if list(self.folder.checkpoints.glob("checkpoint-*.json")):
            raise UserError(
                f"{self.folder.info} is missing but {self.folder.checkpoints} holds "
                "checkpoints: restore it from a copy, or give --run a new name"
            )

    def _check_settings(self, frozen):
        """A run goes on with the settings it began with; UserError names others."""
        policy = self.trainer.generator.dtype_policy.name
        before = {
            **dataclasses.asdict(recipes.Recipe("", "")),  # of a later version
            **frozen["recipe"],
            "seed": frozen["seed"],
            "precision": frozen["precision"],
        }
        now = {
            **dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "precision": policy,
        }
        changed = [
            f"{key} was {json.dumps(before.get(key))} and is {json.dumps(value)}"
            for key, value in json.loads(json.dumps(now)).items()
            if key not in MAY_CHANGE and value != before.get(key)
        ]
        if changed:
            raise UserError(
                f"{self.folder.info} began otherwise: {'; '.join(changed)}. Give the "
                "settings it began with, or --run a new name"
            )

    def _restore(self, path, manifest):
        step = manifest["step"]
        last = next(
            (s for s in self.stages if s.first_step < step <= s.last_step), None
        )
        done = last and [last.name, *last.position(step - 1)]
        if step and done != manifest["last_position"]:
            raise UserError(
                f"{path} stands in another place of the schedule than its {step} steps "
                "say now: a stage that is over cannot be made longer or shorter"
            )
        loss_log = checkpoint.restore(path, self.trainer.variables())
        # A run that has only pretrained may get its adversarial stage later: a
        # discriminator that no step has touched yet is no part of the checkpoint.
        restored = zip(self.trainer.iterations(), manifest["iterations"], strict=False)
        if any(now != saved for now, saved in restored):
            raise UserError(f"{path}: the optimizers were not restored as saved")
        self.first_step = step
        self.rows = list(csv.DictReader(io.StringIO(loss_log.decode())))
        self.sums, self.best = manifest["sums"], manifest["best"]
        self._check_best()
        self.log({"message": f"resumed from {path}"})
        for name in ("tensorflow", "keras", "numpy"):
            before, now = manifest["versions"][name], versions()[name]
            if before != now:
                words = f"{name} was {before} and is {now}"
                self.log({"message": f"{words}: steps may be rounded otherwise"})

    def _check_best(self):
        """The best so far must be those in their files, which no checkpoint holds."""
        for name in list(self.best) if self.recipe.keep_best else ():
            path, step = self.folder.best(name), self.best[name][1]
            try:
                found = networks.load_generator(path).settings.step
            except UserError:
                found = None
            if found != step:
                del self.best[name]
                words = f"{path} is not that of step {step}: the next best replaces it"
                self.log({"message": words})

    def _write_info(self, frozen):
        folder = self.folder
        info = frozen or {"run_id": f"{time.time_ns():x}"}
        info |= {
            "run": folder.run,
            "recipe": dataclasses.asdict(self.recipe),
            "seed": self.seed,
            "precision": self.trainer.generator.dtype_policy.name,
            "versions": versions(),
            "steps_per_epoch": self.batches.steps_per_epoch,
            "data_hash": self.split.data_hash,
            "split": self.split.description,
        }
        if not frozen:
            folder.put_text(folder.summary, self.summary())
        # Last, for with it the run has begun; its root must be writable until then.
        folder.put_text(folder.info, json.dumps(info, indent=1) + "\n")
        folder.run_id = info["run_id"]
        self._write_loss_log()

    def summary(self):
        """The networks' tables, as text."""
        lines = []
        for network in self.trainer.networks():
            network.summary(print_fn=lambda line, **_: lines.append(line))
        return "\n".join(lines) + "\n"

    # Training ----------------------------------------------------------------------

    def train(self):
        """Train from where the run stands to its end; the signal that did so, or None.

        Raises UserError when a loss is not finite; nothing of that step is saved.
        """
        if not self.folder.locked:  # another process may have gone on since
            raise UserError("this run has ended: prepare it anew (run all cells again)")
        if self.events:
            self.events.recipe(self.recipe, self.first_step)
        try:
            with _Signals() as signals:
                for stage in self.stages:
                    if self.step < stage.last_step and not signals.received:
                        self._train_stage(stage, signals)
            if self.first_step == self.last_step:  # perhaps killed just after a save
                if self.folder.only_local:
                    self.save(self.stages[-1])
                else:
                    self._publish()
                self._write_loss_log()
        finally:
            self.folder.unlock()
        if words := self.folder.unwritten():
            self.log({"message": words})
        return signals.received

    def _train_stage(self, stage, signals):
        step, saved = self.step, time.monotonic()
        if step == stage.first_step:
            self.trainer.begin_stage()
            self.best = {}  # the pretraining always has the better PSNR
        every = {
            key: recipes.duration_steps(
                getattr(self.recipe, f"{key}_every"), stage.steps_per_epoch
            )
            for key in ("save", "sample", "validate")
        }
        keys = (
            (number, *stage.position(number)) for number in range(step, stage.last_step)
        )
        stream = data.stream(lambda key: self.batches.batch(*key[1:]), keys)
        started = time.perf_counter()
        for low, high in stream:
            measures = self.trainer.step(stage, step, low, high)
            self._check_finite(step, measures)
            self._add(measures, time.perf_counter() - started, len(low))
            last = step == stage.last_step - 1
            local = step - stage.first_step + 1
            self.step = step + 1
            self.log(
                {
                    "step": self.step,
                    "stage": stage.name,
                    "of": self.last_step,
                    "images": len(low),
                    **measures,
                }
            )
            if stage.ends_epoch(step):
                epoch = stage.position(step)[0]
                validates = last or due(local, every["validate"], stage)
                self._end_epoch(stage, epoch, validates)
                if last or due(local, every["sample"], stage):
                    self._write_sample(epoch)
            if signals.received:
                self.log({"message": "stopping: this step is done and will be saved"})
            late = time.monotonic() - saved > SAVE_SECONDS
            if last or late or local % every["save"] == 0 or signals.received:
                self.save(stage)
                saved = time.monotonic()
            if signals.received:
                break
            step = self.step
            started = time.perf_counter()  # looking and saving are not training
        stream.close()

    def _check_finite(self, step, measures):
        for name, value in measures.items():
            if not math.isfinite(value):
                raise UserError(
                    f"the {name} loss of step {step + 1} is {value}: the run stopped "
                    f"and saved nothing of it; {self.folder.last_good()}. Try a "
                    "smaller learning rate, or --precision float32"
                )

    def _add(self, measures, seconds, count):
        """Sums of the epoch so far; they are part of a checkpoint."""
        for name, value in {
            **measures,
            "seconds": seconds,
            "images": count,
            "steps": 1,
        }.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def _end_epoch(self, stage, epoch, validates):
        sums, self.sums = self.sums, {}
        generator = self.trainer.generator
        scores = self.validation.scores(generator) if validates else {}
        rate = float(self.trainer.generator_optimizer.learning_rate.numpy())
        row = {
            "epoch": epoch,
            "step": self.step,
            "stage": stage.name,
            "seconds": round(sums["seconds"], 3),
            "images_per_second": round(sums["images"] / sums["seconds"], 3),
            "learning_rate": rate,
            **{name: sums[name] / sums["steps"] for name in MEASURES if name in sums},
            **scores,
        }
        before = {kind for kind, _ in doctor.examine(self.columns)}
        self.rows.append(
            {
                name: f"{row[name]:.9g}" if isinstance(row[name], float) else row[name]
                for name in plots.LOG_COLUMNS
                if name in row
            }
        )
        findings = doctor.examine(self.columns)
        self.rows[-1]["doctor"] = "; ".join(words for _, words in findings)
        for name in ("psnr_y", "ssim_y") if scores else ():
            if scores[name] > self.best.get(name, [-math.inf])[0]:
                self.best[name] = [scores[name], self.step]
                if self.recipe.keep_best:
                    self._put_generator(self.folder.best(name))
        self._write_loss_log()
        if self.events:
            self.events.scalars(row)
        new = [words for kind, words in findings if kind not in before]
        self.log({"epoch": epoch, **row, "doctor": new})

    @property
    def columns(self):
        """The loss log so far, typed: {column: values}."""
        return plots.parse_loss_log(self._loss_log())

    def _loss_log(self):
        text = io.StringIO()
        writer = csv.DictWriter(text, plots.LOG_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def _write_loss_log(self):
        self.folder.put_text(self.folder.loss_log, self._loss_log())

    def _write_sample(self, epoch):
        picture = self.validation.sample(self.trainer.generator)
        if picture is None:
            return
        path = self.folder.samples / f"epoch_{epoch}.png"
        self.folder.put(path, lambda local: images.write_image(local, picture))
        if self.events:
            self.events.picture(picture, self.step)
        self.log({"picture": picture, "of": epoch})

    def _write_progress(self):
        path = self.folder.progress
        try:  # a Drive that cannot be read now must not stop the training
            pictures = plots.sample_pictures(self.folder.samples)
            self.folder.put(path, lambda local: plots.write_progress(pictures, local))
        except (OSError, UserError) as error:
            self.log({"message": f"no {path.name} this time ({error})"})

    def standing(self):
        """In words, where the run stands and what is left at the speed of late."""
        stage = self.stages[-1]
        epochs = stage.position(stage.last_step - 1)[0]
        if not self.step:
            return f"not begun: {epochs:,} epochs of {stage.steps_per_epoch} steps"
        seconds = sum(float(row["seconds"]) for row in self.rows)
        spent = f"{duration(seconds + self.sums.get('seconds', 0))} of training"
        if self.step == self.last_step:
            return f"finished: {epochs:,} epochs, {spent}"
        stage = next(each for each in self.stages if self.step <= each.last_step)
        words = f"epoch {stage.position(self.step - 1)[0]:,} of {epochs:,}, {spent}"
        rates = [float(row["images_per_second"]) for row in self.rows[-1:]]
        if self.sums:
            rates.append(self.sums["images"] / self.sums["seconds"])
        left = (self.last_step - self.step) * self.recipe.batch_size / rates[0]
        speed = f"{rates[0]:.3g} images/s"
        return f"{words} so far, about {duration(left)} to go at {speed}"

    # Saving ------------------------------------------------------------------------

    def save(self, stage):
        """A checkpoint, the generator alone, and the curves."""
        position = [stage.name, *stage.position(self.step - 1)]
        manifest = {
            "run": self.folder.run,
            "recipe": self.recipe.name,
            "stage": stage.name,
            "epoch": position[1],
            "last_position": position,
            "step": self.step,
            "seed": self.seed,
            "best": self.best,
            "sums": self.sums,
            "iterations": self.trainer.iterations(),
            "data_hash": self.split.data_hash,
            "versions": versions(),
        }
        path = self.folder.save_checkpoint(
            manifest, self.trainer.variables(), self._loss_log().encode()
        )
        self._publish()
        if self.progress:
            self._write_progress()
        self.log({"saved": str(path), "step": self.step})

    def _publish(self):
        """The generator alone, and the curves."""
        self._put_generator(self.folder.generator)
        if self.rows:
            figure = plots.loss_curves(self.columns, title=self.folder.run)
            self.folder.put(
                self.folder.curves, lambda local: plots.save_figure(figure, local)
            )

    def _put_generator(self, path):
        generator = self.trainer.generator
        generator.settings = dataclasses.replace(generator.settings, step=self.step)
        self.folder.put(path, lambda local: networks.save_generator(generator, local))

    # Before training ------------------------------------------------------------------

    def dry_run(self, seconds=10.0):
        """Facts of the run and a measured step, as {words: value}; trains in memory.

        The state is thrown away afterwards: use the object for nothing else.
        """
        stage = self.stages[-1]
        first = self.batches.batch(stage.first_epoch, 0)
        self.trainer.step(stage, stage.first_step, *first)  # compiles
        keys = ((stage.first_epoch, index) for index in range(10**9))
        stream = data.stream(lambda key: self.batches.batch(*key), keys)
        constant, real = [], []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end or len(real) < 3:
            # In turn, so that both meet the same load of the machine.
            for times, batch in (
                (constant, lambda: first),
                (real, lambda: next(stream)),
            ):
                started = time.perf_counter()
                self.trainer.step(stage, stage.first_step, *batch())
                times.append(time.perf_counter() - started)
        stream.close()
        step = float(np.median(real))
        size = sum(
            math.prod(variable.shape) * 4
            for variables in self.trainer.variables().values()
            for variable in variables
        )
        return {
            "recipe": f"{self.recipe.name}: {self.recipe.source}",
            **{
                network.name: f"{network.count_params():,} parameters"
                for network in self.trainer.networks()
            },
            "images": f"{len(self.split.train)} to train, "
            f"{len(self.split.validate)} to validate",
            "precision": self.trainer.generator.dtype_policy.name,
            "a step": f"{step:.3f} s, {self.recipe.batch_size / step:.1f} images/s",
            "data": f"{step / np.median(constant):.2f} of a step with constant tensors",
            "an epoch": f"{self.batches.steps_per_epoch} steps, "
            f"{duration(step * self.batches.steps_per_epoch)}",
            "the run": f"{self.last_step - self.first_step:,} steps to go, "
            f"{duration(step * (self.last_step - self.first_step))} "
            f"at the speed of stage {stage.name}",
            "a checkpoint": f"{size / 1e6:.0f} MB, {checkpoint.KEEP} are kept",
        }


def due(local, every, stage):
    """Whether a multiple of `every` steps fell into the epoch that ends at `local`."""
    before = (local - 1) // stage.steps_per_epoch * stage.steps_per_epoch
    return local // every > before // every


def duration(seconds):
    """Seconds as a person says them: "3 h 20 min", "45 s"."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    if minutes < 120:
        return f"{minutes} min"
    if minutes < 600:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{round(minutes / 60):,} h"


@functools.cache
def versions():
    """Versions that a result depends on, and the library's commit where known."""
    try:
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%H", "--", "."], cwd=Path(__file__).parent,
            capture_output=True, text=True, check=False,
        ).stdout.strip()  # fmt: skip  (nothing, if it is within another project's)
    except OSError:  # no git on this machine
        commit = ""
    return {
        "srgan_tf": __version__,
        "commit": commit or None,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }
