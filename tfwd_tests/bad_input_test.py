"""Bad input: one line, exit code 2, and not one byte written.

Of the rules of the flags, which training/settings_test.py has all, one of each
kind; and what only the data, the model, the devices or the folder show.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import pytest
import tensorflow as tf

from tfwd import data
from tfwd import diagnose
from tfwd import train
from tfwd.training.config import flagfile
from tfwd.training.runs import job as job_lib
from tfwd.training.setup import inputs
from tfwd_tests.data import folders

ROOT = pathlib.Path(__file__).resolve().parents[1]
TINY = ["--hidden_layers=0", "--epochs=1", "--train_fraction=0.1"]
TWO_REPLICAS = ["--strategy=mirrored", "--num_devices=2"]
HOSTS = ["--strategy=multi_worker", "--worker_hosts=a:1,b:2"]
PTB = ["--dataset=ptb", "--data_dir=text", "--model=lstm", "--hidden_units=2"]
KNOWN = "a b c d\n" * 20


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # So that what the binary sets is undone as well.
    monkeypatch.setenv("TF_CONFIG", "")
    monkeypatch.delenv("TF_CONFIG")


def contents():
    """What is in the working folder: bytes of files, None for folders."""
    return {
        path: path.read_bytes() if path.is_file() else None
        for path in pathlib.Path().rglob("*")
    }


def check_refused(capsys, arguments, *words):
    """Asserts exit code 2, one line with all `words`, and nothing written."""
    before = contents()
    capsys.readouterr()
    code = train.main(arguments)
    captured = capsys.readouterr()
    assert code == 2
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and captured.err.endswith("\n")
    for word in words:
        assert word in captured.err
    assert contents() == before


def write(path, text=""):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def in_folder(*arguments):
    return [*arguments, "--output_dir=a"]


def named(value):
    """The id of a row of the tables below: its first flags."""
    return ",".join(value[:3]) if value and value[0].startswith("-") else ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--no_such_flag"], ["no_such_flag"]),
        (["train"], ["Received: train"]),
        (["--epochs=many"], ["--epochs", "many"]),
        (["--epochs=0"], ["--epochs", "at least 1", "0"]),
        (["--flagfile=none"], ["flagfile", "none"]),
        (["--optimizer=adamx"], ["--optimizer", "sgd, sgdw", "adamx"]),
        (["--clipnorm=1", "--clipvalue=2"], ["--clipvalue", "--clipnorm", "2"]),
        (["--undefok=epoch", "--epoch=3"], ["--undefok", "known", "=epoch"]),
        (["--bptt=35"], ["--bptt", "--dataset=ptb", "35"]),
        (["--warmup_epochs=31"], ["--warmup_epochs", "--epochs=30", "31"]),
    ],
    ids=named,
)
def test_flag_that_breaks_a_rule_is_refused(capsys, arguments, words):
    check_refused(capsys, in_folder(*arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint_every=often"], ["--checkpoint_every", "600s", "often"]),
        (["--checkpoint_every=0"], ["--checkpoint_every", "600s", "0"]),
        (["--checkpoint_every=-5s"], ["--checkpoint_every", "600s", "-5s"]),
        (["--momentum=0.9"], ["--momentum", "--optimizer=adams", "0.9"]),
        (["--damping=1"], ["--damping", "--optimizer=adams", "1.0"]),
        (["--cold_start"], ["--cold_start", "--optimizer=kfac", "True"]),
        (
            [
                *("--optimizer=kfac", "--update_order=authors"),
                "--accumulation_steps=2",
            ],
            ["--accumulation_steps", "--update_order=authors", "=2"],
        ),
        (["--optimizer=padam", "--partial=2"], ["partial", "0.5]", "2.0"]),
        (
            ["--optimizer=sgd", "--momentum=0", "--nesterov"],
            ["nesterov", "momentum > 0", "momentum=0.0"],
        ),
        (["--weight_decay_mode=l3"], ["--weight_decay_mode", "stable", "l3"]),
        (["--exclude_from_weight_decay=["], ["expressions", "'['"]),
        (["--exclude_from_weight_decay=@all"], ["@norm", "@all"]),
        (
            ["--exclude_from_weight_decay=nothing"],
            ["pattern", "nothing", "logits/kernel"],
        ),
        (
            ["--learning_rate=1e38", "--scaling_rule=lr", "--batch_size=1024"],
            ["--scaling_rule", "learning_rate", "float32", "8e+38"],
        ),
        (
            ["--schedule=step", "--decay_epochs=4000000000"],
            ["--decay_epochs", "updates", "=4000000000"],
        ),
        (["--epochs=4294967295"], ["--epochs", "2147483647 updates", "=42949"]),
        (["--warmup_epochs=1e-3"], ["--warmup_epochs", "one step", "0.001"]),
        (
            ["--accumulation_steps=13"],
            ["--accumulation_steps", "at most the 12 steps", "13"],
        ),
        (
            ["--use_ema", "--ema_overwrite_frequency=361"],
            ["--ema_overwrite_frequency", "at most the 360 updates", "361"],
        ),
        (
            [
                *("--use_ema", "--ema_overwrite_frequency=91"),
                *("--accumulation_steps=4",),
            ],
            ["--ema_overwrite_frequency", "at most the 90 updates", "91"],
        ),
        (
            ["--eval_batch_size=4294967295"],
            ["--eval_batch_size", "1437 examples", "4294967295"],
        ),
        (["--init_from=no.keras"], ["--init_from", "existing", "no.keras"]),
        (["--width=1e8"], ["--width", "GiB here", "100000000.0"]),
        (["--hidden_units=4294967295"], ["--hidden_units", "GiB", "=42949"]),
        (
            ["--schedule=cosine_restarts", "--restart_epochs=0.01"],
            ["--restart_epochs", "one step", "0.01"],
        ),
        (["--dataset=mnist"], ["data_dir", "tfds.load", "DATA_DIR", "None"]),
        (
            ["--dataset=mnist", "--data_dir=empty"],
            ["data_dir", "empty", 'tfds.load("mnist", data_dir="empty")'],
        ),
        (
            ["--dataset=imagenet2012", "--data_dir=empty"],
            ["data_dir", 'tfds.load("imagenet2012"', "empty"],
        ),
        (["--num_validation=1437"], ["num_validation", "1437"]),
        (["--augment"], ["augment", "True"]),
        (["--batch_size=2000"], ["--batch_size", "1437", "2000"]),
        (["--model=vgg11"], ["vgg11", "32", "(8, 8, 1)"]),
        (
            ["--decay_scope=normalized", "--nobatch_norm"],
            ["scope", "must select", "normalized"],
        ),
        (
            [
                *("--decay_scope=normalized", "--nobatch_norm"),
                "--decay_scope_from_epoch=1",
            ],
            ["scope", "must select", "normalized"],
        ),
        (
            ["--norm_transfer=no.csv"],
            ["--norm_transfer", "readable", "No such file", "no.csv"],
        ),
        (
            ["--norm_transfer=~no_such_user/a.csv"],
            ["--norm_transfer", "home directory", "~no_such_user"],
        ),
        (
            ["--dataset=mnist", "--data_dir=~no_such_user/a"],
            ["--data_dir", "home directory", "~no_such_user"],
        ),
        (
            ["--dataset=mnist", f"--data_dir={'x' * 300}"],
            ["--data_dir", "name too long", "xxx"],
        ),
    ],
    ids=named,
)
def test_flags_that_do_not_fit_one_another_or_the_data_are_refused(
    capsys, arguments, words
):
    check_refused(capsys, in_folder(*arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--strategy=parameter_server"],
            ["--strategy", "asynchronous", "=parameter_server"],
        ),
        (
            ["--strategy=mirrored", "--num_devices=99"],
            ["--num_devices", "at most", "99"],
        ),
        ([*TWO_REPLICAS, "--jit_compile"], ["--jit_compile", "one replica"]),
        (
            [*TWO_REPLICAS, "--batch_size=3"],
            ["--batch_size", "divisible", "2 replicas", "3"],
        ),
        (
            [*TWO_REPLICAS, "--batch_size=1436"],
            ["--batch_size", "last batch", "1436"],
        ),
        (["--strategy=tpu"], ["--tpu", "a TPU that answers", "local"]),
        (
            ["--strategy=tpu", "--tpu=grpc://localhost:1"],
            ["--tpu", "a TPU that answers", "refused", "localhost:1"],
        ),
        (
            ["--strategy=tpu", "--tpu=nonesuch"],
            ["--tpu", "a TPU that answers", "nonesuch"],
        ),
        (["--strategy=multi_worker"], ["--worker_hosts", "TF_CONFIG", "None"]),
        ([*HOSTS, "--task_index=2"], ["--task_index", "[0, 2)", "=2"]),
        (
            [*HOSTS, "--worker_hosts=a,b:2", "--task_index=0"],
            ["--worker_hosts", "host:port", "'a'"],
        ),
        (
            [*HOSTS, "--worker_hosts=a:1,a:1", "--task_index=0"],
            ["--worker_hosts", "once", "a:1 2 times"],
        ),
    ],
    ids=named,
)
def test_devices_that_cannot_be_had_are_refused(capsys, arguments, words):
    check_refused(capsys, in_folder(*arguments), *words)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{", "must be JSON"),
        ('{"task": {"type": "worker", "index": 0}}', 'must be {"cluster"'),
        ('{"cluster": {"worker": ["a:1"]}}', 'must be {"cluster"'),
        (
            '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, '
            '"task": {"type": "worker", "index": 0}}',
            "must hold no ps",
        ),
        (
            '{"cluster": {"worker": ["a:1", "b:2"]}, '
            '"task": {"type": "worker", "index": 2}}',
            "task index in [0, 2)",
        ),
    ],
)
def test_malformed_tf_config_is_refused(capsys, monkeypatch, text, rule):
    monkeypatch.setenv("TF_CONFIG", text)
    arguments = in_folder("--strategy=multi_worker")
    check_refused(capsys, arguments, "`TF_CONFIG`", rule, f"TF_CONFIG={text}")


def test_workers_without_a_common_folder_are_refused(capsys):
    arguments = [*HOSTS, "--task_index=0"]
    check_refused(capsys, arguments, "--output_dir", "multi_worker", "None")


def test_chief_refuses_another_runs_folder_before_it_waits(capsys, monkeypatch):
    write("a/metrics.csv")
    cluster = {"worker": ["a:1", "b:2"]}
    task = {"type": "worker", "index": 0}
    text = json.dumps({"cluster": cluster, "task": task})
    monkeypatch.setenv("TF_CONFIG", text)
    arguments = in_folder("--strategy=multi_worker")
    check_refused(capsys, arguments, "--output_dir", "metrics.csv")


@pytest.mark.parametrize(
    ("arguments", "texts", "words"),
    [
        (PTB, {}, ["data_dir", "ptb.train.txt", "text"]),
        (PTB, {"valid": None}, ["data_dir", "ptb.valid.txt", "text"]),
        (PTB, {"test": ""}, ["data_dir", "not empty", "ptb.test.txt"]),
        (PTB, {"train": b"a \xff\n"}, ["data_dir", "UTF-8", "0xff at 2"]),
        (PTB, {"test": b"a\0\0"}, ["data_dir", "0x00 at 1", "ptb.test.txt"]),
        (PTB, {"valid": "a z\n"}, ["data_dir", "<unk>", "'z'", "line 1"]),
        ([*PTB, "--num_validation=5"], {}, ["num_validation", "0", "=5"]),
        (
            [*PTB, "--augment", "--batch_size=9"],
            {"train": KNOWN},
            ["augment", "text", "True"],
        ),
        (
            # 99 predictions in 9 streams.
            [*PTB, "--bptt=1000000", "--batch_size=9"],
            {"train": KNOWN},
            ["--bptt", "at most the 11 words", "1000000"],
        ),
        (
            [*PTB, "--diagnostics=damping,jacobian", "--batch_size=9"],
            {"train": KNOWN},
            ["--diagnostics", "effective_learning_rate", "=jacobian"],
        ),
        (
            [*PTB, "--decay_scope=normalized", "--batch_size=9"],
            {"train": KNOWN},
            ["scope", "must select", "normalized"],
        ),
        (
            [*PTB, "--hidden_layers=0", "--batch_size=9"],
            {"train": KNOWN},
            ["hidden_layers", "integer >= 1", "0"],
        ),
        (
            [*PTB, "--batch_size=500"],
            {"train": KNOWN},
            ["--batch_size", "at most the 99", "500"],
        ),
        (
            [*PTB, "--batch_size=3", *TWO_REPLICAS],
            {"train": KNOWN},
            ["--batch_size", "2 replicas", "3"],
        ),
    ],
)
def test_text_that_does_not_fit_is_refused(capsys, arguments, texts, words):
    if texts:
        everything = {"train": KNOWN, "valid": KNOWN, "test": KNOWN, **texts}
        for split, text in everything.items():
            if text is not None:
                write(f"text/ptb.{split}.txt", text)
    check_refused(capsys, in_folder(*arguments), *words)


def spoil(folder, how):
    """Damages a data set; returns the file that is to be named."""
    path = folders.shard(folder)
    if how == "checksum":
        folders.flip(path)
    elif how == "huge length":
        folders.set_length(path, 2**40)
    elif how == "cut off":
        folders.cut(path, 9)
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "missing":
        path.unlink()
    elif how == "lengths":
        folders.write_records(path, [bytes(99)] * 2)
    elif how == "label":
        image = folders.image(folder.parent.name, 1)
        folders.replace(path, folders.example(image=image, label=1000))
    elif how == "image":
        folders.replace(path, folders.example(image=b"none", label=1))
    elif how == "no example":
        folders.replace(path, b"\xff")
    else:
        path = folder / how
        path.write_text("[" * 10**5)
    return path


DAMAGES = {
    "checksum": "record 1, at byte",
    "huge length": f"it has {2**40} bytes",
    "cut off": "record 2, at byte",
    "empty": "it is empty",
    "missing": "there is no such file",
    "lengths": "holds 2 records, not the 3",
    "label": "its label is 1000",
    "image": "its image cannot be decoded",
    "no example": "it is no tf.train.Example",
    "dataset_info.json": "nested too deeply",
    "features.json": "nested too deeply",
}
IN_MEMORY = set(DAMAGES) - {"checksum", "label", "image", "no example"}


@pytest.mark.parametrize("how", DAMAGES)
def test_damaged_data_set_in_memory_is_refused(capsys, tmp_path, how):
    folder = folders.write(tmp_path / "data")
    path = spoil(folder, how)
    arguments = ["--dataset=mnist", f"--data_dir={tmp_path / 'data'}"]
    check_refused(
        capsys,
        in_folder(*arguments),
        f"`data_dir` must hold mnist undamaged; move {folder} away",
        f'tfds.load("mnist", data_dir="{tmp_path / "data"}")',
        f"Received: {path}: ",
        DAMAGES[how],
    )


IMAGENET = [
    *("--dataset=imagenet2012", "--data_dir=data", "--output_dir=a"),
    *("--hidden_units=1", "--batch_size=3", "--epochs=1"),
]


@pytest.mark.parametrize("how", [how for how in DAMAGES if how in IN_MEMORY])
def test_damaged_images_in_files_are_refused(capsys, how):
    folder = folders.write(pathlib.Path("data"), "imagenet2012", "5.1.0")
    path = spoil(folder, how)
    check_refused(capsys, IMAGENET, f"Received: {path}: ", DAMAGES[how])


def check_refused_on_the_way(capsys, main, arguments, path, *words):
    """Asserts exit code 2 and one line about a file of the data."""
    capsys.readouterr()
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"Received: {path}: " in error
    assert "worker" not in error
    for word in words:
        assert word in error


@pytest.mark.parametrize(
    "how", [how for how in DAMAGES if how not in IN_MEMORY]
)
def test_damage_met_in_training_is_named(capsys, how):
    folder = folders.write(pathlib.Path("data"), "imagenet2012", "5.1.0")
    path = spoil(folder, how)
    check_refused_on_the_way(capsys, train.main, IMAGENET, path, DAMAGES[how])


def test_damage_of_the_test_split_is_named(capsys):
    """Which training does not meet; an epoch, --mode=eval and diagnose do."""
    folder = folders.write(pathlib.Path("data"), "imagenet2012", "5.1.0")
    path = folder / "imagenet2012-validation.tfrecord-00000-of-00001"
    folders.flip(path)
    shape = (224, 224, 3)
    layers = [keras.Input(shape), keras.layers.GlobalAveragePooling2D()]
    keras.Sequential([*layers, keras.layers.Dense(1000)]).save("m.keras")
    saved = ["--model_file=m.keras", *IMAGENET[:2]]
    for main, arguments in (
        (train.main, IMAGENET),
        (train.main, ["--mode=eval", *saved]),
        (diagnose.main, ["--diagnostics=effective_learning_rate", *saved]),
    ):
        check_refused_on_the_way(
            capsys, main, arguments, path, "record 1, at byte", "checksum"
        )


def test_error_that_is_not_of_the_data_stays_as_it_is():
    error = tf.errors.InvalidArgumentError(None, None, "not of the data")
    with pytest.raises(tf.errors.InvalidArgumentError) as found:
        with inputs.named_damage(lambda: data.load("digits")):
            raise error
    assert found.value is error
    # No file is read where a worker has died.
    with pytest.raises(tf.errors.UnavailableError):
        with inputs.named_damage(lambda: pytest.fail("the data were asked")):
            raise tf.errors.UnavailableError(None, None, "a worker")


def lines_of_binary(*arguments):
    """Exit code and stderr of the binary, without TensorFlow's greetings."""
    found = subprocess.run(
        [sys.executable, "-m", "tfwd.train", *arguments],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.getcwd()]),
            "TF_CPP_MIN_LOG_LEVEL": "3",
        },
        check=False,
    )
    lines = found.stderr.splitlines()
    greetings = ("WARNING: All log messages before absl", "I0000 ")
    return found.returncode, [
        line for line in lines if not line.startswith(greetings)
    ]


