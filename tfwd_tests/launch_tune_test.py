"""tune.sh: one process, or chief and workers, their failures and signals."""

import os
import signal
import time

import pytest

from tfwd_tests import launching

TWO = ("tune.sh", "--workers=2", "--output_dir=my search")
ALL = ("chief", "tuner0", "tuner1")


root = launching.root
launcher = launching.launcher


def environments(launcher, names):
    return [launcher.record(name)["environment"] for name in names]


def assert_none_is_left(launcher):
    for path in launcher.records.glob("*.json"):
        name, start, _ = path.name.split(".")
        with pytest.raises(ProcessLookupError):
            os.kill(launcher.record(name, int(start))["pid"], 0)


def test_one_process_gets_the_arguments_as_they_are(launcher):
    flags = ["--search=learning_rate=choice:1,2", "--link=a=0.1 / epochs"]
    code, out, err = launcher.run("tune.sh", *flags, "--output_dir=my search")
    assert (code, out, err) == (0, "worker 0 speaks\n", "")
    assert launcher.flags() == [*flags, "--output_dir=my search"]


def test_one_process_of_several_machines_keeps_its_place(launcher):
    place = {
        "KERASTUNER_TUNER_ID": "tuner7",
        "KERASTUNER_ORACLE_IP": "far",
        "KERASTUNER_ORACLE_PORT": "8000",
    }
    code, _, _ = launcher.run("tune.sh", "--output_dir=search", **place)
    assert code == 0
    (environment,) = environments(launcher, ["tuner7"])
    assert place.items() <= environment.items()


def test_exit_code_of_one_process_is_that_of_the_script(launcher):
    code, _, _ = launcher.run("tune.sh", "--epochs=x", plan={"0": [2]})
    assert code == 2


def test_no_argument_means_the_small_search(launcher):
    assert launcher.run("tune.sh")[0] == 0
    path = "configs/search/default.flags"
    assert launcher.flags() == [f"--flagfile={launcher.root / path}"]
    assert (launching.ROOT / path).exists()


@pytest.mark.parametrize("more", [(), ("--workers=2", "--output_dir=a")])
def test_help_is_that_of_the_script_then_that_of_the_binary(launcher, more):
    code, out, err = launcher.run("tune.sh", *more, "--help")
    assert (code, err) == (0, "")
    assert out.startswith("usage: launch/tune.sh ")
    assert out.endswith("\n\nworker 0 speaks\n")
    assert launcher.flags() == ["--help"]


def test_chief_and_workers_get_their_places(launcher):
    flags = ["--output_dir=my search", "--search=learning_rate=choice:1,2"]
    code, out, err = launcher.run(
        *("tune.sh", "--workers=2", *flags),
        plan={"chief": ["last"], "tuner0": [0], "tuner1": [0]},
    )
    assert (code, out, err) == (0, "worker chief speaks\n", "")
    assert launcher.starts() == dict.fromkeys(ALL, 1)
    addresses = set()
    for name, environment in zip(ALL, environments(launcher, ALL), strict=True):
        assert launcher.flags(name) == flags
        assert environment["KERASTUNER_TUNER_ID"] == name
        assert "CUDA_VISIBLE_DEVICES" not in environment
        addresses.add(
            (
                environment["KERASTUNER_ORACLE_IP"],
                environment["KERASTUNER_ORACLE_PORT"],
            )
        )
    ((host, port),) = addresses
    assert host == "127.0.0.1" and 1024 <= int(port) < 65536
    for name in ALL[1:]:
        log = launcher.folder / "my search" / "logs" / f"{name}.log"
        start, line = log.read_text().splitlines()
        assert start.startswith(f"tune.sh: start of {name}, ")
        assert line == f"worker {name} speaks"


