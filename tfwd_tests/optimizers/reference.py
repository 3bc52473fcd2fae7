"""The update rules in plain numpy, float64, written from the papers.

Nothing here is shared with the library: one function per algorithm, in the
order and the notation of the papers, without any rearrangement for speed or
precision.
"""

import numpy as np


def train(
    algorithm,
    mode,
    theta,
    gradients,
    learning_rates,
    weight_decays,
    factors=None,
    rate_factors=None,
    **constants,
):
    """Returns the parameters after all steps.

    Args:
        algorithm: A key of `RULES`.
        mode: Mode of weight decay.
        theta: List of arrays.
        gradients: A list per step of arrays, or None for no gradient.
        learning_rates: η of each step.
        weight_decays: λ of each step.
        factors: Multiplier of λ for each array.
        rate_factors: Multiplier of the step, and of the decay beside it, for
            each array.
        **constants: The algorithm's constants.
    """
    theta = [np.array(x, dtype="float64") for x in theta]
    factors = [1.0] * len(theta) if factors is None else factors
    rate_factors = rate_factors or [1.0] * len(theta)
    state = [{} for _ in theta]
    first_rate = learning_rates[0]
    for t, (step_gradients, eta, lam) in enumerate(
        zip(gradients, learning_rates, weight_decays, strict=True), start=1
    ):
        active = [i for i, g in enumerate(step_gradients) if g is not None]
        if not active:
            continue
        g = [np.array(step_gradients[i], dtype="float64") for i in active]
        if mode == "l2":
            g = [
                x + lam * factors[i] * theta[i]
                for x, i in zip(g, active, strict=True)
            ]
        moves, scale, elementwise = RULES[algorithm](
            [state[i] for i in active],
            g,
            t,
            eta,
            {"eta_initial": first_rate, **constants},
        )
        for k, i in enumerate(active):
            if moves[k] is None:  # RAdam's no-op step
                continue
            rate = {
                "l2": 0.0,
                "decoupled": eta,
                "stable": eta * scale,
                "independent": 1.0,
                "elementwise": eta * elementwise[k] if elementwise else None,
            }[mode]
            # At most to zero, not past it.
            rate = rate * rate_factors[i]
            decayed = np.minimum(rate * lam * factors[i], 1.0) * theta[i]
            theta[i] = theta[i] - rate_factors[i] * moves[k] - decayed
    return theta


def mean_all(arrays):
    return np.concatenate([x.ravel() for x in arrays]).mean()


def power_or_zero(v, exponent):
    return 0.0 if v == 0 else v**exponent


def sgd(state, g, t, eta, c):
    """Xie et al. 2022, Algorithms 3 (folded), 7 and 8."""
    beta_1, beta_3 = c.get("momentum", 0.9), 1 - c.get("dampening", 0.0)
    moves = []
    for s, x in zip(state, g, strict=True):
        m = s.get("m", np.zeros_like(x))
        if c.get("folded_learning_rate"):
            s["m"] = beta_1 * m - eta * beta_3 * x
            look_ahead = beta_1 * s["m"] - eta * x
            moves.append(-(look_ahead if c.get("nesterov") else s["m"]))
        else:
            s["m"] = beta_1 * m + beta_3 * x
            look_ahead = x + beta_1 * s["m"]
            moves.append(eta * (look_ahead if c.get("nesterov") else s["m"]))
    return moves, beta_3 / (1 - beta_1), None


def moments(state, g, c, maximum=False, yogi=False):
    beta_1, beta_2 = c.get("beta_1", 0.9), c.get("beta_2", 0.999)
    v_0 = c.get("initial_accumulator_value", 1e-6) if yogi else 0.0
    for s, x in zip(state, g, strict=True):
        m, v = s.get("m", 0 * x), s.get("v", 0 * x + v_0)
        s["m"] = beta_1 * m + (1 - beta_1) * x
        if yogi:
            s["v"] = v - (1 - beta_2) * np.sign(v - x**2) * x**2
        else:
            s["v"] = beta_2 * v + (1 - beta_2) * x**2
        s["used"] = s["v"]
        if maximum:
            s["max"] = np.maximum(s.get("max", 0 * x), s["v"])
            s["used"] = s["max"]


def debiased_adam(state, t, eta, c, epsilon, exponent):
    beta_1, beta_2 = c.get("beta_1", 0.9), c.get("beta_2", 0.999)
    v_hat = [s["used"] / (1 - beta_2**t) for s in state]
    m_hat = [s["m"] / (1 - beta_1**t) for s in state]
    moves = [
        eta * m / (np.sqrt(v) + epsilon)
        for m, v in zip(m_hat, v_hat, strict=True)
    ]
    v_bar = mean_all(v_hat)
    offset = c.get("second_moment_offset", 0.0)
    scale = power_or_zero(v_bar + offset, -exponent)
    with np.errstate(divide="ignore"):
        elementwise = [np.where(v == 0, 0, v**-0.5) for v in v_hat]
    return moves, scale, elementwise


