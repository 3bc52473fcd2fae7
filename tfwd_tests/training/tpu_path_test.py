"""What TPUs ask of data and loop, on CPUs: static shapes, XLA, bfloat16."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfwd
from tfwd import data
from tfwd.data import text
from tfwd.training.checkpoint import progress as progress_lib
from tfwd.training.config import settings as settings_lib
from tfwd.training.distributed import strategy as strategy_lib
from tfwd.training.loop import loop as loop_lib
from tfwd.training.runs import job as job_lib
from tfwd.training.runs import logs
from tfwd.training.runs import run
from tfwd.training.setup import inputs
from tfwd.training.setup import optimization as optimizer_lib
from tfwd_tests.data import feeding
from tfwd_tests.data import jpegs
from tfwd_tests.training import looping
from tfwd_tests.training import processes

DIGITS = {
    "train_fraction": 0.3,
    "batch_size": 32,
    "hidden_units": 4,
    "epochs": 1,
}
OPTIMIZERS = {
    "sgds": {"learning_rate": 0.1},
    "adams": {"learning_rate": 0.01},
    "kfac": {"damping": 0.1, "factor_every": 3, "inverse_every": 6},
}


def images():
    """Eleven images without colours, to be told apart."""
    pixels = np.arange(11 * 4, dtype=np.uint8).reshape(11, 2, 2, 1)
    labels = np.arange(11, dtype=np.int32)
    examples = data.Examples(pixels, labels)
    return data.Splits(
        "images", examples, None, examples, 11, (2, 2, 1), (0.5,), (0.25,)
    )


def words():
    tokens = np.arange(60, dtype=np.int32)
    names = tuple(map(str, tokens))
    return text.Text("words", tokens, tokens[:21], tokens[:14], names, bptt=4)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    ramps = [jpegs.ramp(20 + n, 20) for n in range(11)]
    jpegs.write(folder, ramps, ramps[:5])
    return jpegs.opened(folder)


@pytest.fixture(params=["images", "words", "records"])
def source(request):
    if request.param == "records":
        return request.getfixturevalue("records")
    return {"images": images, "words": words}[request.param]()


def assert_static(dataset):
    for spec in dataset.element_spec:
        assert spec.shape.is_fully_defined(), spec


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize("finished", [True, False])
def test_every_shape_is_known_without_partial_batches(
    source, replicas, finished
):
    given = {"shard": data.Shard(replicas, 0, replicas), "finished": finished}
    assert_static(source.evaluation_batches("test", 4, **given))
    assert_static(
        source.training_batches(
            4, seed=1, augment=False, drop_remainder=True, **given
        )
    )


def test_full_batches_are_those_of_epochs_that_keep_the_rest(source):
    arguments = {
        "seed": 1,
        "augment": False,
        "shard": data.Shard(2, 0, 2),
    }
    kept, dropped = (
        source.training_steps(4, drop_remainder) for drop_remainder in (0, 1)
    )
    full = [
        parts
        for parts in feeding.steps_of(
            source.training_batches(4, **arguments), 2 * kept, 2
        )
        if len(feeding.joined(parts).labels) == 4
    ]
    alone = feeding.steps_of(
        source.training_batches(4, drop_remainder=True, **arguments),
        2 * dropped,
        2,
    )
    assert len(full) == len(alone)
    for expected, found in zip(full, alone, strict=True):
        for replica in range(2):
            feeding.assert_equal(found[replica], expected[replica])


def test_later_start_without_partial_batches_continues_the_epochs(source):
    arguments = {"seed": 1, "augment": False, "drop_remainder": True}
    steps = source.training_steps(4, drop_remainder=True)
    whole = feeding.steps_of(source.training_batches(4, **arguments), 2 * steps)
    later = source.training_batches(
        4, first_epoch=1, first_step=steps - 1, **arguments
    )
    ((found,),) = feeding.steps_of(later, 1)
    feeding.assert_equal(found, whole[-1][0])


def test_step_of_the_partial_batch_is_refused_where_it_is_dropped():
    arguments = {"seed": 1, "augment": False, "first_step": 2}
    images().training_batches(4, **arguments)
    with pytest.raises(ValueError, match="steps in an epoch, 2. Received"):
        images().training_batches(4, drop_remainder=True, **arguments)


@pytest.mark.parametrize(
    ("strategy", "steps", "rows"), [("tpu", 2, 4), ("default", 3, None)]
)
def test_runs_leave_partial_batches_out_on_tpus_alone(strategy, steps, rows):
    settings = settings_lib.Settings(strategy=strategy, batch_size=4)
    assert inputs.training_steps(settings, images()) == steps
    # Step 2 is in the second epoch for a TPU.
    dataset = inputs.training_batches(
        settings, images(), tf.distribute.get_strategy(), 2
    )
    assert dataset.element_spec.labels.shape == (rows,)
    assert len(next(iter(dataset)).labels) == (4 if strategy == "tpu" else 3)


@pytest.fixture
def one_core(monkeypatch):
    """Takes the place of a TPU."""
    monkeypatch.setattr(
        strategy_lib, "create", lambda _: tf.distribute.get_strategy()
    )


def test_job_on_a_tpu_trains_on_full_batches(one_core, tmp_path):
    settings = settings_lib.Settings(
        strategy="tpu", output_dir=str(tmp_path / "a"), **DIGITS
    )
    job = job_lib.prepare(settings)
    # 431 examples are 13 batches of 32 and 15 more.
    assert job.steps_per_epoch == 13
    assert run.train(job) == 0
    (row,) = logs.read(tmp_path / "a" / "metrics.csv")
    assert row["step"] == 13


def test_run_cannot_go_on_with_other_epochs(one_core, tmp_path):
    default, tpu = (
        settings_lib.Settings(
            strategy=strategy, output_dir=str(tmp_path / "a"), **DIGITS
        )
        for strategy in ("default", "tpu")
    )
    progress = progress_lib.Progress(epoch=1, step=14)
    job = job_lib.prepare(default)
    job.checkpoints.save(14, progress)
    job.folder.release()
    job = job_lib.prepare(default)
    assert job.progress.step == 14
    job.folder.release()
    with pytest.raises(ValueError, match="`--strategy` must keep.*13; .*14"):
        job_lib.prepare(tpu)


def made_loop(strategy, name, jit_compile=False):
    settings = settings_lib.Settings(optimizer=name, **OPTIMIZERS[name])

    def build(model):
        optimizer = optimizer_lib.plan(settings, looping.STEPS).create()
        if isinstance(optimizer, tfwd.KFAC):
            optimizer.attach(
                model,
                loss=keras.losses.SparseCategoricalCrossentropy(
                    from_logits=True
                ),
            )
        optimizer.build(model.trainable_variables)
        return optimizer

    def layers():
        return [
            keras.Input((looping.FEATURES,)),
            keras.layers.Dense(5, activation="tanh"),
        ]

    keras.utils.set_random_seed(3)
    made = looping.made_loop(strategy, layers, build)
    return loop_lib.Loop(strategy, made.replica_step, jit_compile)


def assert_trained_alike(found, expected, tolerance):
    for one, other in zip(
        found.replica_step.model.get_weights(),
        expected.replica_step.model.get_weights(),
        strict=True,
    ):
        np.testing.assert_allclose(one, other, atol=tolerance)


def train_without_merging():
    """As replicas do on TPUs, and on several GPUs under XLA."""
    strategy = strategy_lib.create(
        settings_lib.Settings(strategy="mirrored", virtual_cpus=2).distribution
    )
    strategy.extended._use_merge_call = lambda: False
    for name in OPTIMIZERS:
        one = made_loop(tf.distribute.get_strategy(), name)
        losses = looping.trained(one, epochs=3)
        two = made_loop(strategy, name)
        np.testing.assert_allclose(
            looping.trained(two, epochs=3), losses, rtol=1e-5
        )
        assert_trained_alike(two, one, 1e-5)
        assert losses[-1] < losses[0]
    return 0


def test_replicas_that_merge_nothing_train_as_one_device(tmp_path):
    # In a process of its own: these replicas meet in collectives, whose keys
    # every strategy of a process counts from the same start.
    process = processes.start(train_without_merging, log=tmp_path / "log")
    code = processes.finish(process, seconds=300)
    assert code == 0, (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "name", ["sgds", "adams", pytest.param("kfac", marks=pytest.mark.many)]
)
def test_step_compiled_by_xla_is_the_one_that_is_not(name):
    plain, compiled = (
        made_loop(tf.distribute.get_strategy(), name, jit_compile)
        for jit_compile in (False, True)
    )
    losses = looping.trained(plain, epochs=2)
    np.testing.assert_allclose(
        looping.trained(compiled, epochs=2), losses, rtol=1e-6
    )
    assert_trained_alike(compiled, plain, 1e-6)


@pytest.fixture
def bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.many
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bfloat16_learns_with_variables_of_float32(bfloat16, name):
    loop = made_loop(tf.distribute.get_strategy(), name)
    (first, _), *_, (last, _) = looping.trained(loop, epochs=4)
    assert last < first
    step = loop.replica_step
    assert step.model.layers[0].compute_dtype == "bfloat16"
    dtypes = {
        variable.dtype
        for variable in step.model.variables + step.optimizer.variables
        if keras.backend.is_float_dtype(variable.dtype)
    }
    assert dtypes == {"float32"}
