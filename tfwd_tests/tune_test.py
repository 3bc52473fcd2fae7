"""The binary of the search, from its flags to its report."""

import json
import math
import shutil

import keras_tuner
import pytest

from tfwd import train
from tfwd.training.config import flagfile
from tfwd.tuning.runs import training_run
from tfwd_tests.training import runs
from tfwd_tests.tuning import small

ACCURACY = keras_tuner.Objective("validation_accuracy", "max")


def _build(hp):
    raise AssertionError("KerasTuner has the space in the folder")


def test_a_grid_finds_the_best_cell_and_trains_it_again(tmp_path, capsys):
    folder = tmp_path / "search"
    assert small.search(folder, *small.GRID) == 0
    found = small.rows(folder)
    assert [(row["learning_rate"], row["weight_decay"]) for row in found] == [
        (0.001, 0.0001),
        (0.001, 0.001),
        (0.01, 0.0001),
        (0.01, 0.001),
    ]
    for row in found:
        run = folder / f"trial_{row['trial']}" / "seed_0"
        last = runs.rows(run)[-1]
        assert row["objective"] == float(last["validation_accuracy"])
        assert (row["last_epoch"], row["status"]) == (2, "completed")
        assert not (run / "checkpoints").exists()
    best = max(found, key=lambda row: row["objective"])
    settings = flagfile.recorded(folder / "best" / "flags.txt")
    assert settings.optimizer.learning_rate == best["learning_rate"]
    assert settings.optimizer.weight_decay == best["weight_decay"]
    assert settings.data.num_validation == 0
    assert (folder / "best" / "final.keras").exists()
    report = (folder / "report.md").read_text()
    assert "heatmap.png" in report and (folder / "heatmap.png").exists()
    assert "Results summary" in capsys.readouterr().out


def test_the_best_flags_replay_the_retrained_run(tmp_path):
    folder = tmp_path / "search"
    assert small.search(folder, small.GRID[0]) == 0
    assert (folder / "line.png").exists()
    code = train.main(
        [f"--flagfile={folder}/best.flags", f"--output_dir={tmp_path}/run"]
    )
    assert code == 0
    assert runs.rows(tmp_path / "run") == runs.rows(folder / "best")


def test_a_search_that_is_complete_changes_nothing(tmp_path):
    folder = tmp_path / "search"
    arguments = (folder, "--search=learning_rate=log:1e-3:1e-2:2")
    assert small.search(*arguments) == 0
    before = {
        path: path.read_bytes()
        for path in folder.rglob("*")
        if path.suffix in (".csv", ".keras", ".json")
    }
    assert small.search(*arguments) == 0
    after = {path: path.read_bytes() for path in before}
    assert before == after


def test_seeds_are_runs_of_their_own_and_their_mean_counts(tmp_path):
    folder = tmp_path / "search"
    flags = ("--search=learning_rate=choice:0.001", "--trials_per_cell=2")
    assert small.search(folder, *flags, "--seed=5", "--noretrain") == 0
    found = small.rows(folder)
    assert [row["seed"] for row in found] == [5, 6]
    assert found[0]["objective"] != found[1]["objective"]
    tuner = keras_tuner.RandomSearch(
        _build, ACCURACY, directory=tmp_path, project_name="search"
    )
    (trial,) = tuner.oracle.get_best_trials()
    mean = sum(row["objective"] for row in found) / 2
    assert math.isclose(trial.score, mean, rel_tol=1e-12)
    assert not (folder / "best").exists()


def test_a_trial_may_be_of_two_replicas(tmp_path):
    found = []
    for flags in ((), ("--strategy=mirrored", "--num_devices=2")):
        folder = tmp_path / str(len(found))
        # Of each replica's own batch, statistics would differ.
        common = ("--search=learning_rate=choice:0.001", "--nobatch_norm")
        assert small.search(folder, *common, *flags, "--noretrain") == 0
        run = folder / "trial_0" / "seed_0"
        description = json.loads((run / "run.json").read_text())
        assert description["replicas"] == 1 + bool(flags)
        found.append(float(runs.rows(run)[-1]["train_loss"]))
    assert found[0] == pytest.approx(found[1], rel=1e-5)