@pytest.mark.parametrize(
    ("arguments", "how"),
    [
        # Of which TensorFlow dies.
        (["--dataset=mnist"], "huge length"),
        pytest.param(IMAGENET, "checksum", marks=pytest.mark.full),
    ],
    ids=named,
)
def test_binary_refuses_damage_in_one_line(arguments, how):
    version = {"mnist": "3.0.1"}.get(arguments[0][10:], "5.1.0")
    folder = folders.write(pathlib.Path("data"), arguments[0][10:], version)
    path = spoil(folder, how)
    code, lines = lines_of_binary("--data_dir=data", *arguments)
    assert code == 2
    (line,) = lines
    assert line.startswith("`data_dir` must hold ")
    assert f"Received: {path}: " in line and DAMAGES[how] in line


def test_binary_imports_nothing_that_a_data_set_names():
    folder = folders.write(pathlib.Path("data"))
    write("trap.py", "import pathlib\npathlib.Path('sprung').touch()\n")
    features = folders.features("mnist")
    features["featuresDict"]["features"]["label"]["pythonClassName"] = "trap.A"
    write(folder / "features.json", json.dumps(features))
    code, lines = lines_of_binary("--dataset=mnist", "--data_dir=data")
    assert code == 2
    (line,) = lines
    assert f"Received: {folder / 'features.json'}: its `label` is a" in line
    assert not pathlib.Path("sprung").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["columns", "epoch, layer, weight_norm"]),
        (b"\xff", ["CSV file", "0xff"]),
        (f"epoch,layer,weight_norm\n1,{'x' * 200000},1\n", ["field larger"]),
        ("epoch,layer,weight_norm\n1,hidden1,x\n", ["line 2", "1, x"]),
        ("epoch,layer,weight_norm\n1,hidden1,1\n", ["'hidden2'", "epoch 1"]),
        ("epoch,layer,weight_norm\n", ["'hidden1'", "epoch 1"]),
        (
            "epoch,layer,weight_norm\n1,hidden1,0\n1,hidden2,1\n",
            ["hidden1", "(0, inf)"],
        ),
    ],
    ids=["empty", "binary", "huge", "no number", "a layer", "an epoch", "zero"],
)
def test_norms_that_do_not_fit_are_refused(capsys, text, words):
    write("norms.csv", text)
    arguments = in_folder("--norm_transfer=norms.csv", "--epochs=1")
    check_refused(capsys, arguments, "--norm_transfer=norms.csv", *words)


