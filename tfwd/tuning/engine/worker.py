"""A worker's end of a search of several processes: it asks the chief.

It outlives a chief that is killed and started again, and tells it while a trial
runs that it is alive. Checked against KerasTuner 1.4.8.
"""

import contextlib
import threading
import time

import grpc
from keras_tuner.src import protos
from keras_tuner.src.distribute import oracle_client
from keras_tuner.src.engine import trial as trial_lib

from tfwd.tuning.engine import chief

# Seconds between two signs of life.
BEAT = 10.0
# Seconds that a chief may be away.
PATIENCE = 600.0
_PAUSE = 0.5
_AWAY = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class ChiefError(Exception):
    """The chief is gone or has failed; one line."""


class Client(oracle_client.OracleClient):
    """Stands for the chief's oracle in a worker.

    Args:
        oracle: The worker's own oracle, which is asked for its settings alone.
        patience: Seconds that a chief may be away.
        beat: Seconds between two signs of life.
    """

    def __init__(self, oracle, patience=PATIENCE, beat=BEAT):
        super().__init__(oracle)
        # Or it is tried again after two minutes only.
        options = [
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 2000),
        ]
        self._channel = grpc.insecure_channel(
            chief.address_of_chief(), options=options
        )
        self.stub = protos.get_service_grpc().OracleStub(self._channel)
        self._patience = patience
        self._beat = beat

    def create_trial(self, tuner_id):
        """Returns the next trial; asking again gives the same.

        Raises:
            ChiefError: The chief is gone or has failed.
        """
        request = protos.get_service().CreateTrialRequest(tuner_id=tuner_id)
        response = self._ask(self.stub.CreateTrial, request)
        return trial_lib.Trial.from_proto(response.trial)

    def end_trial(self, trial):
        """Tells that a trial has ended; saying so again does nothing.

        Raises:
            ChiefError: The chief is gone or has failed.
        """
        request = protos.get_service().EndTrialRequest(trial=trial.to_proto())
        self._ask(self.stub.EndTrial, request)

    @contextlib.contextmanager
    def alive(self, tuner_id):
        """Tells the chief every `beat` seconds that the trial goes on."""
        is_over = threading.Event()
        request = protos.get_service().CreateTrialRequest(tuner_id=tuner_id)

        def tell():
            while not is_over.wait(self._beat):
                with contextlib.suppress(grpc.RpcError):
                    # To ask for the running trial is a sign of life.
                    self.stub.CreateTrial(request, timeout=self._beat)

        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        try:
            yield
            is_over.set()
            # Asked after its end, it would begin another trial.
            thread.join()
        finally:
            is_over.set()

    def _ask(self, call, request):
        begin = time.monotonic()
        while True:
            try:
                return call(request, wait_for_ready=True, timeout=30)
            except grpc.RpcError as error:
                where = f"the chief at {chief.address_of_chief()}"
                if error.code() not in _AWAY:
                    raise ChiefError(
                        f"{where} has failed: {error.details()}"
                    ) from error
                if time.monotonic() - begin > self._patience:
                    raise ChiefError(
                        f"{where} has not answered for {self._patience:g} s: "
                        f"{error.details()}"
                    ) from error
            time.sleep(_PAUSE)