def test_a_diverged_cell_has_its_reason_and_the_search_goes_on(tmp_path):
    folder = tmp_path / "search"
    flags = ["--search=learning_rate=choice:1e30,1e31,1e32,1e33,0.01"]
    assert small.search(folder, *flags, "--optimizer=sgd") == 0
    found = small.rows(folder)
    assert [row["status"] for row in found] == ["diverged"] * 4 + ["completed"]
    assert all("not finite" in row["reason"] for row in found[:4])
    assert str(tmp_path) not in (folder / "trials.csv").read_text()
    assert (folder / "best" / "final.keras").exists()


def test_a_search_without_a_completed_trial_says_so(tmp_path, capsys):
    folder = tmp_path / "search"
    flags = ["--search=learning_rate=choice:1e30", "--optimizer=sgd"]
    assert small.search(folder, *flags) == 2
    assert "none of the 1 trials was completed" in capsys.readouterr().err
    assert (folder / "report.md").exists()


@pytest.mark.full
def test_another_seed_of_the_tuner_draws_other_values(tmp_path):
    drawn = []
    for seed in (0, 0, 1):
        folder = tmp_path / str(len(drawn))
        flags = ("--search=learning_rate=log:1e-3:1e-2", "--tuner=random")
        options = ("--max_trials=2", "--noretrain", f"--seed={seed}")
        assert small.search(folder, *flags, *options) == 0
        drawn.append([row["learning_rate"] for row in small.rows(folder)])
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.full
def test_bayesian_search_runs(tmp_path):
    flags = ("--search=learning_rate=log:1e-3:1e-2", "--tuner=bayesian")
    folder = tmp_path / "search"
    assert small.search(folder, *flags, "--max_trials=4", "--epochs=1") == 0
    assert len(small.rows(folder)) == 4


@pytest.mark.full
def test_hyperband_goes_on_with_the_optimizer(tmp_path):
    folder = tmp_path / "search"
    flags = ("--search=learning_rate=log:1e-3:1e-2", "--tuner=hyperband")
    options = ("--epochs=3", "--keep_trials=all", "--noretrain")
    assert small.search(folder, *flags, *options) == 0
    tuner = keras_tuner.Hyperband(
        _build,
        ACCURACY,
        directory=tmp_path,
        project_name="search",
    )
    promoted = [
        trial
        for trial in tuner.oracle.trials.values()
        if trial.hyperparameters.values.get("tuner/trial_id")
    ]
    assert promoted
    trial = promoted[0]
    values = trial.hyperparameters.values
    assert values["tuner/epochs"] == 3
    run = folder / f"trial_{trial.trial_id}" / "seed_0"
    # A run of its flags that never paused has the same rows and weights.
    code = train.main(
        [f"--flagfile={run}/flags.txt", f"--output_dir={tmp_path}/whole"]
    )
    assert code == 0
    # A search leaves the test data alone.
    untested = {"test_loss": "", "test_accuracy": ""}
    whole = [row | untested for row in runs.rows(tmp_path / "whole")]
    assert runs.rows(run) == whole


@pytest.mark.parametrize(
    "rule", ["halving", pytest.param("median", marks=pytest.mark.full)]
)
def test_pruned_runs_have_their_reason(tmp_path, rule):
    folder = tmp_path / "search"
    flags = ["--search=learning_rate=choice:0.01,0.012,0.014,0.016,1e-8"]
    options = (f"--prune={rule}", "--epochs=4", "--trials_per_cell=2")
    assert small.search(folder, *flags, *options, "--noretrain") == 0
    *_, first, second = small.rows(folder)
    assert first["status"] == second["status"] == "pruned"
    assert 1 <= first["last_epoch"] < 4 and second["last_epoch"] == 0
    assert first["reason"] and "seed 0 was pruned" in second["reason"]


