"""What a step changes, by which gradients, and what it must not change."""

import keras
import numpy as np
import pytest
import small_runs
import tensorflow as tf

from srgan_tf import UserError, features, losses, pixels, recipes, schedules, settings
from srgan_tf.networks import files
from srgan_tf.training import state as states
from srgan_tf.training import step

TINY = settings.with_settings(
    recipes.get_recipe("tiny"),
    ["generator=srresnet", "batch_norm=true", "filters=4", "residual_blocks=1",
     "discriminator_filters=4", "patch_size=24", "batch_size=2", "pretrain=3 steps",
     "gan=3 steps"],
)  # fmt: skip


@pytest.fixture
def eager():
    """Tracing a tiny network takes longer than running it."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def build(*changes, seed=1, weights=None):
    """A recipe with settings, and its State."""
    recipe = settings.with_settings(TINY, changes)
    return recipe, states.build(recipe, seed, weights)


def batch(seed=0):
    rng = np.random.default_rng(seed)
    sides = (6, 24)
    return tuple(rng.integers(0, 256, (2, s, s, 3), np.uint8) for s in sides)


def smooth_batch(_):
    """Two images with slopes and edges, which a small network can learn."""
    y, x = np.mgrid[0:24, 0:24]
    images = [
        np.stack([10 * x, 10 * y, np.where(x > y, 40, 200)], 2),
        np.stack([5 * (x + y), np.where(x // 8 % 2, 30, 220), 240 - 9 * y], 2),
    ]
    hr = np.stack(images).astype(np.uint8)
    return np.stack([pixels.bicubic_down(image) for image in hr]), hr


def run(recipe, state, name, count=1, make=batch):
    """Trains the first `count` steps of a stage; the measures of each."""
    stage = next(s for s in schedules.stages(recipe, 1) if s.name == name)
    train_step, measures = states.compile_step(stage, state, recipe, seed=1), []
    for number in range(stage.first_step, stage.first_step + count):
        tensors = train_step(number, *make(number))
        measures.append({name: float(value) for name, value in tensors.items()})
    return measures


def values(variables):
    return [np.array(variable) for variable in variables]


def changed(before, after):
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def every_bit(state):
    return {
        name: [value.tobytes() for value in values(its)]
        for name, its in state.variables().items()
    }


def test_pretraining_leaves_the_discriminator_alone_and_gan_trains_both(eager):
    recipe, state = build()
    optimizers = state.generator_optimizer, state.discriminator_optimizer
    before = [values(net.variables) for net in state.networks()]
    (measures,) = run(recipe, state, "pretrain")
    assert all(changed(before[0], values(state.generator.variables)))
    assert not any(changed(before[1], values(state.discriminator.variables)))
    assert measures.keys() == {"perceptual", "content"}
    assert [int(each.iterations) for each in optimizers] == [1, 0]
    before = [values(net.variables) for net in state.networks()]
    (measures,) = run(recipe, state, "gan")
    for old, network in zip(before, state.networks(), strict=True):
        assert all(changed(old, values(network.variables)))
    assert [int(each.iterations) for each in optimizers] == [2, 1]
    assert set(measures) == set(states.MEASURES)
    expected = measures["content"] + 1e-3 * measures["adversarial"]
    assert measures["perceptual"] == pytest.approx(expected, rel=1e-6)


def gradients_by_hand(recipe, state, lr, hr, labels):
    """Each network's gradients, computed apart: the other one's outputs are constant.

    No network is changed.
    """
    real, fake, aim = labels
    lr, hr = (pixels.to_network_range(tf.cast(each, tf.float32)) for each in (lr, hr))
    with tf.GradientTape() as tape:
        sr = state.generator(lr, training=True)
        loss = losses.content_loss(recipe.content, hr, sr, state.extractors["gan"])
        logits = state.discriminator(sr, training=True)
        loss += recipe.adversarial_weight * losses.adversarial_loss(logits, aim)
    generator = tape.gradient(loss, state.generator.trainable_variables)
    sr = tf.constant(sr.numpy())
    with tf.GradientTape() as tape:
        logits = [state.discriminator(images, training=True) for images in (hr, sr)]
        loss = losses.discriminator_loss(*logits, real, fake)
    return generator, tape.gradient(loss, state.discriminator.trainable_variables)


def test_each_network_moves_by_its_own_loss_at_the_weights_before_the_step(eager):
    """With a plain descent of rate 1, weights move by their gradients exactly."""
    changes = ['content={"vgg19/block1_conv2": 1.0}', "adversarial_weight=5.0"]
    (recipe, state), (_, twin) = (
        build(*changes, weights={"vgg19": "random"}) for _ in range(2)
    )
    state.generator_optimizer = keras.optimizers.SGD(1.0)
    state.discriminator_optimizer = keras.optimizers.SGD(1.0)
    extractor = state.extractors["gan"]
    frozen = values(extractor.variables)
    before = [values(net.trainable_variables) for net in state.networks()]
    lr, hr = batch()
    labels = [np.full((2, 1), label, np.float32) for label in (0.9, 0.1, 0.8)]
    step.gan(state, recipe)(np.float32(1.0), lr, hr, *labels)
    expected = gradients_by_hand(recipe, twin, lr, hr, labels)
    for old, network, gradients in zip(before, state.networks(), expected, strict=True):
        new = values(network.trainable_variables)
        for start, end, gradient in zip(old, new, gradients, strict=True):
            assert start - end == pytest.approx(gradient.numpy(), rel=1e-3, abs=1e-6)
    assert state.extractors["pretrain"] is None
    assert not extractor.trainable_variables
    assert not any(changed(frozen, values(extractor.variables)))


def test_discriminators_batch_norm_has_seen_hr_then_sr_images(eager):
    (recipe, state), (_, twin) = build(), build()
    lr, hr = batch()
    ranged = [pixels.to_network_range(tf.cast(x, tf.float32)) for x in (lr, hr)]
    sr = twin.generator(ranged[0], training=True)
    convolved = keras.Model(
        twin.discriminator.input, twin.discriminator.get_layer("block_1_conv").output
    )
    means = [convolved(x).numpy().mean((0, 1, 2)) for x in (ranged[1], sr)]
    run(recipe, state, "gan", make=lambda _: (lr, hr))
    moving = state.discriminator.get_layer("block_1_norm").moving_mean.numpy()
    expected = 0.5 * (0.5 * means[0]) + 0.5 * means[1]  # momentum 0.5, from zero
    assert moving == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["pretrain", "gan"])
def test_overfits_one_batch(name):
    changes = [
        "generator=compact", "batch_norm=false", "filters=16", "residual_blocks=2",
        "learning_rate=5e-3", "pretrain=100 steps", "gan=100 steps",
        "adversarial_weight=1e-4",
    ]  # fmt: skip
    measures = run(*build(*changes), name, 100, smooth_batch)
    first, last = measures[0], measures[-1]
    assert last["content"] < first["content"] / 1000
    if name == "gan":
        assert min(each["discriminator"] for each in measures) < 0.4
        # It learns faster, but in the end SR images equal HR images: -log 1/2.
        assert last["discriminator"] == pytest.approx(np.log(2), rel=0.1)


def test_labels_are_noisy_as_the_recipe_says_and_are_a_function_of_the_step():
    labels = ["real_label=0.9", "real_label_std=0.05", "fake_label=0.1"]
    recipe = settings.with_settings(TINY, labels)
    real, fake, aim = states.noisy_labels(recipe, 3, 7, 10_000)
    assert real.shape == (10_000, 1)
    assert real.mean() == pytest.approx(0.9, abs=0.002)
    assert real.std() == pytest.approx(0.05, abs=0.002)
    assert real.max() > 1  # not clipped
    assert (set(fake.ravel()), set(aim.ravel())) == ({np.float32(0.1)}, {1.0})
    for seed, number, same in ((3, 7, True), (3, 8, False), (4, 7, False)):
        again, *_ = states.noisy_labels(recipe, seed, number, 10_000)
        assert np.array_equal(again, real) == same


def test_same_seed_same_networks_and_steps(eager):
    changes = ["generator=compact", "batch_norm=false", "patch_size=24"]
    states = [build(*changes, seed=seed)[1] for seed in (1, 1, 2)]
    first, again, other = map(every_bit, states)
    assert first == again != other
    for state in states[:2]:
        run(TINY, state, "gan")
    assert first != every_bit(states[0]) == every_bit(states[1])


def test_no_sum_of_gradients_is_left_to_chance():
    """TensorFlow may reorder sums of three tensors or more that have a known shape."""
    recipe, state = build("gan=0 steps")
    graph = step.pretrain(state, recipe).get_concrete_function().graph
    sums = [op for op in graph.get_operations() if op.type == "AddN"]
    sums = [op.outputs[0] for op in sums if len(op.inputs) > 2]
    assert sums
    assert not [each.name for each in sums if each.shape.is_fully_defined()]


@pytest.mark.parametrize("policy", ["float32", "mixed_float16"])
def test_forgets_moments_whatever_a_layer_is_called(policy):
    dense = keras.layers.Dense(2, name="upscale_1_conv", dtype=policy)
    network = keras.Sequential([keras.Input((2,)), dense])
    network.dtype_policy = keras.dtype_policies.get(policy)
    optimizer = states._optimizer(network, TINY, ema=0.0)
    for variable in optimizer.variables:
        variable.assign(np.full(variable.shape, 3, variable.dtype))
    states.forget_moments(optimizer)
    adam = getattr(optimizer, "inner_optimizer", optimizer)
    assert any("upscale_1_conv" in variable.path for variable in adam.variables)
    inner = [id(variable) for variable in adam.variables]
    for variable in optimizer.variables:
        # The learning rate stays, and what belongs to the scaling of the loss.
        stays = variable is adam.learning_rate or id(variable) not in inner
        assert np.all(np.array(variable) == (3 if stays else 0)), variable.path


def test_generator_is_given_the_moving_average_of_its_weights(eager):
    recipe, state = build("ema=0.75", "gan=0 steps")
    weights = state.generator.trainable_variables
    with states.averaged(state):  # there is none before the first step
        start = values(weights)
    run(recipe, state, "pretrain")
    first = values(weights)
    assert any(changed(start, first))
    run(recipe, state, "pretrain")
    second = values(weights)
    with states.averaged(state):
        average = values(weights)
    assert not any(changed(second, values(weights)))
    for a, b, mean in zip(first, second, average, strict=True):
        assert mean == pytest.approx(0.75 * a + 0.25 * b, rel=1e-5, abs=1e-7)


def test_a_step_is_given_its_learning_rate_and_draws_its_labels(eager, monkeypatch):
    changes = ["learning_rate=1e-3, 1e-4 after 1 steps", "real_label_std=0.05"]
    (recipe, state), seen, build_step = build(*changes), [], step.gan

    def noting(*given):
        train_step = build_step(*given)
        return lambda *given: seen.append(given) or train_step(*given)

    monkeypatch.setattr(step, "gan", noting)
    run(recipe, state, "gan", 2)
    assert [rate for rate, *_ in seen] == pytest.approx([1e-3, 1e-4])
    for number, (_, *tensors) in zip((3, 4), seen, strict=True):
        expected = [*batch(number), *states.noisy_labels(recipe, 1, number, 2)]
        assert not any(changed(values(tensors), expected))
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        assert float(optimizer.learning_rate) == pytest.approx(1e-4)

    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(step, "gan", lambda *_: exhausted)
    with pytest.raises(UserError, match="batch_size=2"):
        run(recipe, state, "gan")


def test_the_margin_is_seen_by_the_pixel_terms_alone(eager, monkeypatch):
    """Of 32 pixels, the inner 24: what they see does not change with the border."""
    recipe, state = build(
        "patch_size=32", "margin=4", "content={\"vgg19/block1_conv2\": 1.0}",
        weights={"vgg19": "random"},
    )  # fmt: skip
    assert state.discriminator.input_shape == (None, 24, 24, 3)
    (rng, sides), seen = (np.random.default_rng(0), (8, 32)), []
    lr, hr = (rng.integers(0, 256, (2, s, s, 3), np.uint8) for s in sides)
    content_loss = losses.content_loss

    def spy(terms, hr, sr, extractor, margin):
        seen.append(content_loss(terms, hr, sr, extractor, margin))
        border = np.full((2, 32, 32, 3), 0.5, np.float32)
        border[:, 4:-4, 4:-4] = 0
        seen.append(content_loss(terms, hr, sr + border, extractor, margin))
        seen.append(content_loss({"pixels": 1.0}, hr, sr + border, None, margin))
        seen.append(content_loss({"pixels": 1.0}, hr, sr, None, margin))
        return seen[0]

    monkeypatch.setattr(losses, "content_loss", spy)
    labels = [np.full((2, 1), label, np.float32) for label in (0.9, 0.1, 0.8)]
    step.gan(state, recipe)(np.float32(1e-3), lr, hr, *labels)
    assert float(seen[0]) == float(seen[1]) > 0
    assert abs(float(seen[2]) - float(seen[3])) > 1e-3


def test_mixed_precision_has_float32_variables_and_leaves_the_policy(eager):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        recipe, state = build("precision=mixed_float16")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert state.precision == "mixed_float16"
        assert state.discriminator.get_layer("block_1_conv").compute_dtype == "float16"
        variables = [each for net in state.networks() for each in net.variables]
        assert {each.dtype for each in variables} == {"float32"}
        (measures,) = run(recipe, state, "gan")
    finally:
        keras.config.set_dtype_policy("float32")
    assert all(np.isfinite(value) for value in measures.values())


def test_an_unfit_content_is_refused_before_any_stage():
    pool = "vgg19/block5_pool"
    for term, subject in (("odd", "odd"), (pool, f"patch_size=24 .* {pool}")):
        with pytest.raises(UserError, match=subject):
            build(f'content={{"{term}": 1}}', weights={"vgg19": "random"})


def test_what_the_memory_of_a_cpu_cannot_hold_is_refused(monkeypatch):
    monkeypatch.setattr(states.hardware, "main_memory", lambda: 2**34)
    changes = ["batch_size=1000000", "patch_size=24", "discriminator_filters=4"]
    recipe = settings.with_settings(recipes.get_recipe("tiny"), changes)
    with pytest.raises(UserError, match="over 16 GiB: reduce batch_size"):
        states.build(recipe, 0)
    monkeypatch.setattr(states.hardware, "is_accelerated", lambda: True)
    settings.check_memory(recipe, settings.MOST_MEMORY)


def test_pretraining_alone_has_no_discriminator_nor_its_features(monkeypatch):
    built = []
    monkeypatch.setattr(
        features, "build_extractor", lambda terms, *_: built.append(terms)
    )
    _, state = build("gan=0 steps", 'content={"vgg19/block1_conv1": 1}')
    assert state.networks() == [state.generator]
    assert set(state.variables()) == {"generator", "generator_optimizer"}
    assert built == [{"pixels": 1.0}]


def test_starts_from_a_generators_file(tmp_path):
    _, other = build("gan=0 steps", seed=5)
    path = tmp_path / "other.h5"
    files.save_generator(other.generator, path)
    _, state = build("gan=0 steps", f"start={path}")
    assert not any(changed(*(values(s.generator.variables) for s in (state, other))))
    for change, field in {"filters=8": "filters", "generator=deconv": "arch"}.items():
        with pytest.raises(UserError, match=rf"other\.h5 has {field}"):
            build("gan=0 steps", f"start={path}", change)
    with pytest.raises(UserError, match=r"nowhere\.h5"):
        build("gan=0 steps", f"start={tmp_path / 'nowhere.h5'}")


def test_steps_compiled_by_xla_have_the_same_losses(monkeypatch):
    build_small = small_runs.build_discriminator  # the whole one takes a minute
    monkeypatch.setattr(states.discriminators, "build_discriminator", build_small)
    found = []
    for choice in ("auto", "true"):
        tf.config.run_functions_eagerly(choice == "auto")  # compiling takes longer
        changes = ["generator=compact", "batch_norm=false", f"jit_compile={choice}"]
        found.append(run(*build(*changes), "gan", 3))
    for measures, expected in zip(*found, strict=True):
        assert measures == pytest.approx(expected, abs=1e-5)
