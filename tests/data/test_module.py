import lightning.pytorch as L
import pytest
import torch

from optlab.data import ImageDataModule, load_dataset
from optlab.data.device_images import device_images

# Lightning 2.6.6 asks torch in a way that torch 2.15 calls deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


def make_module(**options):
    module = ImageDataModule("digits", **options)
    module.setup()
    return module


class Recorder(L.LightningModule):
    """Trains nothing worth having; keeps the labels of each epoch as they arrive."""

    def __init__(self, stop_after=None):
        super().__init__()
        self.automatic_optimization = False
        self.layer = torch.nn.Linear(1, 1)
        self.epochs = {}
        self.evaluated = {}
        self.stop_after = stop_after  # batches

    def training_step(self, batch, batch_idx):
        _, labels = batch
        self.epochs.setdefault(self.current_epoch, []).append(labels.clone())
        if self.stop_after == self.trainer.fit_loop.epoch_loop.total_batch_idx + 1:
            raise KeyboardInterrupt

    def validation_step(self, batch, batch_idx):
        self.evaluated.setdefault("val", []).append(batch[1])

    def test_step(self, batch, batch_idx):
        self.evaluated.setdefault("test", []).append(batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def make_trainer(tmp_path, **flags):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    flags = {"enable_checkpointing": False, "num_sanity_val_steps": 0, **quiet, **flags}
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        default_root_dir=tmp_path,
        use_distributed_sampler=False,
        **flags,
    )


def labels_of(module, epoch):
    loader = module.train_dataloader()
    loader._get_epoch = lambda: epoch
    return [labels for _, labels in loader]


def assert_same(first, second):
    assert len(first) == len(second)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_setup_tells_the_facts_of_the_set():
    module = make_module()
    source = load_dataset("digits")
    assert (module.in_channels, module.image_size, module.num_classes) == (1, 28, 10)
    # a tenth of 1,437 images is held out
    assert (module.num_train, module.num_val, module.num_test) == (1293, 144, 360)
    assert module.checksum == source.checksum
    assert module.class_names == list("0123456789")
    assert module.title.startswith("UCI digits")
    assert (module.mean, module.std) == (source.mean, source.std)


def test_train_and_validation_are_disjoint_and_test_is_the_official_part():
    module = make_module()
    assert not set(module.train_indices.tolist()) & set(module.val_indices.tolist())
    labels = torch.cat([labels for _, labels in module.test_dataloader()])
    assert torch.equal(labels, load_dataset("digits").test_labels)


def test_validation_images_are_those_of_its_indices_and_not_augmented():
    module = make_module(augment={"crop_padding": 4, "rotation_degrees": 30.0})
    pixels = load_dataset("digits").train_images[module.val_indices].double() / 255
    images = torch.cat([images for images, _ in module.val_dataloader()])
    assert (images - (pixels - module.mean[0]) / module.std[0]).abs().max() < 1e-5


def test_train_eval_shows_the_training_images_in_fixed_order_without_augmentation():
    module = make_module(augment={"crop_padding": 4})
    source = load_dataset("digits")
    images, labels = map(torch.cat, zip(*module.train_eval_dataloader(), strict=True))
    assert torch.equal(labels, source.train_labels[module.train_indices])
    pixels = source.train_images[module.train_indices].double() / 255
    assert (images - (pixels - module.mean[0]) / module.std[0]).abs().max() < 1e-5


def test_train_eval_can_be_a_stratified_part():
    loader = make_module().train_eval_dataloader(max_images=100)
    labels = torch.cat([labels for _, labels in loader])
    assert len(labels) == 100
    assert set(labels.bincount().tolist()) <= {9, 10, 11}


def test_split_depends_neither_on_the_run_seed_nor_on_the_batch_size():
    first, second = make_module(seed=0), make_module(seed=5, batch_size=32)
    assert torch.equal(first.val_indices, second.val_indices)
    assert torch.equal(first.train_indices, second.train_indices)


