"""Layer-wise rate decay: the nearer to the input, the slower a layer moves."""

import collections.abc
import re

import keras

from tfwd import arguments
from tfwd.diagnostics.scale_invariance import graph as graph_lib
from tfwd.optimizers import presets
from tfwd.optimizers import selection


def multipliers(
    model: keras.Model,
    factor: float = 0.75,
    blocks: collections.abc.Sequence[str | keras.layers.Layer] | None = None,
) -> dict[str, float]:
    """Returns the learning rate multipliers of layer-wise rate decay.

    ```
    ηₖ = η·factor^(L + 1 − k)        k = 0 the embeddings, 1 … L the blocks,
                                     L + 1 the head
    ```

    so that the head has η, the last block factor·η, and so on.

    Without `blocks`, L + 1 − k is read off the graph of the model: it is the
    number of weight layers that lie between a layer and the output, along the
    longest way. A weight layer is one that holds a weight, a variable of at
    least two dimensions that is no bias and no scale: `Dense`,
    `MultiHeadAttention`, `Embedding`, a whole encoder block where that is one
    layer. So layers side by side have one rate, each head of several has η, and
    a normalization has that of the weight layer before it. Functional and
    sequential models inside are entered; a layer that is called several times
    has the rate of its use farthest from the output, the lowest, and one that
    the graph does not call has η.

    A block of several layers (attention and MLP of a vision transformer, two
    convolutions of a residual block) would so count as several. Then `blocks`
    tells them: what stands before the first, in the order of
    `model.trainable_variables`, is k = 0, what stands after the last is the
    head, a final normalization too, and what stands between two belongs to the
    first of them.

    ```python
    model = keras.Sequential(
        [keras.Input((8,))] + [keras.layers.Dense(8) for _ in range(3)]
    )
    optimizer = tfwd.AdamW(
        1e-3, 0.05, learning_rate_multipliers=tfwd.layerwise(model, 0.75)
    )
    ```

    Args:
        model: A built model, with the layers frozen that shall be. Functional
            or sequential, unless `blocks` is given.
        factor: In (0, 1]. ELECTRA has 0.8 and 0.9, ULMFiT 1/2.6.
        blocks: None, or a list of the blocks, the one nearest to the input
            first: each a regular expression that is searched in the paths of
            variables, or a layer. `[f"block_{i}/" for i in range(12)]`

    Returns:
        A dict from a pattern to a float in [0, 1] for each trainable variable,
        as the argument `learning_rate_multipliers` takes it. A pattern matches
        the path of one variable and no other.

    Raises:
        ValueError: If an argument breaks its rule; if the model has no graph;
            if a block has no trainable variable, or shares one with another;
            if variables of one path have different multipliers.

    References:
        Bao et al. 2022, BEiT (https://arxiv.org/abs/2106.08254), whose code
        counts as `blocks` do. Clark et al. 2020, ELECTRA
        (https://arxiv.org/abs/2003.10555), Appendix B. Howard & Ruder 2018
        (https://arxiv.org/abs/1801.06146), Section 3.2, "discriminative
        fine-tuning", with 1/2.6. They multiply the learning rate alone, and so
        the decay of AdamW, which is times the learning rate.
    """
    arguments.check_model("model", model)
    factor = arguments.check_interval("factor", factor, 0, 1, open_low=True)
    if blocks is None:
        heights = _heights_of_graph(model)
    else:
        heights = _heights_of_blocks(model, blocks)
    result: dict[str, float] = {}
    for variable in model.trainable_variables:
        multiplier = factor ** heights.get(id(variable), 0)
        pattern = selection.exactly(variable)
        if result.setdefault(pattern, multiplier) != multiplier:
            raise ValueError(
                "`model` must have different paths for variables of different "
                f"multipliers. Received: {selection.path_of(variable)} for "
                f"{result[pattern]:g} and {multiplier:g}"
            )
    return result


def _heights_of_graph(model):
    """Returns {id of a variable: weight layers between it and the output}."""
    graph = graph_lib.of_model(model)
    if graph is None:
        raise ValueError(
            "`model` must be a functional or sequential model that is built, "
            "or come with `blocks`. "
            f"Received: model={arguments.shown(model)}"
        )
    weights = {id(v) for v in model.variables if _is_weight(v)}
    # Of a tensor it is the number of weight layers that read it in a row.
    of_tensors, of_variables = {}, {}
    for call in reversed(graph.calls):
        height = max(
            (of_tensors.get(id(x), 0) for x in call.outputs), default=0
        )
        for variable in call.variables:
            known = of_variables.get(variable, 0)
            of_variables[variable] = max(known, height)
        below = height + bool(weights & call.variables)
        for tensor in call.inputs:
            known = of_tensors.get(id(tensor), 0)
            of_tensors[id(tensor)] = max(known, below)
    return of_variables


def _is_weight(variable):
    path, shape = selection.path_of(variable), selection.shape_of(variable)
    return len(shape) > 1 and not any(
        presets.PRESETS[name](path, shape) for name in ("@bias", "@norm")
    )


def _heights_of_blocks(model, blocks):
    """Returns {id of a variable: L + 1 − k}."""
    variables = model.trainable_variables
    numbers = _numbers(variables, _checked(blocks))
    last = max(i for i, number in enumerate(numbers) if number)
    heights, current = {}, 0
    for i, (variable, number) in enumerate(
        zip(variables, numbers, strict=True)
    ):
        current = number or current
        k = len(blocks) + 1 if i > last else current
        heights[id(variable)] = len(blocks) + 1 - k
    return heights


def _checked(blocks):
    is_list = isinstance(blocks, (list, tuple)) and len(blocks)
    if not is_list or not all(
        isinstance(block, (str, keras.Layer)) for block in blocks
    ):
        raise ValueError(
            "`blocks` must be a list of patterns or layers. "
            f"Received: blocks={arguments.shown(blocks, repr)}"
        )
    for block in blocks:
        try:
            re.compile(block if isinstance(block, str) else "")
        except re.error as error:
            raise ValueError(
                f"`blocks` must hold regular expressions: {error}. "
                f"Received: blocks={arguments.shown(blocks, repr)}"
            ) from None
    return blocks


def _numbers(variables, blocks):
    """Returns for each variable the number of its block, from one, or 0."""
    numbers = [0] * len(variables)
    for number, block in enumerate(blocks, start=1):
        found = [i for i, v in enumerate(variables) if _is_in(v, block)]
        taken = [i for i in found if numbers[i]]
        if taken or not found:
            shown = block if isinstance(block, str) else block.name
            rest = "which matches none"
            if taken:
                path = selection.path_of(variables[taken[0]])
                rest = f"which has {path} of block {numbers[taken[0]]}"
            raise ValueError(
                "`blocks` must each have trainable variables, all of their "
                f"own. Received: {arguments.shown(shown, repr)}, {rest}"
            )
        for i in found:
            numbers[i] = number
    return numbers


def _is_in(variable, block):
    if isinstance(block, str):
        return re.search(block, selection.path_of(variable)) is not None
    return any(variable is each for each in block.variables)
