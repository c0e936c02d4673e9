"""The network once more, in NumPy, from the paper: what the model is compared with."""

from dataclasses import dataclass

import numpy as np

ACTIVATIONS = {
    "tanh": (np.tanh, lambda y: 1 - y * y),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda y: y * (1 - y)),
    "relu": (lambda x: np.maximum(x, 0), lambda y: (y > 0).astype(y.dtype)),
    "linear": (lambda x: x, np.ones_like),
}


@dataclass
class Reference:
    """Double precision; `parameters` in the order of the original's model file."""

    parameters: list
    activation: str
    output_activation: str | None = None

    def layers(self):
        """Weight and bias numbers, weights transposed or not, of both directions."""
        if len(self.parameters) == 16:
            one = [(0, 1, False), (2, 3, False), (4, 5, False), (6, 7, False)]
            two = [(w + 8, b + 8, t) for w, b, t in one]
            return one, two
        one = [(0, 1, False), (2, 3, False), (4, 5, False), (6, 7, False)]
        two = [(8, 9, False), (4, 10, True), (2, 11, True), (12, 13, False)]
        return one, two

    def functions(self, depth):
        last = self.output_activation or self.activation
        return ACTIVATIONS[last if depth == 3 else self.activation]

    def run(self, values, direction):
        """The values after every layer, the input first."""
        after = [values.astype(np.float64)]
        for depth, (weight, bias, turned) in enumerate(self.layers()[direction]):
            matrix = self.parameters[weight].T if turned else self.parameters[weight]
            after.append(self.functions(depth)[0](after[-1] @ matrix + self.parameters[bias]))
        return after

    def loss(self, first, second):
        errors = [(self.run(first, 0)[-1] - second), (self.run(second, 1)[-1] - first)]
        return sum((e**2).sum() for e in errors) / (len(first) * sum(e.shape[1] for e in errors))

    def gradients(self, first, second):
        """Of the loss, by hand-written back-propagation."""
        count = len(first) * (first.shape[1] + second.shape[1])
        gradients = [np.zeros_like(p, dtype=np.float64) for p in self.parameters]
        for direction, (source, target) in enumerate([(first, second), (second, first)]):
            after = self.run(source, direction)
            signal = 2 * (after[-1] - target) / count
            for depth in (3, 2, 1, 0):
                weight, bias, turned = self.layers()[direction][depth]
                signal = signal * self.functions(depth)[1](after[depth + 1])
                slope = after[depth].T @ signal
                gradients[weight] += slope.T if turned else slope
                gradients[bias] += signal.sum(axis=0)
                matrix = self.parameters[weight].T if turned else self.parameters[weight]
                signal = signal @ matrix.T
        return gradients
