from optlab.training.classifier import ImageClassifier


class DifferentiableGradients(ImageClassifier):
    """Give the optimizer gradients that it can differentiate, as AdaHessian and Sophia-H need."""

    def backward(self, loss):
        loss.backward(create_graph=True)
