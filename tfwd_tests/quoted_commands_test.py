"""Every command that README, CONTRIBUTING, configs and docstrings quote runs.

As it is quoted, with what `QUICK` adds to make it small and with files of this
test in place of a reader's, in this process, which has TensorFlow already. A
script of launch/ runs as it is quoted, and its stand-in for Python writes down
what the binary would get; the binary then gets it here. MNIST and CIFAR-10 are
eight images. A command that is not in `QUICK` fails.

Of the commands in configs/ the flags are read here, and configs_test.py makes
the plan of each; their models are those of the other commands, or are built in
tfwd_tests/models.
"""

import dataclasses
import importlib
import re
import shlex
import shutil
import sys

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("Training is TensorFlow's", allow_module_level=True)

from tfwd.diagnostics import table
from tfwd.training.config import flagfile
from tfwd.training.config import settings as settings_lib
from tfwd.tuning import flags as flags_lib
from tfwd_tests import launching
from tfwd_tests import quoted_commands
from tfwd_tests.data import folders

ROOT = launching.ROOT
README = ROOT / "README.md"
COMMANDS, STRAYS = quoted_commands.everywhere(ROOT)
OF_CONFIGS = {
    command: file
    for command, file in COMMANDS.items()
    if file.startswith("configs/")
}


@dataclasses.dataclass(frozen=True)
class FlagsAlone:
    """A command of several machines, whose flags are only read.

    Attributes:
        arguments: What is added to them.
    """

    arguments: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class RunBy:
    """A command that another test runs, as it would run this test too."""

    path: str


SLURM = RunBy("tfwd_tests/launch_test.py")
SUITE = RunBy("tfwd_tests/launch_test_suite_test.py")
VERSIONS = RunBy("tfwd_tests/launch_versions_test.py")
DIGITS = (
    *("--epochs=1", "--train_fraction=0.05", "--batch_size=16"),
    *("--hidden_units=4", "--output_dir=new"),
)
IMAGES = (
    *("--epochs=1", "--width=0.02", "--batch_size=5", "--eval_batch_size=5"),
    "--output_dir=new",
)
ONE_TRIAL = (*DIGITS, "--tuner=random", "--max_trials=1")
BENCHMARK = ("--quick", "--repeats=1")
# What is added to each command.
# Minutes, even in their quick form.
LONG = (
    "python -m tfwd_tests.benchmarks.optimizers",
    "python -m tfwd_tests.benchmarks.search_cost",
)
QUICK = {
    "launch/train.sh": DIGITS,
    "launch/train.sh --optimizer=sgds --epochs=5": DIGITS,
    "launch/train.sh --diagnostics=effective_learning_rate,damping,jacobian": (
        *DIGITS,
        "--diagnostics_examples=16",
    ),
    "launch/train.sh --dataset=cifar10 --data_dir=$HOME/tensorflow_datasets "
    "--model=vgg16 --width=0.25 --optimizer=adams --weight_decay=5e-4 "
    "--augment": IMAGES,
    "launch/train.sh "
    "--flagfile=configs/stable_weight_decay/cifar10_vgg16_sgds.flags "
    # Its schedule drops within the run.
    "--data_dir=$HOME/tensorflow_datasets": (
        *IMAGES,
        *("--epochs=2", "--decay_epochs=1"),
    ),
    "launch/train.sh --optimizer=kfac --learning_rate=0.003 --damping=0.01 "
    "--curvature=gauss_newton --kl_clip=1e-3 --cold_start --weight_decay=0.1": (
        DIGITS
    ),
    "launch/train.sh --model=nets:small": (*DIGITS[:-2], DIGITS[-1]),
    "launch/train.sh --optimizer=kfac --init_from=runs/NAME/final.keras": (
        DIGITS
    ),
    "launch/train.sh --mode=eval --model_file=runs/NAME/final.keras": (),
    "launch/train.sh --strategy=mirrored --num_devices=2": DIGITS,
    "launch/gpu.sh --model=vgg16 --dataset=cifar10 --data_dir=DATA": IMAGES,
    "launch/multi_worker.py --workers=2 --output_dir=runs/two": DIGITS[:-1],
    "sbatch --nodes=4 launch/slurm.sbatch --output_dir=runs/wide": FlagsAlone(),
    "sbatch launch/slurm_tune.sbatch --output_dir=DIR": SLURM,
    "launch/tune.sh": ONE_TRIAL,
    "launch/tune.sh --search=learning_rate=log:1e-4:1e-1:7 "
    "--search=weight_decay=choice:1e-4,5e-4,1e-3 --optimizer=adams "
    "--epochs=20": ONE_TRIAL,
    "launch/tune.sh --flagfile=configs/search/default.flags --dry_run": (),
    "launch/test.sh": SUITE,
    "launch/test.sh --full": SUITE,
    "launch/test.sh --rest": SUITE,
    "launch/test.sh -k stable": SUITE,
    "launch/test.sh tfwd_tests/hashing_test.py": SUITE,
    "launch/test.sh --keras=3.12": VERSIONS,
    "launch/test.sh --versions": VERSIONS,
    "python -m tfwd.train --help": (),
    # Two processes of it are started by multi_worker.py.
    "python -m tfwd.train --strategy=multi_worker": FlagsAlone(
        ("--worker_hosts=a:1,b:2", "--task_index=0")
    ),
    "python -m tfwd.tune --help": (),
    "launch/train.sh --flagfile={...}": DIGITS,
    "python -m tfwd.diagnose --help": (),
    "python -m tfwd.diagnose --checkpoint=runs/NAME": ("--examples=16",),
    "python -m tfwd.diagnose --model_file=model.keras --dataset=digits": (
        *("--examples=16", "--diagnostics=effective_learning_rate,damping"),
    ),
    "python -m tfwd.diagnose --checkpoint=RUN --diagnostics=jacobian "
    "--examples=2000": ("--examples=16",),
    "python -m tfwd_tests.benchmarks.mechanism_figures --decay=RUN "
    "--no_decay=RUN --kfac=RUN --output=FILE.png": (),
    "python -m tfwd_tests.benchmarks.jacobian_scatter --data_dir=DATA "
    "--runs=RUNS --examples=2000": ("--quick", "--examples=5"),
    "python -m tfwd_tests.benchmarks.full_size": ("--quick", "--models=lstm"),
    "python -m tfwd_tests.benchmarks.training": (
        *BENCHMARK,
        *("--cases=digits", "--optimizers=sgds"),
    ),
    "python -m tfwd_tests.benchmarks.search": ("--trials=5", "--repeats=2"),
    "python -m tfwd_tests.benchmarks.search_cost": ("--trials=2", "--runs=1"),
    "python -m tfwd_tests.benchmarks.search_maps --searches=adams=SEARCH "
    "--output=DIR": ("--output=new",),
    "python -m tfwd_tests.benchmarks.optimizers": BENCHMARK,
    "python -m tfwd_tests.benchmarks.kfac --peer=PYTHON": (
        *BENCHMARK,
        *("--batch_sizes=4", "--models=mlp"),
    ),
}


