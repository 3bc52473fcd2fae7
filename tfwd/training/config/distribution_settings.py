"""The settings of devices and processes."""

import dataclasses

from tfwd.training.config import fields
from tfwd.training.distributed import cluster


@dataclasses.dataclass(frozen=True)
class Distribution:
    """The strategy and the devices that train together."""

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

    def hosts(self):
        """`--worker_hosts` as a tuple."""
        return tuple(self.worker_hosts.split(",")) if self.worker_hosts else ()