def test_folder_may_be_in_the_home(launcher):
    code, _, _ = launcher.run(
        *("tune.sh", "--workers=1", "--output_dir=~/search"),
        plan={"chief": ["last"], "tuner0": [0]},
        HOME=str(launcher.folder),
    )
    assert code == 0
    assert launcher.flags("tuner0") == ["--output_dir=~/search"]
    assert (launcher.folder / "search" / "logs" / "tuner0.log").exists()


def test_worker_that_dies_is_started_again_alone(launcher):
    code, _, err = launcher.run(
        *(*TWO, "--log_dir=logs"),
        plan={"chief": ["last"], "tuner0": ["wait"], "tuner1": [7, 9, 0]},
    )
    assert code == 0
    assert launcher.starts() == {"chief": 1, "tuner0": 1, "tuner1": 3}
    assert err.splitlines() == [
        "tune.sh: tuner1 ended with exit code 7, see logs/tuner1.log; restart "
        "1 of 3",
        "tune.sh: tuner1 ended with exit code 9, see logs/tuner1.log; restart "
        "2 of 3",
    ]
    log = (launcher.folder / "logs" / "tuner1.log").read_text()
    assert log.count("worker tuner1 speaks\n") == 3
    places = {
        launcher.record("tuner1", start)["environment"][
            "KERASTUNER_ORACLE_PORT"
        ]
        for start in range(3)
    }
    assert len(places) == 1
    assert_none_is_left(launcher)


def test_restarts_come_to_an_end_and_with_them_the_search(launcher):
    code, _, err = launcher.run(
        *(*TWO, "--restarts=1"),
        plan={"chief": ["wait"], "tuner0": ["wait"], "tuner1": [7, 9]},
    )
    assert code == 9
    assert launcher.starts() == {"chief": 1, "tuner0": 1, "tuner1": 2}
    assert launcher.record("chief")["signal"] == signal.SIGTERM
    assert launcher.record("tuner0")["signal"] == signal.SIGTERM
    assert err.splitlines()[-1] == (
        "tune.sh: tuner1 failed with exit code 9, see my search/logs/"
        "tuner1.log; stopping all"
    )


def test_chief_that_dies_is_started_again_at_the_same_port(launcher):
    code, out, err = launcher.run(
        *TWO, plan={"chief": [7, "last"], "tuner0": ["wait"], "tuner1": [0]}
    )
    assert code == 0
    assert launcher.starts() == {"chief": 2, "tuner0": 1, "tuner1": 1}
    assert "chief ended with exit code 7; restart 1 of 3" in err
    assert out == "worker chief speaks\n" * 2
    first, second = (launcher.record("chief", start) for start in (0, 1))
    name = "KERASTUNER_ORACLE_PORT"
    assert first["environment"][name] == second["environment"][name]


def test_what_the_chief_refuses_no_worker_is_asked(launcher):
    code, _, err = launcher.run(*TWO, plan={"chief": [2]})
    assert code == 2
    assert launcher.starts() == {"chief": 1}
    assert err == "tune.sh: chief failed with exit code 2; stopping all\n"
    assert not (launcher.folder / "my search").exists()


def test_chief_that_refuses_late_leaves_no_worker(launcher):
    (launcher.folder / "my search").mkdir()
    (launcher.folder / "my search" / "oracle.json").touch()
    code, _, err = launcher.run(
        *TWO, plan={"chief": [2], "tuner0": ["wait"], "tuner1": ["wait"]}
    )
    assert code == 2
    assert launcher.record("tuner0")["signal"] == signal.SIGTERM
    assert launcher.starts() == dict.fromkeys(ALL, 1)
    assert err.count("\n") == 1
    assert_none_is_left(launcher)


def test_worker_that_fails_after_the_end_is_let_go(launcher):
    # The chief has the best to train yet.
    process = launcher.start(
        *TWO, plan={"chief": ["wait"], "tuner0": [0], "tuner1": ["wait"]}
    )
    launcher.wait_for_workers(*ALL)
    time.sleep(1)
    os.kill(launcher.record("tuner1")["pid"], signal.SIGKILL)
    time.sleep(1)
    assert process.poll() is None
    assert launcher.starts() == dict.fromkeys(ALL, 1)
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=20)[1] == ""


