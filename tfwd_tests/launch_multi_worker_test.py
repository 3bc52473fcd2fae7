"""multi_worker.sh: its workers, their failures, signals and hosts."""

import re
import signal
import time

import pytest

from tfwd_tests import launching


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return launching.copy_to(tmp_path_factory.mktemp("check out"))


@pytest.fixture
def launcher(root, tmp_path):
    return launching.Launcher(root, tmp_path)


def test_workers_get_the_flags_of_their_place(launcher):
    code, out, _ = launcher.run(
        "multi_worker.sh",
        *("--workers=3", "--output_dir=my run", "--epochs=3"),
        TF_CONFIG="of somebody else",
    )
    assert code == 0
    hosts = launching.value(launcher.flags(), "worker_hosts")
    assert len(set(re.findall(r"localhost:\d+", hosts))) == 3
    for worker in range(3):
        assert launcher.flags(worker) == [
            *("--output_dir=my run", "--epochs=3", "--strategy=multi_worker"),
            *(f"--worker_hosts={hosts}", f"--task_index={worker}"),
        ]
        assert "TF_CONFIG" not in launcher.record(worker)["environment"]
        log = launcher.folder / "my run" / "logs" / f"worker-{worker}.log"
        start, line = log.read_text().splitlines()
        assert start.startswith("multi_worker.sh: start 1, ")
        assert line == f"worker {worker} speaks"
    assert out == "worker 0 speaks\n"


def test_one_failure_stops_all_and_restarts_them_with_new_ports(launcher):
    code, out, err = launcher.run(
        "multi_worker.sh",
        *("--workers=3", "--output_dir=run", "--log_dir=logs", "--resume=must"),
        plan={"0": ["wait"], "1": [7], "2": ["wait"]},
    )
    assert code == 0
    assert launcher.starts() == {"0": 2, "1": 2, "2": 2}
    assert launcher.record(0)["signal"] == signal.SIGTERM
    assert launcher.record(2)["signal"] == signal.SIGTERM
    assert "worker 1 failed with exit code 7, see logs/worker-1.log" in err
    assert "multi_worker.sh: restart 1 of 3" in err
    assert "--resume=auto" not in launcher.flags(2, 0)
    assert launcher.flags(2, 1)[-1] == "--resume=auto"
    before, after = (
        set(
            launching.value(launcher.flags(0, start), "worker_hosts").split(",")
        )
        for start in (0, 1)
    )
    assert not before & after
    assert out == "worker 0 speaks\n" * 2
    log = launcher.folder / "logs" / "worker-1.log"
    assert log.read_text().count("worker 1 speaks\n") == 2


def test_restarts_come_to_an_end(launcher):
    code, _, err = launcher.run(
        "multi_worker.sh",
        *("--workers=2", "--output_dir=run", "--restarts=1"),
        plan={"0": ["wait", "wait"], "1": [7, 9]},
    )
    assert code == 9
    assert launcher.starts() == {"0": 2, "1": 2}
    assert err.splitlines()[-1] == "multi_worker.sh: failed after 1 restarts"


def test_bad_input_is_not_tried_again(launcher):
    code, _, _ = launcher.run(
        "multi_worker.sh",
        *("--workers=2", "--output_dir=run"),
        plan={"0": ["wait"], "1": [2]},
    )
    assert code == 2
    assert launcher.starts() == {"0": 1, "1": 1}


def test_worker_that_does_not_stop_is_killed_after_the_grace(launcher):
    code, _, err = launcher.run(
        "multi_worker.sh",
        *("--workers=2", "--output_dir=run", "--restarts=0", "--grace=1"),
        plan={"0": ["ignore signals"], "1": [7]},
    )
    assert code == 7
    assert launcher.record(0)["signal"] == signal.SIGTERM
    # Bash would name its line and the job.
    assert "Killed" not in err


