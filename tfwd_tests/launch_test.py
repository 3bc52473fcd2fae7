"""The scripts that start one process, or leave the others to Slurm."""

import os
import re
import shutil
import subprocess

import pytest

from tfwd.training import flagfile
from tfwd_tests import launching

SCRIPTS = sorted(path.name for path in (launching.ROOT / "launch").iterdir())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return launching.copy_to(tmp_path_factory.mktemp("check out"))


@pytest.fixture
def launcher(root, tmp_path):
    return launching.Launcher(root, tmp_path)


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_read_the_script(script):
    subprocess.run(
        ["bash", "-n", launching.ROOT / "launch" / script], check=True
    )


@pytest.mark.parametrize(
    "script", ["gpu.sh", "multi_worker.sh", "slurm.sbatch", "test.sh", "tpu.sh"]
)
def test_script_explains_itself(script):
    done = subprocess.run(
        [launching.ROOT / "launch" / script, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("usage: ")
    assert f"launch/{script}" in done.stdout
    assert done.stderr == ""


def test_train_hands_its_arguments_over(launcher):
    code, _, _ = launcher.run("train.sh", "--help", "--a=b c")
    assert code == 0
    assert launcher.flags() == ["--help", "--a=b c"]


def test_tpu_trains_with_that_strategy(launcher):
    code, _, _ = launcher.run("tpu.sh", "--tpu=mine", "--epochs=3")
    assert code == 0
    assert launcher.flags() == ["--strategy=tpu", "--tpu=mine", "--epochs=3"]


def test_gpu_says_that_there_is_none_and_trains_on_the_cpu(launcher):
    code, _, err = launcher.run("gpu.sh", "--epochs=3", GPUS="0")
    assert code == 0
    line = "gpu.sh: TensorFlow sees no GPU; training on the CPU"
    assert line in err.splitlines()
    assert launcher.flags() == ["--epochs=3"]


@pytest.mark.parametrize(
    ("environment", "flags"),
    [
        ({"GPUS": "1"}, ["--dtype_policy=mixed_bfloat16", "--jit_compile"]),
        ({"GPUS": "1", "XLA": "0"}, ["--dtype_policy=mixed_bfloat16"]),
        ({"GPUS": "4"}, ["--dtype_policy=mixed_bfloat16"]),
        ({"GPUS": "4", "PRECISION": "float32"}, ["--dtype_policy=float32"]),
        (
            {"GPUS": "4", "XLA": "1"},
            ["--dtype_policy=mixed_bfloat16", "--jit_compile"],
        ),
    ],
)
def test_gpu_trains_mirrored_with_flags_that_the_callers_follow(
    launcher, environment, flags
):
    code, _, _ = launcher.run("gpu.sh", "--epochs=3", **environment)
    assert code == 0
    first, *rest = launcher.flags()
    assert first.startswith("--flagfile=")
    assert rest == ["--epochs=3", "--strategy=mirrored", *flags]


def test_flags_of_gpu_lose_against_any_flagfile(tmp_path):
    mine = tmp_path / "mine.flags"
    mine.write_text("--dtype_policy=float32\n--nojit_compile\n")
    # As bash hands a process substitution over.
    reader, writer = os.pipe()
    flags = "--dtype_policy=mixed_bfloat16\n--jit_compile\n--strategy=mirrored"
    os.write(writer, flags.encode())
    os.close(writer)
    settings = flagfile.parse(
        [f"--flagfile=/dev/fd/{reader}", f"--flagfile={mine}"]
    )
    os.close(reader)
    assert settings.strategy == "mirrored"
    assert settings.dtype_policy == "float32"
    assert not settings.jit_compile


SRUN = """#!/bin/bash
echo "$@" >"$RECORDS/srun"
while [[ $1 == --* ]]; do shift; done
code=0
for ((SLURM_PROCID = 0; SLURM_PROCID < 2; SLURM_PROCID++)); do
  export SLURM_PROCID
  "$@" || code=$?
done
exit "$code"
"""
SCONTROL = """#!/bin/bash
echo "$@" >>"$RECORDS/scontrol"
if [[ $1 == show ]]; then printf 'node%s\n' 1 2; fi
"""


def slurm(launcher, *flags, **environment):
    launcher.add("srun", SRUN)
    launcher.add("scontrol", SCONTROL)
    # As Slurm does, which runs a copy.
    copy = launcher.records / "slurm_script"
    shutil.copy(launcher.root / "launch" / "slurm.sbatch", copy)
    done = launcher.run(
        copy,
        *flags,
        SLURM_SUBMIT_DIR=str(launcher.root),
        SLURM_JOB_ID="41234",
        SLURM_JOB_NODELIST="node[1-2]",
        **environment,
    )
    return *done, (launcher.records / "scontrol").read_text().splitlines()


def test_slurm_starts_a_worker_per_node(launcher):
    code, _, _, asked = slurm(launcher, "--output_dir=my run", "--epochs=3")
    assert code == 0
    assert asked == ["show hostnames node[1-2]"]
    for worker in (0, 1):
        assert launcher.flags(worker) == [
            *("--output_dir=my run", "--epochs=3", "--strategy=multi_worker"),
            "--worker_hosts=node1:21234,node2:21234",
            f"--task_index={worker}",
        ]


def test_slurm_goes_on_after_a_requeue(launcher):
    code, _, _, _ = slurm(
        launcher, "--output_dir=run", SLURM_RESTART_COUNT="1", PORT="99"
    )
    assert code == 0
    assert "--resume=auto" in launcher.flags(1)
    assert (
        launching.value(launcher.flags(1), "worker_hosts")
        == "node1:99,node2:99"
    )


@pytest.mark.parametrize(
    ("code", "requeued"), [(143, ["requeue 41234"]), (2, []), (1, [])]
)
def test_slurm_queues_a_run_again_that_ran_out_of_time(
    launcher, code, requeued
):
    received, _, _, asked = slurm(
        launcher, "--output_dir=run", plan={"1": [code]}
    )
    assert received == code
    assert asked[1:] == requeued


def test_slurm_is_told_to_signal_the_workers_and_to_requeue():
    text = (launching.ROOT / "launch" / "slurm.sbatch").read_text()
    options = re.findall(r"^#SBATCH (\S+)$", text, re.MULTILINE)
    assert {"--signal=TERM@120", "--requeue", "--ntasks-per-node=1"} <= set(
        options
    )
    # sbatch reads none after the first command.
    assert text.rindex("#SBATCH") < text.index("set -euo")
