"""Likelihoods against the Hessian of −log p(y|z) in numpy, in float64."""

import keras
import numpy as np
import pytest
from keras import losses
from keras import ops

from tfwd.kfac import likelihoods
from tfwd.kfac import sampling
from tfwd_tests.kfac import compiling
from tfwd_tests.optimizers import harness

EXAMPLES, PREDICTIONS, OUTPUTS = 5, 3, 4
LOSSES = {
    "softmax": losses.CategoricalCrossentropy,
    "sigmoid": losses.BinaryCrossentropy,
    "gaussian": losses.MeanSquaredError,
}
ACTIVATIONS = {"softmax": ops.softmax, "sigmoid": ops.sigmoid}
# A dozen operations in each type.
TOLERANCES = {"float32": 2e-6, "float64": 1e-14}


def likelihood(distribution, from_logits=True):
    if distribution == "gaussian":
        return likelihoods.of_loss(losses.MeanSquaredError())
    return likelihoods.of_loss(LOSSES[distribution](from_logits=from_logits))


def logits(shape=(EXAMPLES, PREDICTIONS, OUTPUTS), scale=2.0):
    return scale * np.random.default_rng(3).normal(size=shape)


def tensor(array, dtype="float64"):
    return ops.convert_to_tensor(np.asarray(array), dtype=dtype)


def numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def probabilities(distribution, z):
    if distribution == "sigmoid":
        return 1 / (1 + np.exp(-z))
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def hessian(distribution, z):
    """Returns H [..., K, K] of the table in the library's `likelihoods`."""
    size = z.shape[-1]
    identity = np.broadcast_to(np.eye(size), (*z.shape, size))
    if distribution == "gaussian":
        return 2 / size * identity
    p = probabilities(distribution, z)
    if distribution == "sigmoid":
        return identity * (p * (1 - p))[..., None] / size
    return identity * p[..., None] - p[..., :, None] * p[..., None, :]


def second_moment(vectors):
    stacked = np.stack([numpy(v) for v in vectors]).astype("float64")
    return np.einsum("v...i,v...j->...ij", stacked, stacked)


def assert_close(actual, expected, tolerance):
    error = np.linalg.norm(actual - expected) / np.linalg.norm(expected)
    assert error <= tolerance


@pytest.fixture(autouse=True)
def float64():
    with harness.float64():
        yield


@pytest.mark.parametrize("distribution", LOSSES)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_exact_vectors_at_the_logits_square_to_the_hessian(distribution, dtype):
    z = logits()
    vectors = likelihood(distribution).exact_fisher(tensor(z, dtype))
    assert len(vectors) == OUTPUTS
    assert {keras.backend.standardize_dtype(v.dtype) for v in vectors} == {
        dtype
    }
    expected = hessian(distribution, z)
    assert_close(second_moment(vectors), expected, TOLERANCES[dtype])


