"""Times kfac-jax on the multilayer perceptron, one step for each line read.

    /path/to/python kfac_jax_peer.py --batch_size=128

Standalone: it needs kfac-jax (0.0.8 works up to jax 0.9.1) and nothing of
ours. Prints a JSON line when it is ready, reads "plain", "factor" or "inverse"
from standard input, and answers each with a JSON line with the seconds of a
step that updates nothing, the factors, or the factors and all inverses; at the
end of the input it prints the medians. So `tfwd_tests.benchmarks.kfac` can run
it in turn with its own steps.

Sampled Fisher ("fisher_gradients"), π-adjusted factored damping, inverses by LU
(the default) or Cholesky; constant learning rate and momentum, as ours.
"""

import argparse
import json
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import kfac_jax

# The optimizer updates the factors every 10 steps and the inverses every 100,
# and knows the step by a counter that we set.
STEPS = {"plain": 1, "factor": 10, "inverse": 100}


def init(key, sizes):
    """Returns a kernel and a bias per layer."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, (n, m)) * (2 / n) ** 0.5, jnp.zeros(m))
        for k, n, m in zip(keys, sizes, sizes[1:], strict=False)
    ]


def loss(params, batch):
    """Returns the mean cross-entropy, registered with kfac-jax."""
    x, y = batch
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    logits = x @ w + b
    kfac_jax.register_softmax_cross_entropy_loss(logits, y)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))


def make_step(sizes, batch_size):
    """Returns a function of a kind of step that takes it."""
    x_key, y_key, init_key, key = jax.random.split(jax.random.PRNGKey(0), 4)
    batch = (
        jax.random.normal(x_key, (batch_size, sizes[0])),
        jax.random.randint(y_key, (batch_size,), 0, sizes[-1]),
    )
    optimizer = kfac_jax.Optimizer(
        value_and_grad_func=jax.value_and_grad(loss),
        l2_reg=0.0,
        estimation_mode="fisher_gradients",
        curvature_update_period=STEPS["factor"],
        inverse_update_period=STEPS["inverse"],
        num_burnin_steps=0,
    )
    params = init(init_key, sizes)
    state = optimizer.init(params, key, batch)
    constants = {
        "learning_rate": jnp.asarray(1e-4),
        "momentum": jnp.asarray(0.9),
        "damping": jnp.asarray(1e-3),
    }

    def step(kind):
        nonlocal params, state
        number = STEPS[kind]
        state.step_counter = jnp.array(number, dtype=int)
        params, state, _ = optimizer.step(
            params,
            state,
            key,
            batch=batch,
            global_step_int=number,
            **constants,
        )
        jax.block_until_ready(params)

    return step


def main():
    """Answers the lines of standard input."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--sizes", default="784,1000,500,250,30,10")
    parser.add_argument("--cholesky", action="store_true", help="instead of LU")
    options = parser.parse_args()
    if options.cholesky:
        kfac_jax.utils.set_use_cholesky_inversion(True)
    sizes = [int(size) for size in options.sizes.split(",")]
    step = make_step(sizes, options.batch_size)
    for kind in ("inverse", "plain"):  # one program each; both with inverses
        step(kind)
    print(json.dumps({"jax": jax.__version__}), flush=True)
    seconds = {}
    for line in sys.stdin:
        kind = line.strip()
        start = time.perf_counter()
        step(kind)
        seconds.setdefault(kind, []).append(time.perf_counter() - start)
        print(json.dumps({kind: seconds[kind][-1]}), flush=True)
    medians = {k: statistics.median(s) for k, s in seconds.items()}
    print(json.dumps({"medians": medians}), flush=True)


if __name__ == "__main__":
    main()