@pytest.mark.parametrize(
    ("arguments", "files", "words"),
    [
        ([], {"a": ""}, ["--output_dir", "must be a folder", "=a"]),
        (["--output_dir=a/b"], {"a": ""}, ["--output_dir", "writable", "a/b"]),
        ([], {"a/metrics.csv": ""}, ["--output_dir", "metrics.csv", "=a"]),
        ([], {"a/checkpoints/x": ""}, ["--output_dir", "checkpoints", "=a"]),
        ([], {"a/flags.txt": b"\xff"}, ["--output_dir", "readable", "=a"]),
        (["--output_dir=/proc/a"], {}, ["--output_dir", "writable", "/proc/a"]),
        (["--output_dir=run*"], {}, ["--output_dir", "none of *", "run*"]),
        (["--output_dir="], {}, ["--output_dir", "one line", "''"]),
        (["--output_dir=a\0b"], {}, ["--output_dir", "one line", "x00"]),
        (
            [f"--output_dir={'x' * 300}"],
            {},
            ["--output_dir", "name too long", "xxx"],
        ),
        (
            ["--output_dir=~no_such_user/a"],
            {},
            ["--output_dir", "must be a folder", "~no_such_user"],
        ),
        (["--resume=must"], {}, ["--resume", "in a", "must"]),
        (["--flagfile=f"], {"f": "--epochs=two"}, ["--epochs", "two"]),
        (["--flagfile=f"], {"f": b"\xff"}, ["--flagfile", "text", "=f"]),
    ],
)
def test_folder_that_cannot_be_used_is_refused(capsys, arguments, files, words):
    for path, text in files.items():
        write(path, text)
    check_refused(capsys, ["--output_dir=a", *arguments], *words)


