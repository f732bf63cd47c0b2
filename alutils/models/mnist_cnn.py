"""The thesis's network for digits of 28x28 pixels."""

from torch import Tensor, nn

from alutils.models.base import SplitModel


class MnistCnn(SplitModel):
    """Two 3x3 convolutions, max pooling, a hidden layer of 128 units, dropout 0.5 and a linear layer."""

    def __init__(self, num_classes: int):
        super().__init__()
        self.convs = nn.Sequential(
            nn.Conv2d(1, 32, 3),
            nn.ReLU(inplace=True),
            nn.Conv2d(32, 64, 3),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(9216, 128), nn.ReLU(inplace=True))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, num_classes))

    def encode(self, images: Tensor) -> Tensor:
        """Return the hidden units (N, 128) of images (N, 1, 28, 28)."""
        maps = self.convs(images)  # (N, 64, 12, 12)
        return self.hidden(maps)  # (N, 128)

    def decode(self, features: Tensor) -> Tensor:
        """Return logits (N, classes) of hidden units (N, 128)."""
        return self.head(features)
