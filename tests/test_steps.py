"""What a step changes, and what it must not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from srgan_tf import UserError, losses, recipes, steps

TINY = recipes.with_settings(
    recipes.get_recipe("tiny"),
    ["start=random",
        "batch_norm=true",
        "filters=4", "residual_blocks=1", "discriminator_filters=4", "high_size=24",
     "pretrain=3 steps", "gan=3 steps", "batch_size=2"],
)  # fmt: skip


@pytest.fixture(autouse=True)
def eager():
    """Tracing a tiny network takes longer than running it; test_train.py compiles."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def trainer(*settings, seed=1, weights=None):
    return steps.Trainer(recipes.with_settings(TINY, settings), seed, weights)


def batch(seed=0):
    generator = np.random.default_rng(seed)
    return (
        generator.integers(0, 256, (2, 6, 6, 3), np.uint8),
        generator.integers(0, 256, (2, 24, 24, 3), np.uint8),
    )


def values(network, kind="weights"):
    return [np.array(variable) for variable in getattr(network, kind)]


def changed(before, after):
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


def run(one, stage_name, count=1):
    stage = next(s for s in recipes.stages(one.recipe, 1) if s.name == stage_name)
    for step in range(stage.first_step, stage.first_step + count):
        measures = one.step(stage, step, *batch(step))
    return measures


def test_pretraining_leaves_the_discriminator_alone():
    one = trainer()
    generator, discriminator = values(one.generator), values(one.discriminator)
    measures = run(one, "pretrain")
    assert all(changed(generator, values(one.generator)))
    assert not any(changed(discriminator, values(one.discriminator)))
    assert measures.keys() == {"perceptual", "content"}
    assert one.iterations() == [1, 0]


def test_gan_step_trains_both_once():
    one = trainer()
    generator, discriminator = values(one.generator), values(one.discriminator)
    measures = run(one, "gan")
    assert all(changed(generator, values(one.generator)))
    assert all(changed(discriminator, values(one.discriminator)))
    assert one.iterations() == [1, 1]
    assert set(measures) == {
        "perceptual",
        "content",
        "adversarial",
        "discriminator",
        "d_real",
        "d_fake",
    }
    expected = measures["content"] + 1e-3 * measures["adversarial"]
    assert measures["perceptual"] == pytest.approx(expected, rel=1e-6)


def test_discriminators_step_does_not_touch_the_generator():
    one = trainer()
    low, high = one.ranges(*batch())
    fake = one.generator(low, training=False)
    generator, discriminator = values(one.generator), values(one.discriminator)
    one.discriminator_step(high, fake, 1.0, 0.0)
    assert not any(changed(generator, values(one.generator)))
    assert all(changed(discriminator, values(one.discriminator)))


def test_generators_part_does_not_touch_the_discriminator():
    """Weights and moving averages alike: with its own step left out, nothing moves."""
    one = trainer()
    one.discriminator_step = lambda *_: {}
    generator, discriminator = values(one.generator), values(one.discriminator)
    low, high = batch()
    one.gan_step(low, high, np.float32(1), np.float32(0), np.float32(1))
    assert all(changed(generator, values(one.generator)))
    assert not any(changed(discriminator, values(one.discriminator)))


def test_adversarial_term_reaches_the_generators_weights():
    """With no content worth speaking of, the adversarial term alone moves them."""
    settings = ['content={"pixels": 1e-30}']
    still = trainer(*settings, "adversarial_weight=0.0")
    moved = trainer(*settings, "adversarial_weight=1.0", "epsilon=1e-8")
    for one, expected in ((still, False), (moved, True)):
        before = values(one.generator, "trainable_weights")
        run(one, "gan")
        difference = max(
            np.abs(a - b).max()
            for a, b in zip(before, values(one.generator, "trainable_weights"),
                            strict=True)
        )  # fmt: skip
        assert (difference > 1e-5) == expected


def test_adversarial_gradient_is_that_of_the_updated_discriminator():
    """The same step by hand: judged after the discriminator's update."""
    one, twin = trainer(), trainer()
    low, high = batch()
    measures = one.gan_step(low, high, np.float32(1), np.float32(0), np.float32(1))
    ranged = twin.ranges(low, high)
    fake = twin.generator(ranged[0], training=True)
    twin.discriminator_step(ranged[1], fake, 1.0, 0.0)
    expected = losses.adversarial_loss(twin.discriminator(fake, training=True))
    assert float(measures["adversarial"]) == pytest.approx(float(expected), rel=1e-5)


def test_real_and_fake_are_batches_of_their_own():
    one = trainer()
    sizes, call = [], one.discriminator.call

    def watched(inputs, *args, **kwargs):
        sizes.append(inputs.shape[0])
        return call(inputs, *args, **kwargs)

    one.discriminator.call = watched
    low, high = batch()
    one.gan_step(low, high, np.float32(1), np.float32(0), np.float32(1))
    assert sizes == [2, 2, 2]