def test_resuming_without_a_folder_is_refused(capsys):
    check_refused(capsys, ["--resume=must"], "--resume", "--output_dir", "must")


def begin(*arguments):
    """Begins a run and leaves it at its first checkpoint."""
    settings = flagfile.parse([*TINY, *arguments])
    job = job_lib.prepare(settings)
    job.checkpoints.save(0, job.progress)
    job.folder.release()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume=never"], ["--output_dir=a", "already there"]),
        (
            ["--epochs=3", "--seed=1", "--clipnorm=2"],
            [
                "--epochs=1, not --epochs=3",
                "--seed=0, not --seed=1",
                "--clipnorm=<unset>, not --clipnorm=2.0",
            ],
        ),
    ],
)
def test_resume_with_other_flags_lists_them_all(capsys, arguments, words):
    begin("--output_dir=a")
    check_refused(capsys, in_folder(*TINY, *arguments), *words)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (["--hidden_layers=1"], ["model has", "variables there"]),
        (["--optimizer=sgd"], ["optimizer is sgd there and adams here"]),
    ],
)
def test_checkpoint_of_another_run_says_what_differs(capsys, other, words):
    begin("--output_dir=a")
    begin("--output_dir=b", *other)
    shutil.rmtree("a/checkpoints")
    shutil.move("b/checkpoints", "a/checkpoints")
    rule = "A checkpoint must be of the same model and optimizer"
    check_refused(capsys, in_folder(*TINY), rule, "ckpt-0", *words)


