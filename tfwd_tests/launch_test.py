"""The scripts that start one process, or leave the others to Slurm."""

import os
import re
import shutil
import subprocess

import pytest

from tfwd.training.config import flagfile
from tfwd_tests import launching

SCRIPTS = sorted(path.name for path in launching.ROOT.glob("launch/*.s*"))


root = launching.root
launcher = launching.launcher


@pytest.mark.parametrize("script", SCRIPTS)
def test_bash_can_read_the_script(script):
    subprocess.run(
        ["bash", "-n", launching.ROOT / "launch" / script], check=True
    )


@pytest.mark.parametrize(
    "script",
    [
        *("gpu.sh", "multi_worker.py", "slurm.sbatch", "slurm_tune.sbatch"),
        *("test.sh", "tpu.sh"),
    ],
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
    assert settings.distribution.strategy == "mirrored"
    assert settings.model.dtype_policy == "float32"
    assert not settings.model.jit_compile


# A task on each of two nodes, or one of all; the highest exit code counts.
SRUN = """#!/bin/bash
echo "$@" >>"$RECORDS/srun"
tasks=2
while [[ $1 == --* ]]; do
  if [[ $1 == --ntasks=* ]]; then tasks=${1#*=}; fi
  shift
done
code=0 pids=()
trap 'kill "${pids[@]}"' TERM
for ((SLURM_PROCID = 0; SLURM_PROCID < tasks; SLURM_PROCID++)); do
  export SLURM_PROCID
  "$@" &
  pids+=($!)
done
for pid in "${pids[@]}"; do
  while
    status=0
    wait "$pid" || status=$?
    kill -0 "$pid" 2>/dev/null
  do :; done
  if ((status > code)); then code=$status; fi
done
exit "$code"
"""
SCONTROL = """#!/bin/bash
echo "$@" >>"$RECORDS/scontrol"
if [[ $1 == show ]]; then printf 'node%s\n' 1 2; fi
"""


def slurm(launcher, *flags, script="slurm.sbatch", **environment):
    launcher.add("srun", SRUN)
    launcher.add("scontrol", SCONTROL)
    # As Slurm does, which runs a copy.
    copy = launcher.records / "slurm_script"
    shutil.copy(launcher.root / "launch" / script, copy)
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


def slurm_tune(launcher, plan, **environment):
    return slurm(
        launcher,
        *("--output_dir=my search", "--epochs=3"),
        script="slurm_tune.sbatch",
        plan=plan,
        **environment,
    )


def test_slurm_searches_with_a_chief_and_a_worker_per_node(launcher):
    plan = {"chief": ["last"], "tuner0": [0], "tuner1": [0]}
    code, _, _, asked = slurm_tune(launcher, plan)
    assert code == 0
    assert asked == ["show hostnames node[1-2]"]
    assert launcher.starts() == dict.fromkeys(plan, 1)
    for name, address in (
        *(("chief", "0.0.0.0"), ("tuner0", "node1"), ("tuner1", "node1")),
    ):
        assert launcher.flags(name) == ["--output_dir=my search", "--epochs=3"]
        environment = launcher.record(name)["environment"]
        assert environment["KERASTUNER_ORACLE_IP"] == address
        assert environment["KERASTUNER_ORACLE_PORT"] == "21234"
    steps = (launcher.records / "srun").read_text().splitlines()
    (chief,) = (step for step in steps if "--nodelist=node1" in step)
    assert "--nodes=1 --ntasks=1" in chief
    # Or the one would wait for the other's GPUs.
    assert all(step.startswith("--overlap ") for step in steps)


def test_slurm_leaves_the_chief_of_a_search_the_time_to_retrain(launcher):
    # It ends a second after the workers.
    plan = {"chief": ["later"], "tuner0": [0], "tuner1": [0]}
    code, _, _, _ = slurm_tune(launcher, plan)
    assert code == 0
    assert "signal" not in launcher.record("chief")


@pytest.mark.parametrize(
    ("plan", "expected", "requeued", "told"),
    [
        # Time is up, which all have been told.
        (
            {"chief": [143], "tuner0": ["later 143"], "tuner1": ["later 143"]},
            *(143, True, []),
        ),
        (
            {"chief": ["later 143"], "tuner0": [143], "tuner1": [143]},
            *(143, True, []),
        ),
        # And while the chief alone is left.
        (
            {"chief": ["later 143"], "tuner0": [0], "tuner1": [0]},
            *(143, True, []),
        ),
        (
            {"chief": [2], "tuner0": ["wait"], "tuner1": ["wait"]},
            *(2, False, ["tuner0", "tuner1"]),
        ),
        (
            {"chief": ["wait"], "tuner0": [0], "tuner1": [7]},
            *(7, False, ["chief"]),
        ),
        # A worker that has not heard of the end.
        (
            {"chief": ["last"], "tuner0": [0], "tuner1": ["wait"]},
            *(0, False, ["tuner1"]),
        ),
    ],
)
def test_slurm_ends_a_search_with_its_chief(
    launcher, plan, expected, requeued, told
):
    code, _, _, asked = slurm_tune(launcher, plan)
    assert code == expected
    assert asked[1:] == (["requeue 41234"] if requeued else [])
    signalled = [name for name in plan if "signal" in launcher.record(name)]
    assert signalled == told


@pytest.mark.parametrize("script", ["slurm.sbatch", "slurm_tune.sbatch"])
def test_slurm_is_told_to_signal_the_workers_and_to_requeue(script):
    text = (launching.ROOT / "launch" / script).read_text()
    options = re.findall(r"^#SBATCH (\S+)$", text, re.MULTILINE)
    assert {"--signal=TERM@120", "--requeue", "--ntasks-per-node=1"} <= set(
        options
    )
    # sbatch reads none after the first command.
    assert text.rindex("#SBATCH") < text.index("set -euo")
