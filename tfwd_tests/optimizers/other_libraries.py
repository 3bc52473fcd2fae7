"""The rules of PyTorch, optax and TensorFlow Addons in plain numpy, float64.

Written from the sources of torch 2.13.0, optax 0.2.8 and tfa 0.23.0. `GOLDEN`
holds what the first two give themselves, as printed by
`python -m tfwd_tests.optimizers.other_libraries` where they are installed.
"""

import numpy as np

STEPS = 8
# Two of the twelve parameters after all steps, in float64.
GOLDEN = {
    "torch.optim.SGD": (1.0470828025122456, 0.055867944996011),
    "torch.optim.Adam": (0.15609338253356322, 0.8959478523327606),
    "torch.optim.AdamW": (0.15576404011454484, 0.8972829997046147),
    "torch.optim.Adam, amsgrad": (0.1560853971733922, 0.8959508451247616),
    "torch.optim.AdamW, amsgrad": (0.15575530066412552, 0.8972862340111014),
    "torch.optim.RAdam": (0.16958051760680543, 0.9187692693745398),
    "torch.optim.RAdam, decoupled": (0.16904113897111714, 0.9162008611606007),
    "optax.amsgrad": (0.14713851771826375, 0.9204650315623999),
    "optax.radam": (0.17031076425438518, 0.9236172771883735),
}


def problem():
    """Returns parameters [12] and gradients [STEPS, 12] of decreasing size."""
    generator = np.random.default_rng(0)
    theta = generator.normal(size=12)
    sizes = 2.0 ** -np.arange(STEPS)[:, None]
    return theta, sizes * generator.normal(size=(STEPS, 12))


def torch_sgd(theta, gradients, lr, momentum=0.0, weight_decay=0.0):
    """`torch.optim.SGD` without dampening."""
    buffer = 0
    for g in gradients:
        buffer = momentum * buffer + g + weight_decay * theta
        theta = theta - lr * buffer
    return theta


def torch_adam(
    theta, gradients, lr, weight_decay=0.0, decoupled=False, amsgrad=False
):
    """`torch.optim.Adam`, and `AdamW` where it is decoupled."""
    m, v, v_max = 0, 0, 0
    for t, g in enumerate(gradients, start=1):
        if decoupled:
            theta = theta * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * theta
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        v_max = np.maximum(v_max, v)
        root = np.sqrt((v_max if amsgrad else v) / (1 - 0.999**t))
        theta = theta - lr * m / (1 - 0.9**t) / (root + 1e-8)
    return theta


def torch_radam(theta, gradients, lr, weight_decay=0.0, decoupled=False):
    """`torch.optim.RAdam`, which steps by η m̂ where it does not rectify."""
    m, v = 0, 0
    for t, g in enumerate(gradients, start=1):
        if decoupled:
            theta = theta * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * theta
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = lr * m / (1 - 0.9**t)
        r, rho = _rectification(t)
        if rho > 5:
            step *= r * np.sqrt(1 - 0.999**t) / (np.sqrt(v) + 1e-8)
        theta = theta - step
    return theta


def optax_amsgrad(theta, gradients, learning_rate):
    """`optax.amsgrad`: the maximum is that of the debiased v."""
    m, v, v_max = 0, 0, 0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        v_max = np.maximum(v_max, v / (1 - 0.999**t))
        m_hat = m / (1 - 0.9**t)
        theta = theta - learning_rate * m_hat / (np.sqrt(v_max) + 1e-8)
    return theta


def optax_radam(theta, gradients, learning_rate, eps=1e-8):
    """`optax.radam`: ε stands outside the root of the debiased v."""
    m, v = 0, 0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        step = learning_rate * m / (1 - 0.9**t)
        r, rho = _rectification(t)
        if rho >= 5:
            step *= r / (np.sqrt(v / (1 - 0.999**t)) + eps)
        theta = theta - step
    return theta


def tfa_adamw(theta, gradients, weight_decay, learning_rate, epsilon=1e-7):
    """`tfa.optimizers.AdamW`: θ ← θ − wθ, then the step of Keras' Adam."""
    m, v = 0, 0
    for t, g in enumerate(gradients, start=1):
        theta = theta - weight_decay * theta
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        size = learning_rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        theta = theta - size * m / (np.sqrt(v) + epsilon)
    return theta


def _rectification(t):
    longest = 2 / (1 - 0.999) - 1
    rho = longest - 2 * t * 0.999**t / (1 - 0.999**t)
    ratio = (rho - 4) * (rho - 2) * longest
    ratio /= (longest - 4) * (longest - 2) * rho
    return np.sqrt(max(ratio, 0)), rho


# name: (rule, arguments of both, of the rule alone)
CALLS = {
    "torch.optim.SGD": (
        torch_sgd,
        {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1},
        {},
    ),
    "torch.optim.Adam": (torch_adam, {"lr": 0.01, "weight_decay": 0.1}, {}),
    "torch.optim.AdamW": (
        torch_adam,
        {"lr": 0.01, "weight_decay": 0.1},
        {"decoupled": True},
    ),
    "torch.optim.Adam, amsgrad": (
        torch_adam,
        {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True},
        {},
    ),
    "torch.optim.AdamW, amsgrad": (
        torch_adam,
        {"lr": 0.01, "weight_decay": 0.1, "amsgrad": True},
        {"decoupled": True},
    ),
    "torch.optim.RAdam": (torch_radam, {"lr": 0.01, "weight_decay": 0.1}, {}),
    "torch.optim.RAdam, decoupled": (
        torch_radam,
        {"lr": 0.01, "weight_decay": 0.1},
        {"decoupled": True},
    ),
    "optax.amsgrad": (optax_amsgrad, {"learning_rate": 0.01}, {}),
    "optax.radam": (optax_radam, {"learning_rate": 0.01}, {}),
}


def written(name):
    """Returns what the rule written here gives for a row of `CALLS`."""
    rule, arguments, more = CALLS[name]
    return rule(*problem(), **arguments, **more)


def installed(name):
    """Returns what the library itself gives for a row of `CALLS`."""
    _, arguments, _ = CALLS[name]
    theta, gradients = problem()
    library, call = name.partition(",")[0].split(".", 1)
    if library == "torch":
        import torch

        weights = torch.nn.Parameter(torch.tensor(theta))
        if name == "torch.optim.RAdam, decoupled":
            arguments = {**arguments, "decoupled_weight_decay": True}
        cls = getattr(torch.optim, call.partition(".")[2])
        optimizer = cls([weights], **arguments)
        for g in gradients:
            weights.grad = torch.tensor(g)
            optimizer.step()
        return weights.detach().numpy()
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    optimizer = getattr(optax, call)(**arguments)
    weights = jax.numpy.asarray(theta)
    state = optimizer.init(weights)
    for g in gradients:
        updates, state = optimizer.update(jax.numpy.asarray(g), state)
        weights = optax.apply_updates(weights, updates)
    return np.asarray(weights)


if __name__ == "__main__":
    for each in CALLS:
        golden = installed(each)
        error = np.abs(golden - written(each)).max()
        print(f"{each!r}: {golden[[0, 7]].tolist()}, off by {error:.0e}")