def test_one_forward_pass_of_the_generator():
    one = trainer()
    calls, call = [], one.generator.call

    def watched(*args, **kwargs):
        calls.append(kwargs.get("training"))
        return call(*args, **kwargs)

    one.generator.call = watched
    low, high = batch()
    one.gan_step(low, high, np.float32(1), np.float32(0), np.float32(1))
    assert len(calls) == 1


def test_labels_are_noisy_as_the_recipe_says_and_repeat():
    settings = ["real_label=0.9", "real_label_spread=0.05"]
    first, again = trainer(*settings), trainer(*settings)
    plain = trainer()
    results = [run(one, "gan")["discriminator"] for one in (first, again, plain)]
    assert results[0] == results[1] != results[2]


def test_same_seed_same_networks_and_steps():
    first, again, other = trainer(), trainer(), trainer(seed=2)
    assert not any(changed(values(first.generator), values(again.generator)))
    assert any(changed(values(first.generator), values(other.generator)))
    for one in (first, again):
        run(one, "pretrain")
        run(one, "gan")
    assert not any(changed(values(first.generator), values(again.generator)))
    assert not any(changed(values(first.discriminator), values(again.discriminator)))


def test_no_sum_of_gradients_is_left_to_chance():
    """Of three tensors or more that have a known shape, see Trainer and proofs.py."""
    one = trainer("gan=0 steps", "discriminator_filters=4")
    graph = one._steps["pretrain"].get_concrete_function().graph
    sums = [op for op in graph.get_operations() if op.type == "AddN"]
    sums = [op.outputs[0] for op in sums if len(op.inputs) > 2]
    assert sums
    assert not [each.name for each in sums if each.shape.is_fully_defined()]


def test_a_stage_begins_without_the_last_ones_moments():
    one = trainer()
    run(one, "pretrain", 2)
    one.begin_stage()
    assert one.iterations() == [0, 0]
    names = ("_momentum", "_velocity")
    variables = one.generator_optimizer.variables
    moments = [v for v in variables if v.path.endswith(names)]
    assert moments
    assert [v.path for v in moments if np.any(np.array(v))] == []


def test_learning_rate_follows_the_schedule():
    one = trainer("learning_rate=1e-3, 1e-4 after 2 steps")
    rates = []
    for count in (1, 3):
        run(one, "pretrain", count)
        rates.append(float(one.generator_optimizer.learning_rate.numpy()))
    assert rates == pytest.approx([1e-3, 1e-4])


def test_features_join_the_content_loss():
    weights = {"vgg19": "random"}
    content = 'content={"pixels": 1.0, "vgg19/block1_conv1": 1.0}'
    plain, with_features = trainer(), trainer(content, weights=weights)
    measures = [run(one, "gan") for one in (plain, with_features)]
    assert measures[1]["content"] > measures[0]["content"]
    assert with_features.extractors["pretrain"] is None
    assert not with_features.extractors["gan"].trainable_variables


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_with_float32_state(policy):
    one = trainer(f"precision={policy}")
    before = values(one.generator, "trainable_weights")
    measures = run(one, "gan", 2)
    assert one.generator.dtype_policy.name == policy
    assert keras.config.dtype_policy().name == "float32"
    assert {str(v.dtype) for v in one.generator.weights} == {"float32"}
    assert all(np.isfinite(value) for value in measures.values())
    if policy == "mixed_bfloat16":
        assert all(changed(before, values(one.generator, "trainable_weights")))
    else:
        assert isinstance(one.generator_optimizer, keras.optimizers.LossScaleOptimizer)
        assert float(one.generator_optimizer.dynamic_scale) > 1
        # Scaled gradients may overflow at first: then the scale falls, steps go on.
        run(one, "gan", 3)
        scale = float(one.generator_optimizer.dynamic_scale)
        one.begin_stage()
        assert float(one.generator_optimizer.dynamic_scale) == scale


def test_unknown_content_is_told_before_any_stage():
    with pytest.raises(UserError, match="no content term 'pixels_l1'"):
        trainer('content={"pixels_l1": 1}')
    with pytest.raises(UserError, match=r"high_size=24 leaves nothing .* vgg19/block5"):
        deep = 'content={"vgg19/block5_pool": 1}'
        trainer(deep, "high_size=24", weights={"vgg19": "random"})


def test_too_little_memory_names_the_batch_size():
    one = trainer()

    def exhausted(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    one._steps["pretrain"] = exhausted
    with pytest.raises(UserError, match="batch_size=2"):
        run(one, "pretrain")


def test_pretraining_alone_needs_no_discriminator():
    one = trainer("gan=0 steps")
    assert one.discriminator is None
    assert set(one.variables()) == {"generator", "generator_optimizer"}
    run(one, "pretrain")
    assert one.iterations() == [1]


def test_a_start_as_interpolation_starts_nearer():
    low, high = (np.full((2, side, side, 3), 180, np.uint8) for side in (6, 24))
    first = []
    for start in ("random", "interpolation"):
        one = trainer(f"start={start}", "filters=8")
        first.append(float(one.pretrain_step(low, high)["content"]))
    assert first[1] < first[0] / 2
