"""The chief's end of a search of several processes: it serves its oracle.

KerasTuner's messages and service, checked against 1.4.8, and a loop that ends
within a second of the last trial and at once after an error.
"""

import os
import time
from concurrent import futures

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_chief

from tfwd.training.config import usage
from tfwd.tuning.engine import durable_oracle

# Seconds without a word after which a tuner is not waited for at the end. One
# that has nothing to run asks every second.
FAREWELL = 10.0
_PAUSE = 0.2


class _Servicer(oracle_chief.OracleServicer):
    """Remembers what went wrong, which gRPC would tell the worker alone."""

    def __init__(self, oracle):
        super().__init__(oracle)
        self.error = None

    def CreateTrial(self, request, context):  # noqa: N802
        return self._watched(super().CreateTrial, request, context)

    def EndTrial(self, request, context):  # noqa: N802
        try:
            return self._watched(super().EndTrial, request, context)
        except durable_oracle.MissingOutcomeError as error:
            # A network file system may show it later here than there.
            context.abort(grpc.StatusCode.UNAVAILABLE, str(error))

    def _watched(self, function, request, context):
        try:
            return function(request, context)
        except durable_oracle.MissingOutcomeError:
            raise
        except Exception as error:
            self.error = error
            raise


def serve(oracle, farewell=FAREWELL):
    """Gives workers their trials until all have ended and all know.

    Listens at KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT.

    Args:
        oracle: The `durable_oracle.DurableOracle`.
        farewell: Seconds after which a silent worker is not waited for.

    Raises:
        ValueError: The address is in use or not of this machine.
        Exception: What the oracle raised, such as
            `tfwd.durable.WriteError` from a full disk.
    """
    address = address_of_chief()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=1),
        # Or a second chief could listen at the same port.
        options=[("grpc.so_reuseport", 0)],
    )
    servicer = _Servicer(oracle)
    protos.get_service_grpc().add_OracleServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(address)
    except RuntimeError as error:
        raise usage.UsageError(
            "`KERASTUNER_ORACLE_IP` and `KERASTUNER_ORACLE_PORT` must be of "
            f"this machine and free. Received: {address}"
        ) from error
    server.start()
    try:
        while servicer.error is None and not oracle.is_over(farewell):
            time.sleep(_PAUSE)
    finally:
        # The last answer is still on its way.
        server.stop(grace=2).wait()
    if servicer.error is not None:
        raise servicer.error


def address_of_chief():
    """Returns host:port of the environment."""
    host = os.environ["KERASTUNER_ORACLE_IP"]
    return f"{host}:{os.environ['KERASTUNER_ORACLE_PORT']}"