def test_images_are_on_a_device_once_per_process():
    first, second = make_module().train_dataloader(), make_module(seed=3).train_dataloader()
    assert first._data is second._data
    source = load_dataset("digits")
    on_cpu = device_images(source, "train", torch.device("cpu"), source.mean, source.std)
    assert on_cpu.images.data_ptr() == source.train_images.data_ptr()  # no copy on the CPU


def test_several_seeds_make_batches_equal_to_each_seed_alone():
    together = make_module()
    together.seeds = [3, 1]
    images, _ = next(iter(together.train_dataloader()))
    for row, seed in enumerate([3, 1]):
        alone, _ = next(iter(make_module(seed=seed).train_dataloader()))
        assert torch.equal(images[row], alone)


def test_overfitting_some_batches_sees_the_same_ones_in_every_epoch(tmp_path):
    recorder, module = Recorder(), make_module()
    make_trainer(tmp_path, max_epochs=2, overfit_batches=3).fit(recorder, datamodule=module)
    assert [len(recorder.epochs[epoch]) for epoch in (0, 1)] == [3, 3]
    assert_same(recorder.epochs[1], recorder.epochs[0])


def test_fit_validate_and_test_see_the_right_images_without_a_warning(tmp_path):
    module, recorder = make_module(seed=7), Recorder()
    trainer = make_trainer(tmp_path, max_epochs=3)
    trainer.fit(recorder, datamodule=module)
    trainer.test(recorder, datamodule=module)
    assert list(recorder.epochs) == [0, 1, 2]
    for epoch, labels in recorder.epochs.items():
        assert_same(labels, labels_of(module, epoch))
    assert torch.equal(torch.cat(recorder.evaluated["test"]), load_dataset("digits").test_labels)
    assert sum(map(len, recorder.evaluated["val"])) == 3 * module.num_val


def test_fit_with_sanity_check_and_reload_sees_the_same_batches(tmp_path):
    module, recorder = make_module(), Recorder()
    trainer = make_trainer(
        tmp_path, max_epochs=3, num_sanity_val_steps=1, reload_dataloaders_every_n_epochs=1
    )
    trainer.fit(recorder, datamodule=module)
    for epoch in range(3):
        assert_same(recorder.epochs[epoch], labels_of(module, epoch))


class SaveLast(L.Callback):
    def __init__(self, path):
        self.path = path

    def on_train_epoch_end(self, trainer, *args):
        trainer.save_checkpoint(self.path)


def test_resumed_fit_sees_the_batches_that_it_would_have_seen(tmp_path):
    # an epoch has 21 batches; the run dies in the second
    path = tmp_path / "last.ckpt"
    trainer = make_trainer(tmp_path, max_epochs=3, callbacks=[SaveLast(path)])
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer.fit(Recorder(stop_after=21 + 9), datamodule=make_module())
    resumed, module = Recorder(), make_module()
    trainer = make_trainer(tmp_path, max_epochs=3)
    trainer.fit(resumed, datamodule=module, ckpt_path=path, weights_only=True)
    assert sorted(resumed.epochs) == [1, 2]
    for epoch in (1, 2):
        assert_same(resumed.epochs[epoch], labels_of(module, epoch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size .*\b0\b.* >= 1"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size .*\b0\b"),
        ({"augment": {"crop_padding": -4}}, r"data\.augment\.crop_padding .*-4\b"),
        (
            {"augment": {"crop_pading": 4}},
            r"data\.augment .*\bcrop_pading\b(?s:.*)hint: .*\bcrop_padding\b",
        ),
        ({"augment": {"crop_padding": 28}}, r"crop_padding .*\b28\b.* < 28\b"),
        ({"num_folds": 5, "fold": 5}, r"data\.fold .*\b5\b.*data\.num_folds .*\b5\b"),
        ({"image_size": 32}, r"data\.image_size .*\b32\b.*data=digits\b"),
    ],
)
def test_option_out_of_range_is_named(options, message):
    with pytest.raises(ValueError, match=message):
        make_module(**options)


def test_augment_options_that_change_nothing_cost_nothing():
    options = {"crop_padding": 0, "crop_fill": "zero", "rotation_degrees": 0.0}
    assert make_module(augment=options).augmentation is None
    assert make_module(augment=None).augmentation is None