# What stands in place of a reader's files: values, of any flag or of the one
# that is named, and fixtures.
PLACEHOLDERS = {
    "$HOME/tensorflow_datasets": "data_dir",
    "DATA": "data_dir",
    "runs/NAME": "run",
    "RUN": "run",
    "model.keras": "model_file",
    "nets:small": "net",
    "--flagfile={...}": "best_flags",
    "--searches=adams=SEARCH": "search",
    "PYTHON": "peer",
}
# Takes no steps, but speaks as kfac_jax_peer.py does.
PEER = f"""#!{sys.executable} -IS
import json, sys
print(json.dumps({{"jax": "0.0"}}), flush=True)
for line in sys.stdin:
    print(json.dumps({{line.strip(): 0.0}}), flush=True)
"""
# In place of the environment's Python, to run the binary.
PYTHON = f"""#!/bin/sh
[ "$2" = pip ] || exec {sys.executable} "$@"
"""
SCONTROL = """#!/bin/sh
printf 'node%s\\n' 1 2
"""
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
SLURM_PROCID=0 exec "$@"
"""


@pytest.fixture
def best_flags(tmp_path):
    """What a search has chosen."""
    path = tmp_path / "best.flags"
    path.write_text("--optimizer=adams\n--weight_decay=0.001\n")
    return path


@pytest.fixture
def search(tmp_path):
    """The folder of a search that has ended."""
    folder = tmp_path / "search"
    folder.mkdir()
    maps = ROOT / "docs" / "results" / "weight_decay_maps"
    shutil.copyfile(maps / "adams.csv", folder / "trials.csv")
    return folder


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorflow_datasets")
    folders.write(folder, "cifar10")
    folders.write(folder, "mnist")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run, with diagnostics of two epochs."""
    folder = tmp_path_factory.mktemp("runs") / "NAME"
    call("tfwd.train", [*DIGITS, f"--output_dir={folder}"])
    diagnostics = table.File(folder / "diagnostics.csv")
    names = ("effective_learning_rate", "fisher_trace", "gauss_newton_trace")
    for epoch in (1, 2):
        values = dict.fromkeys(names, 1 / epoch)
        diagnostics.append([table.row("hidden1", epoch=epoch, **values)])
    return folder


