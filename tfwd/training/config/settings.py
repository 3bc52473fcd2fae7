"""The settings of a run: one frozen dataclass, validated once."""

import dataclasses

from tfwd.training.config import choices
from tfwd.training.config import effects
from tfwd.training.config import fields
from tfwd.training.config import rules
from tfwd.training.distributed import cluster

SCHEDULES = ("constant", "step", "cosine", "cosine_restarts")


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that decides a run; each field is a flag of the same name.

    `None` means: not given, the default of whoever uses the value.

    Raises:
        ValueError: A value breaks a rule; the message names the flag.
    """

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

    dataset: str = fields.setting(
        "digits", "data set", choices=choices.DATASETS, group="Data"
    )
    data_dir: str | None = fields.setting(
        None, "folder of TFDS data sets, <data_dir>/<dataset>/<version>"
    )
    num_validation: int = fields.setting(
        0, "training examples held out for validation", at_least=0
    )
    train_fraction: float = fields.setting(
        1.0, "fraction of the training examples used", above=0, at_most=1
    )
    augment: bool = fields.setting(
        False, "random crop (zero padding 4) and horizontal flip"
    )
    bptt: int = fields.setting(
        35, "words per step and stream of a text (ptb)", at_least=1
    )

    model: str = fields.setting(
        "mlp",
        "model, or a function of a module of one's own, which makes one of "
        "input_shape and num_classes",
        choices=choices.MODELS,
        form=(choices.FUNCTION, choices.is_function),
        group="Model",
    )
    width: float = fields.setting(
        1.0,
        "multiplies channels and hidden units, which are at least one",
        above=0,
    )
    batch_norm: bool = fields.setting(
        True, "batch normalization, in the form of the convention"
    )
    convention: str | None = fields.setting(
        None,
        "whose initialization, normalization, padding and biases; default: "
        "those of the paper that trains the model",
        choices=choices.CONVENTIONS,
    )
    sync_batch_norm: bool = fields.setting(
        False, "normalize over the batches of all replicas together"
    )
    hidden_layers: int | None = fields.setting(
        None,
        "hidden layers of mlp (default 2) and lstm (2)",
        at_least=0,
        at_most=1000,
    )
    hidden_units: int | None = fields.setting(
        None, "units of a layer of mlp (default 128) and lstm (512)", at_least=1
    )
    dropout: float | None = fields.setting(
        None,
        "fraction dropped by googlenet (default 0.4) and lstm (0.5)",
        at_least=0,
        below=1,
    )
    init_from: str | None = fields.setting(
        None,
        "a .keras file: layers of the same name and shapes begin with its "
        "weights, where no checkpoint is gone on from",
    )
    dtype_policy: str = fields.setting(
        "float32",
        "precision of the layers; the variables are float32 in all",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    jit_compile: bool = fields.setting(
        False, "compile the training step by XLA (one replica)"
    )

    epochs: int = fields.setting(
        30, "passes over the training data", at_least=1, group="Training"
    )
    batch_size: int = fields.setting(
        128, "examples per step, summed over all replicas", at_least=1
    )
    eval_batch_size: int = fields.setting(
        1000, "examples per evaluation step", at_least=1
    )
    label_smoothing: float = fields.setting(
        0.0,
        "label smoothing of the loss that is minimized; losses are reported "
        "without it",
        at_least=0,
        below=1,
    )
    steps_per_loop: int = fields.setting(
        10, "steps per call of the compiled loop", at_least=1
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

    strategy: str = fields.setting(
        "default",
        "tf.distribute strategy; mirrored: one replica per GPU, or per "
        "logical CPU where there is none; multi_worker: all devices of several "
        "processes",
        choices=("default", "one_device", "mirrored", "multi_worker", "tpu"),
        group="Devices",
        refused={
            "parameter_server": "must not be parameter_server: "
            + cluster.WHY_NO_PARAMETER_SERVER
        },
    )
    num_devices: int | None = fields.setting(
        None, "devices that mirrored uses; default: all", at_least=1
    )
    virtual_cpus: int | None = fields.setting(
        None,
        "split the CPU into so many devices for mirrored",
        at_least=1,
        at_most=1024,
    )
    worker_hosts: str | None = fields.setting(
        None,
        "host:port of every process of multi_worker, the chief first, e.g. "
        "a:2222,b:2222; not needed where TF_CONFIG is set, which wins",
    )
    task_index: int | None = fields.setting(
        None, "which of worker_hosts this process is, from 0", at_least=0
    )
    tpu: str | None = fields.setting(
        None, "name or address of the TPU; default: the local one"
    )

    optimizer: str = fields.setting(
        "adams", "optimizer", choices=choices.OPTIMIZERS, group="Optimizer"
    )
    learning_rate: float | None = fields.setting(
        None, "learning rate; default: the optimizer's", at_least=0
    )
    weight_decay: float | None = fields.setting(
        None,
        "weight decay coefficient lambda; default: that of the folder that is "
        "gone on with, or 5e-4 for modes l2, stable and elementwise, for "
        "decoupled and independent what decays as much (adamw: 0.5)",
        at_least=0,
        group="Weight decay",
    )
    weight_decay_mode: str | None = fields.setting(
        None,
        "l2, decoupled, stable, independent or elementwise; default: "
        "the optimizer's",
    )
    exclude_from_weight_decay: tuple[str, ...] = fields.setting(
        (),
        "regular expression of variable paths, or @bias, @norm, "
        "@embedding, @standard; may be repeated",
    )
    weight_decay_multiplier: tuple[str, ...] = fields.setting(
        (),
        "'<path regular expression>=<factor>' scales lambda; may be repeated",
    )
    decay_scope: str = fields.setting(
        "all",
        "which layers decay: all, those whose scale a normalization undoes, "
        "the final ones, or none; what is excluded above stays excluded",
        choices=choices.DECAY_SCOPES,
    )
    decay_scope_from_epoch: int = fields.setting(
        0,
        "the scope is kept to after so many epochs, until then all layers "
        "decay",
        at_least=0,
    )
    momentum: float | None = fields.setting(
        None,
        "momentum of sgd, sgdw, sgds, kfac",
        at_least=0,
        below=1,
        group="Arguments of the optimizers",
    )
    dampening: float | None = fields.setting(
        None, "dampening of sgd, sgdw, sgds", at_least=0, at_most=1
    )
    nesterov: bool | None = fields.setting(None, "Nesterov's momentum")
    folded_learning_rate: bool | None = fields.setting(
        None, "learning rate inside the momentum buffer (Keras' form)"
    )
    beta_0: float | None = fields.setting(None, "beta_0 of adai", at_least=0)
    beta_1: float | None = fields.setting(
        None, "decay rate of the first moment", at_least=0, below=1
    )
    beta_2: float | None = fields.setting(
        None, "decay rate of the second moment", at_least=0, below=1
    )
    epsilon: float | None = fields.setting(None, "epsilon", at_least=0)
    adaptivity: float | None = fields.setting(
        None, "power p of mean(v) in the stable decay", at_least=0
    )
    second_moment_offset: float | None = fields.setting(
        None, "added to mean(v) in the stable decay", at_least=0
    )
    final_learning_rate: float | None = fields.setting(
        None, "final learning rate of adabound", at_least=0
    )
    gamma: float | None = fields.setting(
        None, "speed of adabound's bounds", at_least=0
    )
    initial_learning_rate: float | None = fields.setting(
        None,
        "learning rate against which adabound measures its schedule",
        above=0,
    )
    partial: float | None = fields.setting(None, "power of padam", at_least=0)
    initial_accumulator_value: float | None = fields.setting(
        None, "second moment of yogi before the first step", at_least=0
    )
    curvature: str | None = fields.setting(
        None,
        "what kfac's factors approximate",
        choices=("fisher", "gauss_newton", "empirical"),
        group="K-FAC",
    )
    damping: float | None = fields.setting(
        None, "damping of kfac's curvature", above=0
    )
    damping_mode: str | None = fields.setting(
        None,
        "damp each of kfac's factors, or the eigenvalues of their product",
        choices=("factored", "eigen"),
    )
    factor_decay: float | None = fields.setting(
        None, "decay rate of kfac's factors", at_least=0, below=1
    )
    factor_every: int | None = fields.setting(
        None,
        "steps between updates of kfac's factors",
        at_least=1,
        at_most=10**6,
    )
    inverse_every: int | None = fields.setting(
        None,
        "steps between updates of their inverses",
        at_least=1,
        at_most=10**6,
    )
    kl_clip: float | None = fields.setting(
        None, "bound of kfac's step in the metric of its curvature", above=0
    )
    stagger_inverses: bool | None = fields.setting(
        None, "spread the inverses of kfac's layers over the steps"
    )
    curvature_scale: float | None = fields.setting(
        None, "multiplies kfac's curvature", above=0
    )
    estimation: str | None = fields.setting(
        None,
        "kfac's curvature from one sample of each output, or from all",
        choices=("sampled", "exact"),
    )
    on_unsupported: str | None = fields.setting(
        None,
        "what kfac does with layers that it does not know",
        choices=("error", "sgd"),
    )
    update_order: str | None = fields.setting(
        None,
        "factors and inverses before the step (algorithm) or after (authors)",
        choices=("algorithm", "authors"),
    )
    cold_start: bool | None = fields.setting(
        None,
        "average kfac's factors over the first epoch before the first step",
    )
    clipnorm: float | None = fields.setting(
        None,
        "bound of each gradient's 2-norm",
        above=0,
        group="Gradients and averages",
    )
    clipvalue: float | None = fields.setting(
        None, "bound of each gradient's elements", above=0
    )
    global_clipnorm: float | None = fields.setting(
        None, "bound of the 2-norm of all gradients together", above=0
    )
    use_ema: bool = fields.setting(
        False, "the final model holds the moving average of the weights"
    )
    ema_momentum: float | None = fields.setting(
        None, "momentum of that average", at_least=0, at_most=1
    )
    ema_overwrite_frequency: int | None = fields.setting(
        None, "steps between overwriting weights by averages", at_least=1
    )
    accumulation_steps: int | None = fields.setting(
        None,
        "steps whose examples make one update together; the last update of an "
        "epoch may have fewer",
        at_least=2,
    )
    loss_scale_factor: float | None = fields.setting(
        None,
        "the loss is scaled by it, the gradients unscaled; default: "
        "found while training under mixed_float16, else 1",
        above=0,
    )

    schedule: str = fields.setting(
        "constant",
        "learning rate schedule",
        choices=SCHEDULES,
        group="Schedules",
    )
    weight_decay_schedule: str = fields.setting(
        "constant",
        "schedule of a factor of lambda, starting at 1",
        choices=SCHEDULES,
    )
    decay_epochs: tuple[int, ...] = fields.setting(
        (80, 160), "epochs after which step schedules drop, e.g. 80,160"
    )
    decay_factor: float = fields.setting(
        0.1, "factor of each drop", above=0, at_most=1
    )
    restart_epochs: float = fields.setting(
        14.0,
        "epochs of the first period of cosine_restarts",
        above=0,
        at_most=1e6,
    )
    restart_multiplier: float = fields.setting(
        2.0,
        "each period is so many times the one before",
        at_least=1,
        at_most=1e6,
    )
    final_fraction: float = fields.setting(
        0.0, "where cosine ends, relative to its start", at_least=0, at_most=1
    )
    warmup_epochs: float = fields.setting(
        0.0, "epochs of linear warm-up of the learning rate", at_least=0
    )
    scaling_rule: str = fields.setting(
        "none",
        "scale by k = batch_size * accumulation_steps / base_batch_size: the "
        "learning rate by k "
        "(lr) or its root (sqrt_lr), or the weight decay by k",
        choices=("none", "lr", "sqrt_lr", "weight_decay"),
    )
    base_batch_size: int = fields.setting(
        128, "batch size of the unscaled values", at_least=1
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

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if rules.kind_of(field) is float and type(value) is int:
                object.__setattr__(self, field.name, float(value))
        rules.check(self)
        effects.check(self)

    def hosts(self):
        """`--worker_hosts` as a tuple."""
        return tuple(self.worker_hosts.split(",")) if self.worker_hosts else ()

    def multipliers(self):
        """`--weight_decay_multiplier` as {path regular expression: factor}."""
        return dict(map(rules.multiplier, self.weight_decay_multiplier))
