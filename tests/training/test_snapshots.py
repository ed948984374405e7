import pytest
import torch

from optlab.runs.folder import RunFolder
from optlab.training.snapshots import Snapshots

SHORT = ("optimizer=sgd", "+trainer.limit_train_batches=8", "trainer.max_epochs=2")


def test_weights_are_saved_at_the_start_after_some_steps_and_after_each_epoch(train):
    done = train(*SHORT, "callbacks=snapshots", "callbacks.snapshots.steps=[3]")
    files = sorted(RunFolder(done.folder).snapshots.iterdir())
    assert [each.name for each in files] == [f"step-{step:06d}.pt" for step in (0, 3, 8, 16)]
    first, *_, last = (torch.load(each, weights_only=True) for each in files)
    weights = done.weights("last")
    for name in weights:  # rounded to half precision, 2**-11 of each number
        torch.testing.assert_close(last[name].float(), weights[name], rtol=2**-11, atol=1e-7)
    assert any(not torch.equal(first[name], last[name]) for name in weights)


def test_step_zero_is_refused():
    with pytest.raises(ValueError, match=r"callbacks\.snapshots\.steps"):
        Snapshots("snapshots", steps=[0])
