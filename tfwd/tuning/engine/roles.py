"""What this process is in a search, by KerasTuner's own variables."""

import os

from tfwd.training.config import usage

SINGLE = "single"
CHIEF = "chief"
WORKER = "worker"
_VARIABLES = (
    "KERASTUNER_ORACLE_IP",
    "KERASTUNER_ORACLE_PORT",
    "KERASTUNER_TUNER_ID",
)


def of_environment():
    """Returns `SINGLE`, or `CHIEF` or `WORKER` of several processes.

    Raises:
        UsageError: Some of the variables are set, but not all; one line.
    """
    values = {name: os.environ.get(name, "") for name in _VARIABLES}
    missing = [name for name, value in values.items() if not value]
    if len(missing) == len(_VARIABLES):
        return SINGLE
    if missing:
        raise usage.UsageError(
            f"`{missing[0]}` must be set, as others of {', '.join(_VARIABLES)} "
            "are. Received: nothing"
        )
    return CHIEF if "chief" in values["KERASTUNER_TUNER_ID"] else WORKER
