"""The settings of the run itself: its folder, its files, its interventions."""

import dataclasses

from tfwd.training.config import choices
from tfwd.training.config import fields


@dataclasses.dataclass(frozen=True)
class Run:
    """Folder, checkpoints, reports, diagnostics and interventions."""

    mode: str = fields.setting(
        "train",
        "train: train and write a run; eval: evaluate --model_file",
        group="Run",
        choices=("train", "eval"),
    )
    output_dir: str | None = fields.setting(
        None,
        "folder of the run; default: a fresh folder "
        "runs/<dataset>-<model>-<optimizer>-<timestamp>",
    )
    resume: str = fields.setting(
        "auto",
        "what to do where output_dir holds this run: go on from its newest "
        "checkpoint (auto), refuse (never); must: refuse to start anew",
        choices=("auto", "never", "must"),
    )
    checkpoint_every: str = fields.setting(
        "600s",
        "steps (500) or seconds (600s) between checkpoints; there is one after "
        "each epoch too",
    )
    keep_checkpoints: int = fields.setting(
        2, "how many checkpoints are kept", at_least=1
    )
    on_nan: str = fields.setting(
        "stop",
        "what a loss or gradient that is not finite does: stop the run, or "
        "restore the last checkpoint and halve the learning rate, at most "
        "three times",
        choices=("stop", "restore"),
    )
    step_timeout: float | None = fields.setting(
        None,
        "seconds without a finished step (the first, which is compiled, too) "
        "after which the process ends itself",
        above=0,
        at_most=1e9,
    )
    model_file: str | None = fields.setting(
        None, "the .keras file that --mode=eval evaluates"
    )
    seed: int = fields.setting(
        0,
        "seed of initialization, example order, augmentation and the labels "
        "that kfac samples",
        at_least=0,
        below=2**32,
    )
    deterministic: bool = fields.setting(
        False, "two runs give the same numbers, bit for bit (slower)"
    )
    steps_per_loop: int = fields.setting(
        10,
        "steps per call of the compiled loop",
        at_least=1,
        group="Training",
    )
    tensorboard: bool = fields.setting(
        False,
        "write TensorBoard summaries to tensorboard/metrics and "
        "tensorboard/diagnostics, the rows of --log_every to tensorboard/steps",
    )
    log_every: int = fields.setting(
        0,
        "steps between rows of steps.csv, which have the mean training loss "
        "since the row before; 0: no such file",
        at_least=0,
    )
    diagnostics: tuple[str, ...] = fields.setting(
        (),
        "what is measured between epochs and written to diagnostics.csv, e.g. "
        f"{','.join(choices.DEFAULT_DIAGNOSTICS)}; default: nothing. "
        "It changes nothing of the run",
        choices=choices.DIAGNOSTICS,
        group="Diagnostics",
    )
    diagnostics_every: int = fields.setting(
        1,
        "epochs between measurements, of which the first precedes the training",
        at_least=1,
    )
    diagnostics_examples: int = fields.setting(
        1000, "training examples that are measured on", at_least=1
    )
    diagnostics_projections: int = fields.setting(
        1,
        "random projections by which an example's Jacobian is estimated",
        at_least=1,
        at_most=1000,
    )
    norm_transfer: str | None = fields.setting(
        None,
        "diagnostics.csv of another run: after each epoch the layers whose "
        "scale a normalization undoes get the weight norms that they had there",
        group="Norm transfer",
    )
    norm_transfer_from_epoch: int = fields.setting(
        1, "the first epoch, counted from 1, after which they do", at_least=1
    )
    norm_transfer_moments: str = fields.setting(
        "keep",
        "what becomes of the optimizer's moments then: kept as they are, or "
        "scaled as the gradients are",
        choices=("keep", "scale"),
    )
