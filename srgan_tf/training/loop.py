"""A training run: prepared, restored, trained and saved. Read from top to bottom."""

import collections
import logging
import math
import os
import signal
import time

from srgan_tf import UserError, schedules
from srgan_tf.data import batches, sources, split
from srgan_tf.networks import files
from srgan_tf.training import (
    checkpoint,
    events,
    folder,
    hardware,
    interrupts,
    log,
    record,
    sharing,
    state,
    status,
    validation,
)
from srgan_tf.training.run import Run

logger = logging.getLogger(__name__)
SAVE_SECONDS = 15 * 60  # at the latest, whatever save_every says: sessions end
LAST_RETRIES = (1, 2, 5, 10, 20, 22)  # seconds, a minute in all


def prepare(
    recipe, data, validation_data=(), root=".", name="", seed=0, weights=None,
    memory=2 * 2**30, writes_index=True, restart=False, devices=None,
):  # fmt: skip
    """Finds and splits the photographs, builds the networks, restores: a Run.

    data, validation_data: folders, zips and images. root: where the run leaves its
    files. name: the recipe's, if empty. weights: see features.build_extractor. memory:
    bytes of decoded photographs to keep. restart: replace the run of this name, if any,
    by a new one. devices: see sharing.choose. Only the index of the photographs is
    written, and by the first machine alone if there are several.
    Raises UserError for whatever the user must fix before training can start.
    """
    writes = sharing.place_in_cluster()[0] == 0
    run_folder = folder.RunFolder(root, name or recipe.name, writes)
    info = record.read_info(run_folder)  # refuses to replace what it cannot read
    info = None if restart else info
    index = run_folder.index if writes_index and writes else None
    division = _find_and_split(recipe, data, validation_data, seed, index, info)
    chosen = sharing.choose(devices, recipe.batch_size)
    patches = batches.Batches(
        division.train, recipe.batch_size, recipe.patches, recipe.patch_size, seed,
        recipe.augment, memory, chosen.part(recipe.batch_size),
    )  # fmt: skip
    run = Run(
        recipe, seed, run_folder, info["run_id"] if info else f"{time.time_ns():x}",
        division, patches, validation.Validation(division.validation, recipe),
        schedules.stages(recipe, patches.steps_per_epoch),
        state.build(recipe, seed, weights, chosen), anew=restart,
    )  # fmt: skip
    if info:
        record.check_settings(run, info)
        restore(run)
    if info and not run.step:
        done = files.load_generator(run_folder.generator).settings.step
        raise UserError(
            f"{run_folder.generator} has finished {done} of {run.last_step} steps, but "
            "its checkpoints are gone: give another --run, or --restart to replace it"
        )
    return run


def _find_and_split(recipe, data, validation_data, seed, index, info):
    """The Split that a run's info holds, or a new one."""
    patch, measured = recipe.patch_size, recipe.validation_size or recipe.patch_size
    if recipe.patches == "resize":
        patch = measured = 1  # pixels that an image must have
    withheld = recipe.validation_fraction
    if validation_data:
        withheld = sources.find_images(validation_data, measured, index)
    else:
        patch = max(patch, measured)
    return split.split_images(
        sources.find_images(data, patch, index, recipe.limit), withheld, seed,
        recipe.split, recipe.validation_images, info and info["split"],
    )  # fmt: skip


def restore(run):
    """Takes up the run at its newest checkpoint, if that is further than it stands."""
    newest = checkpoint.newest(run.folder, run.run_id, after=run.step)
    if newest is None:
        return
    path, manifest = newest
    last = manifest["step"] - 1
    stage = next((s for s in run.stages if s.first_step <= last < s.last_step), None)
    if stage is None or _position(stage, last) != manifest["position"]:
        raise UserError(f"{path}: a stage that is over cannot become longer or shorter")
    loss_log = checkpoint.restore(path, run.state.variables())
    run.step = run.saved = last + 1
    run.log = log.parse_loss_log(loss_log.decode())
    run.sums, run.best = manifest["sums"], manifest["best"]
    if run.log["step"][-1:] == [run.step] and not stage.ends_epoch(last):
        for values in run.log.values():
            values.pop()  # the stage ended here and is longer now: its epoch goes on
    logger.info("resumed from %s", path)
    record.warn_of_changes(run, manifest)


def _position(stage, step):
    return [stage.name, stage.first_step, *stage.position(step)]


def train(run, report=lambda event: None):
    """Trains from where the run stands to its end; the signal that stopped it, or None.

    report: called with each event of events.py. Afterwards run.missing names what a
    failing root lacks. Raises UserError when a loss is not finite.
    """
    shared = run.state.devices
    with run.folder.lock(), interrupts.Interrupts() as interrupt, shared.together():
        _check_ready(run)
        if run.anew:
            if run.folder.is_written:
                checkpoint.delete_all(run.folder)
            run.anew = False
        else:
            restore(run)  # another process may have trained on since
        if shared.total(run.step) != shared.machines * run.step:
            raise UserError(f"{run.folder.root}: the machines need the same --root")
        hardware.make_deterministic(run.recipe.deterministic)
        record.write_info(run)
        if run.step == run.last_step:  # perhaps killed after its last checkpoint
            record.write_generator(run, run.folder.generator)
            record.write_curves(run)
        for stage in run.stages:
            if run.step < stage.last_step and not interrupt.received:
                _train_stage(run, stage, interrupt, report)
        _finish(run, report)
    return interrupt.received