def test_resume_must_needs_a_checkpoint_that_can_be_read(capsys):
    begin("--output_dir=a")
    arguments = in_folder(*TINY, "--resume=must")
    for path in pathlib.Path("a/checkpoints").glob("ckpt-*"):
        path.write_bytes(b"torn")
    check_refused(capsys, arguments, "--resume", "ckpt-0 cannot be read")
    shutil.rmtree("a/checkpoints")
    check_refused(capsys, arguments, "--resume", "needs a checkpoint in a/")


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        (None, "`--model_file` is needed by --mode=eval"),
        ("none.keras", "`--model_file` must be an existing .keras file"),
        ("torn.keras", "`--model_file` must be a saved Keras model"),
        ("small.keras", "must take inputs (8, 8, 1)"),
    ],
)
def test_file_that_cannot_be_evaluated_is_refused(capsys, name, rule):
    write("torn.keras", "mine")
    layers = [keras.Input((4, 4, 1)), keras.layers.Flatten()]
    keras.Sequential([*layers, keras.layers.Dense(10)]).save("small.keras")
    arguments = ["--mode=eval", *([f"--model_file={name}"] if name else [])]
    check_refused(capsys, arguments, rule, f"--model_file={name}")


def test_run_with_the_default_decay_of_its_time_goes_on_with_it():
    # What an earlier version left of `--optimizer=adamw`: 5e-4 for every
    # optimizer, and every flag written out.
    begin("--output_dir=a", "--optimizer=adamw", "--weight_decay=5e-4")
    with open("a/flags.txt", "a") as file:
        file.write("--decay_epochs=80,160\n--base_batch_size=64\n")
    arguments = [*TINY, "--output_dir=a", "--optimizer=adamw"]
    job = job_lib.prepare(flagfile.parse(arguments))
    assert job.folder.is_begun
    assert float(job.optimizer.weight_decay) == pytest.approx(5e-4)