@pytest.fixture
def model_file(run):
    return run / "final.keras"


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The function that README has in a file nets.py."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (text,) = [block for block in blocks if "def small(" in block]
    (tmp_path / "nets.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return "nets:small"


@pytest.fixture
def peer(tmp_path):
    return executable(tmp_path / "peer", PEER)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = launching.copy_to(tmp_path_factory.mktemp("check out"))
    (root / "configs").symlink_to(ROOT / "configs")
    return root


@pytest.fixture
def launcher(root, tmp_path):
    return launching.Launcher(root, tmp_path)


@pytest.fixture(autouse=True)
def in_a_checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(ROOT / "configs")


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


def call(module, arguments):
    """Runs a module's program here; it must end well."""
    try:
        code = importlib.import_module(module).main(arguments)
    except SystemExit as left:
        code = left.code
    assert not code


def filled(words, request):
    """The words of a command with files of this test for placeholders."""
    for key, fixture in PLACEHOLDERS.items():
        flag, _, place = key.rpartition("=")
        pattern = re.compile(rf"(?<={flag}=){re.escape(place)}(?=$|/)")
        for number, word in enumerate(words):
            if pattern.search(word):
                given = str(request.getfixturevalue(fixture))
                words[number] = pattern.sub(lambda _, new=given: new, word)
    return words


def read_flags(arguments):
    """Reads the flags of the binary as it would itself, and does no more."""
    assert flagfile.parse(arguments).run.mode == "train"


def test_every_quoted_command_has_a_quick_form_and_none_has_gone():
    assert set(COMMANDS) - set(OF_CONFIGS) == set(QUICK)
    assert STRAYS == []


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(each, marks=pytest.mark.full) if each in LONG else each
        for each in QUICK
    ],
)
def test_command_runs(command, request):
    quick = QUICK[command]
    if isinstance(quick, RunBy):
        script = re.search(r"launch/(\S+)", command)[1]
        assert f'"{script}"' in (ROOT / quick.path).read_text()
        return
    reads_flags = isinstance(quick, FlagsAlone)
    more = quick.arguments if reads_flags else quick
    words = filled(shlex.split(command), request)
    more = filled([*more], request)
    if words[0] == "launch/multi_worker.py":
        run_workers(words[1:] + more, request.getfixturevalue("tmp_path"))
        return
    if words[0] == "python":
        module, *arguments = words[2:]
    else:
        is_search = words[0] == "launch/tune.sh"
        module = "tfwd.tune" if is_search else "tfwd.train"
        arguments = handed_over(words, request.getfixturevalue("launcher"))
    arguments += more
    if reads_flags:
        read_flags(arguments)
    else:
        call(module, arguments)


def handed_over(words, launcher):
    """Runs a script; returns what the binary, or its first worker, gets."""
    position = next(n for n, each in enumerate(words) if "launch/" in each)
    environment = {"GPUS": "0"}
    if words[0] == "sbatch":
        launcher.add("srun", SRUN)
        launcher.add("scontrol", SCONTROL)
        environment |= {
            "SLURM_SUBMIT_DIR": str(launcher.root),
            "SLURM_JOB_ID": "1",
            "SLURM_JOB_NODELIST": "node[1-2]",
        }
    script = words[position].removeprefix("launch/")
    code, _, err = launcher.run(script, *words[position + 1 :], **environment)
    assert code == 0, err
    return launcher.flags()


def run_workers(arguments, folder):
    """Has multi_worker.py start processes that train."""
    root = launching.copy_to(folder / "check out")
    executable(root / ".venv" / "bin" / "python", PYTHON)
    (folder / "here").mkdir()
    process = launching.Launcher(root, folder / "here").start(
        "multi_worker.py", *arguments, PYTHONPATH=str(ROOT)
    )
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert list((folder / "here").rglob("final.keras"))


@pytest.mark.parametrize("command", OF_CONFIGS)
def test_command_of_a_config_is_its_own_and_has_valid_flags(command):
    file = OF_CONFIGS[command]
    is_search = file.startswith("configs/search/")
    program = "launch/tune.sh" if is_search else "python -m tfwd.train"
    assert command.startswith(f"{program} --flagfile={file}")
    arguments = shlex.split(command.removeprefix(program))
    if is_search:
        kinds = settings_lib.Settings, flags_lib.Search
        assert flagfile.read(arguments, *kinds).of(flags_lib.Search).search
    else:
        read_flags(arguments)


TEXT = """
Run `./launch/gpu.sh --model=vgg16` or `python -m
tfwd.train --epochs=1`, not `tfwd.train`.

    KERAS_BACKEND=jax .venv/bin/python -m tfwd.x --a=1 \\
        --b=2

```sh
cd here
launch/train.sh --c  # a remark
/usr/bin/python -m tfwd.y
```

```python
python -m tfwd.z
```
"""


def test_every_way_to_quote_a_command_is_found():
    commands, strays = quoted_commands.in_text(TEXT)
    assert sorted(commands) == [
        "KERAS_BACKEND=jax python -m tfwd.x --a=1 --b=2",
        "launch/gpu.sh --model=vgg16",
        "launch/train.sh --c",
        "python -m tfwd.train --epochs=1",
        "python -m tfwd.y",
    ]
    assert strays == ["python -m tfwd.z"]


def test_commands_in_strings_of_python_are_found():
    source = '"""`launch/a.sh`"""\nf(f"`python -m tfwd.{a}`")'
    commands, strays = quoted_commands.in_python(source)
    assert (commands, strays) == (["launch/a.sh", "python -m tfwd.{...}"], [])


def test_string_of_python_that_is_a_command_is_a_quote():
    commands, strays = quoted_commands.in_python('f(f"./launch/a.sh --b={c}")')
    assert (commands, strays) == (["launch/a.sh --b={...}"], [])
    _, strays = quoted_commands.in_python('f("with launch/a.sh")')
    assert strays == ["with launch/a.sh"]
