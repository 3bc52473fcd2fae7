"""multi_worker.py: its workers, their failures and signals."""

import re
import signal

import pytest

from tfwd_tests import launching

root = launching.root
launcher = launching.launcher


def test_workers_get_the_flags_of_their_place(launcher):
    code, out, _ = launcher.run(
        "multi_worker.py",
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
        assert start.startswith("multi_worker.py: start 1, ")
        assert line == f"worker {worker} speaks"
    assert out == "worker 0 speaks\n"


def test_one_failure_stops_all_and_restarts_them_with_new_ports(launcher):
    code, out, err = launcher.run(
        "multi_worker.py",
        *("--workers=3", "--output_dir=run", "--log_dir=logs", "--resume=must"),
        plan={"0": ["wait"], "1": [7], "2": ["wait"]},
    )
    assert code == 0
    assert launcher.starts() == {"0": 2, "1": 2, "2": 2}
    assert launcher.record(0)["signal"] == signal.SIGTERM
    assert launcher.record(2)["signal"] == signal.SIGTERM
    assert "worker 1 failed with exit code 7, see logs/worker-1.log" in err
    assert "multi_worker.py: restart 1 of 3" in err
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
        "multi_worker.py",
        *("--workers=2", "--output_dir=run", "--restarts=1"),
        plan={"0": ["wait", "wait"], "1": [7, 9]},
    )
    assert code == 9
    assert launcher.starts() == {"0": 2, "1": 2}
    assert err.splitlines()[-1] == "multi_worker.py: failed after 1 restarts"


def test_bad_input_is_not_tried_again(launcher):
    code, _, _ = launcher.run(
        "multi_worker.py",
        *("--workers=2", "--output_dir=run"),
        plan={"0": ["wait"], "1": [2]},
    )
    assert code == 2
    assert launcher.starts() == {"0": 1, "1": 1}


def test_worker_that_does_not_stop_is_killed_after_the_grace(launcher):
    code, _, err = launcher.run(
        "multi_worker.py",
        *("--workers=2", "--output_dir=run", "--restarts=0", "--grace=1"),
        plan={"0": ["ignore signals"], "1": [7]},
    )
    assert code == 7
    assert launcher.record(0)["signal"] == signal.SIGTERM
    assert err.splitlines()[0].startswith("multi_worker.py: worker 1 failed")


@pytest.mark.parametrize(
    ("sent", "received"),
    [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT"), ("SIGHUP", "SIGTERM")],
)
def test_signals_reach_all_workers_and_end_the_run(launcher, sent, received):
    code, err = launcher.signalled(
        *("multi_worker.py", "--workers=2", "--output_dir=run"),
        plan={"0": ["wait"], "1": ["wait"]},
        signals=[sent],
    )
    assert (code, err) == (128 + signal.Signals[sent], "")
    assert launcher.starts() == {"0": 1, "1": 1}
    for worker in (0, 1):
        record = launcher.record(worker)
        assert record["signal"] == signal.Signals[received]


def test_second_signal_kills(launcher):
    code, _ = launcher.signalled(
        *("multi_worker.py", "--workers=1", "--output_dir=run"),
        plan={"0": ["ignore signals"]},
        signals=["SIGTERM", "SIGTERM"],
    )
    assert code == 128 + signal.SIGTERM


@pytest.mark.parametrize("visible", [None, "3,5,6,7"])
def test_local_workers_share_the_gpus_out(launcher, visible):
    found = launcher.gpus_seen(
        *("multi_worker.py", "--workers=2", "--output_dir=run"),
        visible=visible,
        plan={"0": [0], "1": [0]},
    )
    shares = [each["CUDA_VISIBLE_DEVICES"] for each in found]
    assert shares == (["3,5", "6,7"] if visible else ["0,1", "2,3"])


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--output_dir=run"], "`--workers` must be an integer above 0"),
        (["--output_dir=run", "--workers=0"], "`--workers` must be an integer"),
        (["--workers=2"], "`--output_dir` must be given, as --output_dir=DIR"),
        (
            ["--output_dir=run", "--workers=2", "--restarts=x"],
            "`--restarts` must be an integer, at least 0. Received: "
            "--restarts=x",
        ),
    ],
)
def test_bad_flags_of_multi_worker_are_refused(launcher, flags, rule):
    code, out, err = launcher.run("multi_worker.py", *flags)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"multi_worker.py: {rule}")
    assert not (launcher.folder / "run").exists()


def test_gpus_that_workers_cannot_share_are_refused(launcher):
    code, _, err = launcher.run(
        *("multi_worker.py", "--workers=2", "--output_dir=run"),
        CUDA_VISIBLE_DEVICES="0,1,2",
    )
    assert code == 2
    assert "`--workers` must share 3 GPUs out equally" in err