@pytest.mark.parametrize("distribution", ACTIVATIONS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_exact_vectors_at_the_probabilities_square_to_it_at_the_logits(
    distribution, dtype
):
    """Jᵀ v, with J the backend's own Jacobian of the activation."""
    z = logits()
    activation = ACTIVATIONS[distribution]
    p = activation(tensor(z, dtype))
    vectors = compiling.pulled_back(
        activation,
        tensor(z, dtype),
        likelihood(distribution, from_logits=False).exact_fisher(p),
    )
    expected = hessian(distribution, z)
    assert_close(second_moment(vectors), expected, TOLERANCES[dtype])


def test_a_gaussian_output_of_one_number_has_the_hessian_2():
    (vector,) = likelihood("gaussian").exact_fisher(tensor(logits((7, 1, 1))))
    np.testing.assert_allclose(numpy(vector) ** 2, 2.0, rtol=1e-15)


def test_exact_gauss_newton_vectors_are_the_unit_vectors():
    vectors = likelihood("softmax").exact_gauss_newton(tensor(logits()))
    for k, vector in enumerate(vectors):
        expected = np.broadcast_to(
            np.eye(OUTPUTS)[k], (EXAMPLES, PREDICTIONS, OUTPUTS)
        )
        np.testing.assert_array_equal(numpy(vector), expected)
    assert len(vectors) == OUTPUTS


@pytest.mark.parametrize("distribution", LOSSES)
@pytest.mark.parametrize("predictions", [1, PREDICTIONS])
def test_sampled_gauss_newton_vectors_are_the_signs(distribution, predictions):
    z = tensor(logits((EXAMPLES, predictions, OUTPUTS)))
    examples = ops.arange(EXAMPLES, dtype="int32")
    vector = likelihood(distribution).sampled_gauss_newton(z, examples, 9, 4)
    signs = sampling.signs(examples, 9, 4, predictions * OUTPUTS)
    assert keras.backend.standardize_dtype(vector.dtype) == "float64"
    np.testing.assert_array_equal(
        numpy(vector), numpy(signs).reshape(EXAMPLES, predictions, OUTPUTS)
    )


def test_a_sampled_class_is_where_the_cumulative_probability_passes_u():
    z = logits()
    examples = ops.arange(EXAMPLES, dtype="int32")
    u = numpy(sampling.uniform(examples, 9, 4, PREDICTIONS))
    p = probabilities("softmax", z)
    labels = np.sum(np.cumsum(p, axis=-1) < u[..., None], axis=-1)
    assert len(np.unique(labels)) == OUTPUTS
    actual = likelihood("softmax").sampled_fisher(tensor(z), examples, 9, 4)
    np.testing.assert_allclose(
        numpy(actual), p - np.eye(OUTPUTS)[labels], rtol=0, atol=1e-15
    )


def test_a_sampled_binary_label_is_1_where_u_is_below_p():
    z = logits()
    examples = ops.arange(EXAMPLES, dtype="int32")
    u = numpy(sampling.uniform(examples, 9, 4, PREDICTIONS * OUTPUTS))
    p = probabilities("sigmoid", z)
    expected = (p - (u.reshape(p.shape) < p)) / np.sqrt(OUTPUTS)
    actual = likelihood("sigmoid").sampled_fisher(tensor(z), examples, 9, 4)
    np.testing.assert_allclose(numpy(actual), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("distribution", ACTIVATIONS)
@pytest.mark.parametrize("dtype", TOLERANCES)
def test_a_sample_at_the_probabilities_is_the_same_one_at_the_logits(
    distribution, dtype
):
    z = tensor(logits((200, PREDICTIONS, OUTPUTS)), dtype)
    draw = (ops.arange(200, dtype="int32"), 9, 4)
    activation = ACTIVATIONS[distribution]
    vector = likelihood(distribution, False).sampled_fisher(
        activation(z), *draw
    )
    (actual,) = compiling.pulled_back(activation, z, [vector])
    expected = likelihood(distribution).sampled_fisher(z, *draw)
    assert_close(numpy(actual), numpy(expected), TOLERANCES[dtype])


@pytest.mark.parametrize("distribution", LOSSES)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_sample_has_the_type_and_shape_of_the_output(distribution, dtype):
    z = tensor(logits(), dtype)
    vector = likelihood(distribution).sampled_fisher(
        z, ops.arange(EXAMPLES, dtype="int32"), 0, 0
    )
    assert keras.backend.standardize_dtype(vector.dtype) == dtype
    assert tuple(vector.shape) == (EXAMPLES, PREDICTIONS, OUTPUTS)


@pytest.mark.parametrize("way", compiling.WAYS)
@pytest.mark.parametrize("distribution", LOSSES)
def test_sampled_vectors_have_the_hessian_as_covariance(distribution, way):
    """To five standard errors of their products, found by the samples."""
    count = 20_000
    z = logits((1, 2, OUTPUTS), scale=1.0)

    def sampled(z, examples):
        return likelihood(distribution).sampled_fisher(z, examples, 3, 0)

    vectors = compiling.run(
        way,
        sampled,
        tensor(np.repeat(z, count, axis=0), "float32"),
        ops.arange(count, dtype="int32"),
    )
    v = numpy(vectors).astype("float64")
    products = v[..., :, None] * v[..., None, :]
    # The diagonal of the Gaussian is off by 2/K · √(2/count) at one error; a
    # product that never varies (none here) would need none.
    error = products.std(axis=0) / np.sqrt(count)
    assert error.max() < 0.01
    off = np.abs(products.mean(axis=0) - hessian(distribution, z)[0])
    assert np.all(off < 5 * error)
    assert np.all(np.abs(v.mean(axis=0)) < 5 * v.std(axis=0) / np.sqrt(count))
    # Predictions of one example are sampled independently.
    across = np.mean(v[:, 0, :, None] * v[:, 1, None, :], axis=0)
    assert np.all(np.abs(across) < 5 / np.sqrt(count))


@pytest.mark.parametrize("distribution", LOSSES)
def test_parts_of_a_batch_sample_what_the_whole_does(distribution):
    z = logits((12, PREDICTIONS, OUTPUTS))
    examples = np.arange(40, 52, dtype="int32")

    def sampled(rows):
        return numpy(
            likelihood(distribution).sampled_fisher(
                tensor(z[rows]), ops.convert_to_tensor(examples[rows]), 3, 0
            )
        )

    parts = [sampled(slice(0, 5)), sampled(slice(5, 12))]
    # The normal numbers alone differ, by their rounding in float32.
    np.testing.assert_allclose(
        np.concatenate(parts), sampled(slice(0, 12)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("distribution", ACTIVATIONS)
@pytest.mark.parametrize("from_logits", [True, False])
def test_a_saturated_output_has_finite_vectors(distribution, from_logits):
    """Probabilities of 0 and 1, up to what a processor's softmax rounds off."""
    z = np.full((300, 1, 3), -200.0)
    z[:, :, 1] = 200.0
    z = tensor(z, "float32")
    activation = ACTIVATIONS[distribution]
    p = numpy(activation(z))
    assert np.max(np.abs(p - np.round(p))) <= 2.0**-24
    tested = likelihood(distribution, from_logits)
    output = z if from_logits else activation(z)
    examples = ops.arange(300, dtype="int32")
    vectors = [
        *tested.exact_fisher(output),
        tested.sampled_fisher(output, examples, 0, 0),
    ]
    assert all(np.all(np.isfinite(numpy(v))) for v in vectors)
    if not from_logits:
        vectors = compiling.pulled_back(activation, z, vectors)
    for vector in vectors:
        np.testing.assert_allclose(numpy(vector), 0.0, atol=2.0**-23)


def test_the_highest_random_number_draws_no_impossible_label():
    """At step 7 the upper 24 bits of example 4065 are all set in column 7."""
    examples = ops.convert_to_tensor(np.array([4065], "int32"))
    z = tensor(np.full((1, 8, 1), 200.0), "float32")
    vector = likelihood("sigmoid").sampled_fisher(z, examples, 7, 0)
    np.testing.assert_array_equal(numpy(vector), 0.0)


def test_probabilities_that_sum_to_less_than_1_draw_no_impossible_class():
    """Rounded sums may end below the highest random number; the last p is 0."""
    p = np.array([0.25, 0.25, 0.5 - 2**-12, 0.0], "float32")
    examples = ops.convert_to_tensor(np.array([4065], "int32"))
    outputs = ops.convert_to_tensor(np.tile(p, (1, 8, 1)))
    vector = likelihood("softmax", False).sampled_fisher(
        outputs, examples, 7, 0
    )
    np.testing.assert_array_equal(numpy(vector)[..., -1], 0.0)


NAMES = [
    ("categorical_crossentropy", "softmax", False),
    ("sparse_categorical_crossentropy", "softmax", False),
    ("CategoricalCrossentropy", "softmax", False),
    ("binary_crossentropy", "sigmoid", False),
    ("mse", "gaussian", True),
    ("mean_squared_error", "gaussian", True),
    (losses.categorical_crossentropy, "softmax", False),
    (losses.sparse_categorical_crossentropy, "softmax", False),
    (losses.binary_crossentropy, "sigmoid", False),
    (losses.mean_squared_error, "gaussian", True),
    (losses.CategoricalCrossentropy(), "softmax", False),
    (losses.CategoricalCrossentropy(from_logits=True), "softmax", True),
    (losses.SparseCategoricalCrossentropy(from_logits=True), "softmax", True),
    (losses.BinaryCrossentropy(from_logits=True), "sigmoid", True),
    (losses.BinaryCrossentropy(label_smoothing=0.1), "sigmoid", False),
    (losses.MeanSquaredError(reduction="sum"), "gaussian", True),
]


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: [x], lambda x: {"y": x}]
)
@pytest.mark.parametrize(("loss", "distribution", "from_logits"), NAMES)
def test_a_loss_names_its_likelihood(loss, distribution, from_logits, wrap):
    found = likelihoods.of_loss(wrap(loss))
    assert (found.distribution, found.from_logits) == (
        distribution,
        from_logits,
    )
    assert isinstance(found.loss, losses.Loss)
    if isinstance(loss, losses.Loss):
        assert found.loss is loss


class OwnMeanSquaredError(losses.MeanSquaredError):
    pass


def own_loss(y, prediction):
    return ops.mean((y - prediction) ** 2, axis=-1)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("mae", "^`loss` must be a categorical.* Received: loss='mae'$"),
        (losses.Huber(), "^`loss` must be a categorical.* Received: loss=<"),
        (own_loss, "^`loss` must be a categorical.* Received: loss=<function"),
        (OwnMeanSquaredError(), "^`loss` must be a categorical.* Received"),
        (losses.KLDivergence(), "^`loss` must be a categorical.* Received"),
        (
            losses.CategoricalFocalCrossentropy(from_logits=True),
            "^`loss` must be a categorical.* Received",
        ),
        (
            losses.CategoricalCrossentropy(axis=1),
            "^`loss` must have axis=-1 .* Received: .*'axis': 1",
        ),
        (
            losses.BinaryCrossentropy(axis=1),
            "^`loss` must have axis=-1 .* Received: .*'axis': 1",
        ),
        (
            losses.SparseCategoricalCrossentropy(ignore_class=255),
            "^`loss` must .* no ignore_class .* Received: .*255",
        ),
        (["mse", "mse"], "^`loss` must be a single one. Received: loss="),
        ({"a": "mse", "b": "mse"}, "^`loss` must be a single one. Rec"),
        ([], r"^`loss` must be a single one. Received: loss=\[\]$"),
    ],
)
def test_a_loss_without_a_known_likelihood_is_refused_in_one_line(
    loss, message
):
    with pytest.raises(ValueError, match=message) as error:
        likelihoods.of_loss(loss)
    assert "\n" not in str(error.value)