def test_process_that_does_not_stop_is_killed_after_the_grace(launcher):
    code, _, err = launcher.run(
        *(*TWO, "--grace=1"),
        plan={"chief": ["last"], "tuner0": ["ignore signals"], "tuner1": [0]},
    )
    assert (code, err) == (0, "")
    assert launcher.record("tuner0")["signal"] == signal.SIGTERM
    assert_none_is_left(launcher)


@pytest.mark.parametrize(
    ("sent", "received"),
    [("SIGTERM", "SIGTERM"), ("SIGINT", "SIGINT"), ("SIGHUP", "SIGTERM")],
)
def test_signals_reach_all_and_none_is_started_again(launcher, sent, received):
    code, err = launcher.signalled(
        *TWO, plan=dict.fromkeys(ALL, ["wait"]), signals=[sent]
    )
    assert (code, err) == (128 + signal.Signals[sent], "")
    assert launcher.starts() == dict.fromkeys(ALL, 1)
    for name in ALL:
        assert launcher.record(name)["signal"] == signal.Signals[received]
    assert_none_is_left(launcher)


def test_signal_before_the_workers_leaves_them_out(launcher):
    process = launcher.start(*TWO, plan={"chief": ["wait unready"]})
    launcher.wait_for_workers("chief")
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert launcher.starts() == {"chief": 1}
    assert_none_is_left(launcher)


def test_second_signal_kills(launcher):
    code, _ = launcher.signalled(
        *TWO,
        plan=dict.fromkeys(ALL, ["ignore signals"]),
        signals=["SIGTERM", "SIGTERM"],
    )
    assert code == 128 + signal.SIGTERM
    assert_none_is_left(launcher)


@pytest.mark.parametrize("visible", [None, "3,5,6,7"])
def test_workers_share_the_gpus_out_and_the_chief_has_a_share(
    launcher, visible
):
    found = launcher.gpus_seen(
        *TWO,
        visible=visible,
        plan={"chief": ["last"], "tuner0": [0], "tuner1": [0]},
    )
    shares = [each["CUDA_VISIBLE_DEVICES"] for each in found]
    first, second = ["3,5", "6,7"] if visible else ["0,1", "2,3"]
    assert shares == [first, first, second]
    # The memory of its GPUs is worker 0's until the search is over.
    growing = [each.get("TF_FORCE_GPU_ALLOW_GROWTH") for each in found]
    assert growing == ["true", None, None]


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        (["--workers=2"], "`--output_dir` must be given, as --output_dir=DIR"),
        (
            ["--workers=0", "--output_dir=run"],
            "`--workers` must be an integer above 0. Received: --workers=0",
        ),
        (["--workers=", "--output_dir=run"], "`--workers` must be an integer"),
        (
            ["--workers=2", "--output_dir=run", "--restarts=x"],
            "`--restarts` must be an integer, at least 0. Received: "
            "--restarts=x",
        ),
        (
            ["--workers=2", "--output_dir=run", "--grace=-1"],
            "`--grace` must be an integer, at least 0. Received: --grace=-1",
        ),
    ],
)
def test_bad_flags_are_refused(launcher, flags, rule):
    code, out, err = launcher.run("tune.sh", *flags)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith(f"tune.sh: {rule}")
    assert launcher.starts() == {}
    assert not (launcher.folder / "run").exists()


def test_gpus_that_workers_cannot_share_are_refused(launcher):
    code, _, err = launcher.run(*TWO, CUDA_VISIBLE_DEVICES="0,1,2")
    assert code == 2
    assert err == (
        "tune.sh: `--workers` must share 3 GPUs out equally. Received: "
        "--workers=2\n"
    )
