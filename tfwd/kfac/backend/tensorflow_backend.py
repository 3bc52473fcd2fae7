"""What K-FAC needs of TensorFlow itself, `jax_backend`'s twin."""

import contextlib
import functools

import keras
import tensorflow as tf

# Forward derivatives go through the rules of backpropagation.
NO_FORWARD_MODE = ()
# Whether a function's trace is used again without `is_passed_on` seeing it.
# Where it is not, nothing is raised in it: `tf.map_fn` would not tidy up.
KEEPS_TRACES = False


def output_gradients(run, vectors_at):
    """Backpropagates vectors from a model's output to all pre-activations.

    Args:
        run: A function of `connect` that runs the model and returns the output
            and anything else, and which must use `connect(z)` in place of
            every pre-activation z.
        vectors_at: A function of the output and the rest that returns a list
            of vectors of the output's shape.

    Returns:
        What else `run` returned, and for each z, in the order of the calls, a
        tuple with its gradients, one per vector.
    """
    activations = []

    def connect(z):
        tape.watch(z)
        activations.append(z)
        return z

    with tf.GradientTape(
        persistent=True, watch_accessed_variables=False
    ) as tape:
        output, rest = run(connect)
    gradients = [
        tape.gradient(
            output,
            activations,
            output_gradients=vector,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        for vector in vectors_at(output, rest)
    ]
    return rest, list(zip(*gradients, strict=True))


def program():
    """Returns the graph that is being traced, or None."""
    if tf.executing_eagerly():
        return None
    return tf.compat.v1.get_default_graph()


def tracing(key):
    """Returns a context that does nothing; `is_passed_on` sees old traces."""
    return contextlib.nullcontext()


def is_passed_on(variable, program):
    """Returns whether a program hands a variable to a function's own.

    Which may have been traced before, without a callback.

    Args:
        variable: A Keras variable.
        program: What `program` returned.
    """
    if program is None:
        return False
    handle = program.capture(variable.value.handle)
    return any("Call" in op.type for op in handle.consumers())


def linearized(function, x):
    """Returns function(x), and what `pulled_back` needs."""
    with tf.GradientTape(
        persistent=True, watch_accessed_variables=False
    ) as tape:
        tape.watch(x)
        value = function(x)
    return value, (tape, value, x)


def pulled_back(pull, gradient):
    """Returns the gradient at x, given that at function(x)."""
    tape, value, x = pull
    return tape.gradient(value, x, output_gradients=gradient)


def with_rule(forward, gradients):
    """Returns a function with a rule of backpropagation of its own.

    Args:
        forward: A function of tensors that returns a tensor, and what
            `gradients` needs.
        gradients: A function of that and of the gradient at the tensor that
            returns one for each argument, None for a constant.
    """

    @tf.custom_gradient
    def function(*arguments):
        value, saved = forward(*arguments)
        return value, lambda gradient: gradients(saved, gradient)

    return function


def undifferentiable(x, message):
    """Returns x, through which no derivative passes.

    Args:
        x: A tensor.
        message: Message of the error that a derivative raises, in ASCII.
    """
    # An operation of its own, which survives where a rule is dropped.
    return tf.raw_ops.PreventGradient(input=x, message=message)


def gradient_of(function, x):
    """Returns the gradient of a scalar function at x."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x)


def cholesky_inverse(matrix):
    """Returns the inverse of [..., n, n]; NaN if not positive definite."""
    # Keras' own Cholesky raises inside a graph.
    root = tf.linalg.cholesky(matrix)
    identity = tf.eye(matrix.shape[-1], dtype=matrix.dtype)
    if matrix.shape.rank > 2:
        identity = tf.broadcast_to(identity, tf.shape(matrix))
    return tf.linalg.cholesky_solve(root, identity)


def eigenvalues_and_vectors(matrix):
    """Returns the eigenvalues [..., n], ascending, and vectors [..., n, n]."""
    return tf.linalg.eigh(matrix)


def widest_float():
    """Returns the type in which a failed inversion is tried again."""
    return "float64"


def condition(predicate, if_true, if_false):
    """Returns one of two results and computes no more than that one."""
    return tf.cond(predicate, if_true, if_false)


def current_values(variables):
    """Returns what a `StatelessScope` inside this one must be told: nothing."""
    return []


def num_replicas():
    """Returns the number of replicas of the strategy in force."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def num_workers(model):
    """Returns the number of machines that a model's strategy is of."""
    strategy = model.distribute_strategy
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    local = len(strategy.extended.worker_devices)
    return strategy.num_replicas_in_sync // local


def sum_over_replicas(tensors):
    """Returns the sums of tensors over all replicas, in replica context."""
    if num_replicas() == 1:
        return tensors
    return tf.distribute.get_replica_context().all_reduce("SUM", tensors)


def first_example(size):
    """Returns the global index of this replica's first example.

    Args:
        size: The number of examples on this replica.
    """
    count = num_replicas()
    if count == 1:
        return tf.constant(0)
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    sizes = tf.one_hot(replica, count, dtype="int32") * size
    (sizes,) = sum_over_replicas([sizes])
    return tf.reduce_sum(tf.where(tf.range(count) < replica, sizes, 0))


def computed_by(owner, compute, like):
    """Returns `compute()` on the owner and zeros elsewhere.

    Args:
        owner: The number of a replica.
        compute: A function that returns a list of tensors.
        like: Variables or tensors of their shapes and types.
    """
    if num_replicas() == 1:
        return compute()
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    return tf.cond(
        tf.equal(replica, owner),
        compute,
        lambda: [tf.zeros(x.shape, x.dtype) for x in like],
    )


@contextlib.contextmanager
def full_precision():
    """No TensorFloat-32 in the products of programs that are run inside."""
    tf32 = tf.config.experimental
    enabled = tf32.tensor_float_32_execution_enabled()
    tf32.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf32.enable_tensor_float_32_execution(enabled)


def is_dense(tensor):
    """Returns whether a tensor is neither sparse nor ragged."""
    return not isinstance(tensor, (tf.SparseTensor, tf.RaggedTensor))


def strategy_in_force():
    """Returns the strategy in whose scope the caller is."""
    return tf.distribute.get_strategy()


def scope_of(strategy):
    """Returns the context in which variables of a strategy are created."""
    return strategy.scope()


def compiled(program, variables, strategy):
    """Returns a program, a function that assigns to variables, compiled.

    Called eagerly, it runs compiled on every replica of the strategy. Where
    the caller is being compiled, or runs on a replica already, it is called as
    it is.

    Args:
        program: A function of nested tensors.
        variables: A function that returns those it reads and assigns to; on
            this backend it just does.
        strategy: What `strategy_in_force` returned when they were made.
    """

    @tf.function(reduce_retracing=True)
    def on_replicas(*arguments):
        strategy.run(program, arguments)

    # TensorFlow takes many functions from one line, each traced once, for one
    # function that is traced too often, and warns; not of concrete ones.
    @functools.cache
    def without_arguments():
        return on_replicas.get_concrete_function()

    def call(*arguments):
        context = tf.distribute.get_replica_context()
        is_replica = context is not None and context.strategy is strategy
        if is_replica and (
            tf.inside_function() or strategy.num_replicas_in_sync > 1
        ):
            program(*arguments)
            return
        with full_precision():
            if arguments:
                on_replicas(*arguments)
            else:
                without_arguments()()

    return call


def value_while_tracing(variable):
    """Returns a scalar variable's value, or None where it cannot be known."""
    with tf.init_scope():
        if not tf.executing_eagerly():
            return None
        try:
            return int(keras.ops.convert_to_numpy(variable))
        except TypeError:  # Created in this very trace, it has no value yet.
            return None