def adam(state, g, t, eta, c):
    """Kingma & Ba 2015, Algorithm 1; Xie et al. 2022, Algorithm 2."""
    moments(state, g, c)
    epsilon, p = c.get("epsilon", 1e-8), c.get("adaptivity", 0.5)
    return debiased_adam(state, t, eta, c, epsilon, p)


def amsgrad(state, g, t, eta, c):
    """Xie et al. 2022, Algorithms 5 and 6."""
    moments(state, g, c, maximum=True)
    epsilon, p = c.get("epsilon", 1e-8), c.get("adaptivity", 0.5)
    return debiased_adam(state, t, eta, c, epsilon, p)


def yogi(state, g, t, eta, c):
    """Zaheer et al. 2018, Algorithm 2, with debiased moments."""
    moments(state, g, c, yogi=True)
    epsilon, p = c.get("epsilon", 1e-3), c.get("adaptivity", 0.5)
    return debiased_adam(state, t, eta, c, epsilon, p)


def adai(state, g, t, eta, c):
    """Xie et al. 2022, Algorithm 4."""
    beta_0, beta_2 = c.get("beta_0", 0.1), c.get("beta_2", 0.99)
    epsilon = c.get("epsilon", 1e-3)
    for s, x in zip(state, g, strict=True):
        s["v"] = beta_2 * s.get("v", 0 * x) + (1 - beta_2) * x**2
    v_hat = [s["v"] / (1 - beta_2**t) for s in state]
    v_bar = mean_all(v_hat)
    moves = []
    for s, x, v in zip(state, g, v_hat, strict=True):
        ratio = v / v_bar if v_bar else 0 * v
        beta_1 = np.clip(1 - beta_0 * ratio, 0, 1 - epsilon)
        s["m"] = beta_1 * s.get("m", 0 * x) + (1 - beta_1) * x
        s["product"] = s.get("product", 1.0) * beta_1
        moves.append(eta * s["m"] / (1 - s["product"]))
    return moves, 1.0, None


def adabound(state, g, t, eta, c):
    """Luo et al. 2019, Algorithm 2, as in the published code."""
    moments(state, g, c)
    beta_1, beta_2 = c.get("beta_1", 0.9), c.get("beta_2", 0.999)
    epsilon, gamma = c.get("epsilon", 1e-8), c.get("gamma", 1e-3)
    final = c.get("final_learning_rate", 0.1)
    final *= eta / c["eta_initial"]
    low, high = final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))
    size = eta * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    moves = [
        np.clip(size / (np.sqrt(s["v"]) + epsilon), low, high) * s["m"]
        for s in state
    ]
    v_bar = mean_all([s["v"] for s in state]) / (1 - beta_2**t)
    return moves, power_or_zero(v_bar, -c.get("adaptivity", 0.5)), None


def padam(state, g, t, eta, c):
    """Chen et al. 2018, Algorithm 1, as in the published code."""
    moments(state, g, c, maximum=True)
    beta_1, beta_2 = c.get("beta_1", 0.9), c.get("beta_2", 0.999)
    epsilon, p = c.get("epsilon", 1e-8), c.get("partial", 0.25)
    size = eta * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    moves = [
        size * s["m"] / (np.sqrt(s["max"]) + epsilon) ** (2 * p) for s in state
    ]
    v_bar = mean_all([s["max"] for s in state]) / (1 - beta_2**t)
    return moves, power_or_zero(v_bar, -p), None


def radam(state, g, t, eta, c):
    """Liu et al. 2020, Algorithm 2, as in the published code."""
    moments(state, g, c)
    beta_1, beta_2 = c.get("beta_1", 0.9), c.get("beta_2", 0.999)
    epsilon = c.get("epsilon", 1e-8)
    rho_max = 2 / (1 - beta_2) - 1
    rho = rho_max - 2 * t * beta_2**t / (1 - beta_2**t)
    if rho < 5:
        return [None] * len(state), 0.0, None
    r = np.sqrt(
        (rho - 4) * (rho - 2) * rho_max / ((rho_max - 4) * (rho_max - 2) * rho)
    )
    size = eta * r * np.sqrt(1 - beta_2**t) / (1 - beta_1**t)
    moves = [size * s["m"] / (np.sqrt(s["v"]) + epsilon) for s in state]
    v_bar = mean_all([s["v"] for s in state]) / (1 - beta_2**t)
    return moves, r * power_or_zero(v_bar, -0.5), None


RULES = {
    "sgd": sgd,
    "adam": adam,
    "amsgrad": amsgrad,
    "adai": adai,
    "adabound": adabound,
    "padam": padam,
    "yogi": yogi,
    "radam": radam,
}
