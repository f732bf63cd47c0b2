import platform
import subprocess
import sys

import pytest

TEN_TENSORS = """
import resource, sys, torch
import alutils.training.loop
if "training" in sys.argv:
    from alutils.models import build_model
    from alutils.training.recipe import Recipe
    recipe = Recipe(
        epochs=1, steps=None, batch_size=2, learning_rate=0.1, weight_decay=0, class_weights=False, void_class=False,
        augmentation="none", precision="float32",
    )
    alutils.training.loop.Trainer(build_model("mnist_cnn", 10, seed=0), recipe)

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(2**24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc only")
def test_training_keeps_freed_memory_and_an_import_does_not():
    """Uses interpreters of their own: in that of the tests, other objects may occupy freed memory."""

    def faults(*arguments: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", TEN_TENSORS, *arguments]))

    assert faults("training") < faults() / 10