def _train_stage(run, stage, interrupt, report):
    recipe, run.ready = run.recipe, False
    if run.step == stage.first_step:
        state.forget_moments(run.state.generator_optimizer)
        run.best = {}  # a pretraining always has the better PSNR
    save_every, sample_every, validate_every = (
        schedules.duration_steps(each, stage.steps_per_epoch)
        for each in (recipe.save_every, recipe.sample_every, recipe.validate_every)
    )
    train_step = state.compile_step(stage, run.state, recipe, run.seed)
    positions = map(stage.position, range(run.step, stage.last_step))
    ahead = batches.prefetch(lambda key: run.batches.batch(*key), positions)
    saved_at, started = time.monotonic(), time.perf_counter()
    # A GPU computes a step while the host reads the measures of the one before.
    unread, unread_steps = collections.deque(), int(hardware.is_accelerated())
    shared = run.state.devices
    for lr, hr in ahead:  # uint8 (batch, h, w, 3) and (batch, 4h, 4w, 3)
        number = run.step
        images = len(lr) * shared.machines
        unread.append((number, images, train_step(number, lr, hr)))
        run.step += 1
        last, ends = run.step == stage.last_step, stage.ends_epoch(number)
        late = time.monotonic() - saved_at > SAVE_SECONDS
        saves = last or late or (run.step - stage.first_step) % save_every == 0
        most = 0 if ends or saves else unread_steps
        started = _read_measures(run, stage, unread, most, started, report)
        if ends:
            validates = last or stage.due(number, validate_every)
            samples = last or stage.due(number, sample_every)
            _end_epoch(run, stage, validates, samples, report)
        stops = shared.total(bool(interrupt.received))
        if saves or stops:
            _read_measures(run, stage, unread, 0, started, report)
            save(run, report)
            saved_at = time.monotonic()
        if ends or saves:
            started = time.perf_counter()  # validating and saving are not training
        if stops:  # on this machine or another one
            interrupt.received = interrupt.received or signal.SIGINT
            break
    ahead.close()
    run.ready = True


def _read_measures(run, stage, unread, most, started, report):
    """Adds measures to those of their epoch until `most` are unread; the time then."""
    while len(unread) > most:
        number, images, measures = unread.popleft()
        measures = {name: float(value) for name, value in measures.items()}
        _check_finite(run, number, measures)
        if stage.position(number)[1] == 0:
            run.sums = {}  # a new epoch
        before, started = started, time.perf_counter()
        counts = {"seconds": started - before, "images": images, "steps": 1}
        for name, value in {**measures, **counts}.items():
            run.sums[name] = run.sums.get(name, 0) + value
        report(events.Step(number + 1, run.last_step, measures))
    return started


def _check_ready(run):
    """UserError if a step was broken off, or another process began this run since."""
    info = None
    if run.folder.is_written and not run.anew:
        info = record.read_info(run.folder)
    if not run.ready or (info and info["run_id"] != run.run_id):
        raise UserError(
            f"{run.folder.info}: the run was stopped amid a step, or begun by another "
            "process: prepare it again (run all cells again), or give it another name"
        )


def _check_finite(run, number, measures):
    for name, value in measures.items():
        if not math.isfinite(value):
            raise UserError(
                f"the {name} loss of step {number + 1} is {value}: the run stopped, "
                f"saved up to step {run.saved}. Try a smaller learning rate, or "
                "--precision float32"
            )


def _end_epoch(run, stage, validates, samples, report):
    scores = {}
    if validates:
        with state.averaged(run.state):
            scores = run.validation.scores(run.state.generator)
    row, findings = record.add_row(run, stage, scores)
    record.keep_best(run, scores)
    if time.monotonic() > run.log_due:
        record.write_loss_log(run)
    report(events.Epoch(row["epoch"], row, findings))
    if samples and (picture := record.write_sample(run, row["epoch"])) is not None:
        report(events.Picture(picture, row["epoch"], run.step))


def save(run, report=lambda event: None):
    """Writes a checkpoint, the generator alone, the curves, and what was missing."""
    manifest = {
        "run_id": run.run_id,
        "step": run.step,
        "position": _position(run.stage, run.step - 1),
        "stage_steps": run.stage.steps,
        "sums": run.sums,
        "best": run.best,
        "versions": status.versions(),
    }
    run.folder.write_missing()
    if not os.path.exists(run.folder.info):  # somebody deleted the root
        record.write_info(run, required=False)
    loss_log = log.format_loss_log(run.log).encode()
    if run.folder.is_written:
        path = checkpoint.save(run.folder, manifest, run.state.variables(), loss_log)
    else:
        path = run.folder.checkpoints  # another machine saves there
    run.saved = run.step if path else run.saved
    record.write_loss_log(run)
    record.write_generator(run, run.folder.generator)
    record.write_curves(run)
    if not run.missing:
        run.folder.failing = False
    report(events.Saved(path, run.step))


def _finish(run, report):
    """Retries for a minute to write what a failing root lacks, then names it."""
    for seconds in LAST_RETRIES:
        if not run.missing:
            return
        time.sleep(seconds)
        if run.saved == run.step:
            run.folder.write_missing()
        else:
            save(run, report)
    if run.missing:
        advice = "make room or mount it again, then give the same command"
        # Perhaps there was room for the generator: it would not be replaced.
        advice += "" if run.saved else " with --restart"
        logger.error("the root lacks %s: %s", ", ".join(run.missing[:5]), advice)