@pytest.mark.parametrize(
    ("sent", "received"),
    [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT"), ("SIGHUP", "SIGTERM")],
)
def test_signals_reach_all_workers_and_end_the_run(launcher, sent, received):
    process = launcher.start(
        "multi_worker.sh",
        *("--workers=2", "--output_dir=run"),
        plan={"0": ["wait"], "1": ["wait"]},
    )
    launcher.wait_for_workers(0, 1)
    process.send_signal(signal.Signals[sent])
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.Signals[sent]
    assert launcher.starts() == {"0": 1, "1": 1}
    for worker in (0, 1):
        record = launcher.record(worker)
        assert record["signal"] == signal.Signals[received]


def test_second_signal_kills(launcher):
    process = launcher.start(
        "multi_worker.sh",
        *("--workers=1", "--output_dir=run"),
        plan={"0": ["ignore signals"]},
    )
    launcher.wait_for_workers(0)
    process.send_signal(signal.SIGTERM)
    while "signal" not in launcher.record():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize("visible", [None, "3,5,6,7"])
def test_local_workers_share_the_gpus_out(launcher, visible):
    launcher.add("nvidia-smi", "#!/bin/bash\nprintf '%s\\n' 0 1 2 3\n")
    environment = {"CUDA_VISIBLE_DEVICES": visible} if visible else {}
    code, _, _ = launcher.run(
        *("multi_worker.sh", "--workers=2", "--output_dir=run"), **environment
    )
    assert code == 0
    shares = [
        launcher.record(worker)["environment"]["CUDA_VISIBLE_DEVICES"]
        for worker in (0, 1)
    ]
    assert shares == (["3,5", "6,7"] if visible else ["0,1", "2,3"])


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--output_dir=run"], "`--workers` must be a whole number above 0"),
        (["--output_dir=run", "--workers=0"], "`--workers` must be a whole"),
        (["--workers=2"], "`--output_dir` must be given, as --output_dir=DIR"),
        (
            ["--output_dir=run", "--workers=2", "--restarts=x"],
            "`--restarts` must be a whole number. Received: --restarts=x",
        ),
        (
            ["--output_dir=run", "--workers=3", "--hosts=a:1,b:1"],
            "`--hosts` must hold --workers=3 hosts. Received: --hosts=a:1,b:1",
        ),
    ],
)
def test_bad_flags_of_multi_worker_are_refused(launcher, flags, rule):
    code, out, err = launcher.run("multi_worker.sh", *flags)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"multi_worker.sh: {rule}")
    assert not (launcher.folder / "run").exists()


def test_gpus_that_workers_cannot_share_are_refused(launcher):
    code, _, err = launcher.run(
        *("multi_worker.sh", "--workers=2", "--output_dir=run"),
        CUDA_VISIBLE_DEVICES="0,1,2",
    )
    assert code == 2
    assert "`--workers` must share 3 GPUs out equally" in err


def ssh(launcher):
    """A stand-in that runs the command here, having noted the host."""
    folder = launcher.records
    launcher.add(
        "my-ssh",
        f'#!/bin/bash\n[[ $1 == -q ]] && echo "$2" >>"{folder}/hosts"\n'
        'exec "${@:3}"\n',
    )
    return "my-ssh -q"


def test_hosts_are_reached_by_ssh(launcher):
    code, out, _ = launcher.run(
        "multi_worker.sh",
        *("--hosts=left:1234,right:1234", "--output_dir=my run"),
        SSH=ssh(launcher),
    )
    assert code == 0
    hosts = (launcher.records / "hosts").read_text().split()
    assert sorted(hosts) == ["left", "right"]
    for worker in (0, 1):
        flags = launcher.flags(worker)
        assert flags[0] == "--output_dir=my run"
        assert launching.value(flags, "worker_hosts") == "left:1234,right:1234"
    assert "worker 0 speaks\n" in out


def test_failure_on_one_host_stops_the_others(launcher):
    code, _, err = launcher.run(
        "multi_worker.sh",
        *("--hosts=left:1,right:1", "--output_dir=run", "--restarts=0"),
        plan={"0": ["wait"], "1": [7]},
        SSH=ssh(launcher),
    )
    assert code == 7
    assert "worker 1 failed with exit code 7" in err
    assert launcher.record(0)["signal"] == signal.SIGTERM


def test_worker_on_a_host_gets_the_signal(launcher):
    process = launcher.start(
        "multi_worker.sh",
        *("--hosts=left:1", "--output_dir=run"),
        plan={"0": ["wait"]},
        SSH=ssh(launcher),
    )
    launcher.wait_for_workers(0)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert launcher.record(0)["signal"] == signal.SIGTERM