def test_values_follow_from_others(tmp_path):
    folder = tmp_path / "search"
    flags = [
        "--search=optimizer=choice:adams,adamw",
        "--search=stable=choice:0.001",
        "--link=weight_decay=optimizer_factor * stable",
    ]
    assert small.search(folder, *flags, "--epochs=1", "--noretrain") == 0
    found = small.rows(folder)
    assert [row["weight_decay"] for row in found] == [0.001, 1.0]


def test_a_dry_run_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "search"
    assert small.search(folder, *small.GRID, "--dry_run") == 0
    out = capsys.readouterr().out
    assert "3 learning_rate=0.01 weight_decay=0.001" in out
    # 386 training examples in 13 batches.
    assert "4 cells = 4 runs, 104 training steps" in out
    assert list(tmp_path.iterdir()) == []


def test_hparams_are_written_on_request(tmp_path):
    folder = tmp_path / "search"
    flags = ("--search=learning_rate=choice:0.001", "--tensorboard")
    assert small.search(folder, *flags, "--noretrain") == 0
    assert list((folder / "tensorboard").rglob("events.*"))


def _refused(capsys, folder, *arguments):
    """Checks one line and exit code 2; returns the line."""
    capsys.readouterr()
    assert small.search(folder, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "--search"),
        (("--search=learning_rate",), "NAME=log:LOW:HIGH:N"),
        (("--search=learning_rat=log:1e-3:1e-2:2",), "must name a flag"),
        (("--search=output_dir=choice:a,b",), "output_dir"),
        (("--search=learning_rate=log:1e-3:1e-2",), ":N"),
        (("--search=seed=choice:1,2",), "trials_per_cell"),
        ((*small.GRID, "--link=damping=0.1 / nothing"), "nothing"),
        ((*small.GRID, "--num_validation=5000"), "num_validation"),
        ((*small.GRID, "--objective=validation_acuracy"), "objective"),
        ((*small.GRID, "--strategy=multi_worker"), "strategy"),
        ((*small.GRID, "--resume=must"), "resume"),
        ((*small.GRID, "--max_trials=3"), "max_trials"),
        ((*small.GRID, "--mode=eval"), "mode"),
        ((*small.GRID, "--data_dir=nowhere"), "data_dir"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, arguments, words):
    assert words in _refused(capsys, tmp_path / "search", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_another_search_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "search"
    assert small.search(folder, small.GRID[0], "--noretrain") == 0
    before = (folder / "trials.csv").read_bytes()
    line = _refused(capsys, folder, small.GRID[1])
    assert "it holds a search with" in line
    assert (folder / "trials.csv").read_bytes() == before
    line = _refused(capsys, folder, small.GRID[0], "--resume=never")
    assert "--resume=never" in line


def test_the_folder_of_a_run_is_left_alone(tmp_path, capsys):
    folder = tmp_path / "run"
    code = train.main([*small.SMALL, f"--output_dir={folder}"])
    assert code == 0
    assert "flags.txt" in _refused(capsys, folder, *small.GRID)


def test_two_searches_do_not_share_a_folder(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "search"
    lines = []

    def train_while_another_comes(*arguments):
        lines.append(_refused(capsys, folder, *small.GRID))
        raise AssertionError

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "train", train_while_another_comes)
        small.search(folder, *small.GRID)
    assert "search that is going on" in lines[0]


def test_a_damaged_folder_of_kerastuner_is_one_line(tmp_path, capsys):
    folder = tmp_path / "search"
    assert small.search(folder, small.GRID[0], "--noretrain") == 0
    (folder / "oracle.json").write_text("{")
    assert "oracle.json" in _refused(capsys, folder, small.GRID[0])
    shutil.rmtree(folder)
