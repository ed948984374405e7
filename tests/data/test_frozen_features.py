import numpy as np
import pytest
import torch

from optlab.data import ImageDataModule
from optlab.data.device_images import DeviceImages
from optlab.data.frozen_features import BATCH_SIZE, feature_rows

NUM_IMAGES = 40


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OPTLAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Body(torch.nn.Module):
    """Two features of an image, the sum and the maximum of its pixels; counts its work."""

    num_features = 2

    def __init__(self, checksum="a", fails_at=None):
        super().__init__()
        self.checksum, self.fails_at, self.num_batches = checksum, fails_at, 0

    def body_checksum(self):
        return self.checksum

    def extract_features(self, images):
        if self.num_batches == self.fails_at:
            raise KeyboardInterrupt
        self.num_batches += 1
        assert len(images) == BATCH_SIZE
        return torch.stack([images.sum(dim=(1, 2, 3)), images.amax(dim=(1, 2, 3))], dim=1)


def make_images():
    generator = torch.Generator().manual_seed(0)
    return DeviceImages(
        torch.randint(0, 256, (NUM_IMAGES, 1, 4, 4), dtype=torch.uint8, generator=generator),
        torch.arange(NUM_IMAGES),
        mean=(0.5,),
        std=(0.5,),
        device=torch.device("cpu"),
    )


def by_hand(indices):
    images = make_images()
    pixels = images.images[indices].float() / 127.5 - 1  # mean and deviation 0.5
    return torch.stack([pixels.sum(dim=(1, 2, 3)), pixels.amax(dim=(1, 2, 3))], dim=1)


def test_features_are_those_of_the_normalized_images():
    everything = torch.arange(NUM_IMAGES)
    rows = feature_rows(Body(), make_images(), everything, "images")
    torch.testing.assert_close(rows.normalize(rows.take(everything)), by_hand(everything))
    assert torch.equal(rows.labels, everything)
    assert len(rows) == NUM_IMAGES


def test_features_are_computed_once(cache):
    everything = torch.arange(NUM_IMAGES)
    first = feature_rows(Body(), make_images(), everything, "images")
    again = Body(fails_at=0)
    second = feature_rows(again, make_images(), everything, "images")
    assert torch.equal(first.images, second.images)
    assert len(list(cache.glob("features-*.npy"))) == 1


@pytest.mark.parametrize(("checksum", "key"), [("b", "images"), ("a", "other images")])
def test_other_weights_and_other_images_have_features_of_their_own(checksum, key, cache):
    indices = torch.arange(3)
    feature_rows(Body(), make_images(), indices, "images")
    body = Body(checksum)
    feature_rows(body, make_images(), indices, key)
    assert body.num_batches == 1
    assert len(list(cache.glob("features-*.npy"))) == 2


def test_only_the_images_that_are_asked_for_pass_through_the_body():
    body = Body()
    few = torch.tensor([30, 2, 17])
    rows = feature_rows(body, make_images(), few, "images")
    assert body.num_batches == 1
    torch.testing.assert_close(rows.take(few), by_hand(few))
    assert rows.images.isnan().any(dim=1).sum() == NUM_IMAGES - 3
    more = torch.tensor([2, 3, 4])
    rows = feature_rows(body, make_images(), more, "images")
    assert body.num_batches == 2
    torch.testing.assert_close(rows.take(torch.cat([few, more])), by_hand(torch.cat([few, more])))


def test_interrupted_extraction_resumes_where_it_stopped():
    everything = torch.arange(NUM_IMAGES)
    with pytest.raises(KeyboardInterrupt):
        feature_rows(Body(fails_at=2), make_images(), everything, "images")
    rest = Body()
    rows = feature_rows(rest, make_images(), everything, "images")
    assert rest.num_batches == 1  # 40 images are 3 batches of 16, of which 2 were done
    torch.testing.assert_close(rows.images, by_hand(everything))


def test_row_that_was_written_in_part_is_computed_again(cache):
    everything = torch.arange(NUM_IMAGES)
    feature_rows(Body(), make_images(), everything, "images")
    (path,) = cache.glob("features-*.npy")
    np.load(path, mmap_mode="r+")[5, 1] = np.nan
    rows = feature_rows(Body(), make_images(), everything, "images")
    torch.testing.assert_close(rows.images, by_hand(everything))


def test_damaged_file_is_named(cache):
    feature_rows(Body(), make_images(), torch.arange(3), "images")
    (path,) = cache.glob("features-*.npy")
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(ValueError, match=rf"{path.name} .*\bdamaged\b.*\n\nhint: "):
        feature_rows(Body(), make_images(), torch.arange(3), "images")


def test_cache_that_cannot_be_written_is_refused(cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(ValueError, match=rf"{cache}\b.*\n\nhint: .*\bOPTLAB_CACHE\b"):
        feature_rows(Body(), make_images(), torch.arange(3), "images")


# --- in the data module


def make_module(**options):
    module = ImageDataModule("digits", batch_size=100, **options)
    module.setup()
    return module


def test_every_loader_of_the_data_module_yields_features():
    images, features = make_module(), make_module()
    features.use_features(Body())
    for loader in (
        "train_dataloader",
        "val_dataloader",
        "test_dataloader",
        "train_eval_dataloader",
    ):
        pairs = zip(getattr(images, loader)(), getattr(features, loader)(), strict=True)
        for (pixels, labels), (rows, same_labels) in pairs:
            assert torch.equal(labels, same_labels)
            torch.testing.assert_close(rows[:, 0], pixels.sum(dim=(1, 2, 3)), rtol=1e-4, atol=1e-3)


def test_each_part_is_looked_up_once(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "optlab.data.module.feature_rows",
        lambda body, images, indices, key: asked.append(len(indices)) or images,
    )
    module = make_module(train_fraction=0.1)
    module.use_features(Body())
    for loader in (
        "train_dataloader",
        "val_dataloader",
        "test_dataloader",
        "train_eval_dataloader",
    ):
        getattr(module, loader)()
    assert asked == [module.num_train + module.num_val, module.num_test]


def test_normalization_is_part_of_what_tells_images_apart(cache):
    for normalize in ("half", "unit"):
        module = make_module(normalize=normalize)
        module.use_features(Body())
        module.test_dataloader()
    assert len(list(cache.glob("features-*.npy"))) == 2


def test_features_of_augmented_images_are_refused():
    module = make_module(augment={"horizontal_flip": True})
    with pytest.raises(
        ValueError, match=r"data\.augment .*\n\nhint: .*model\.cache_features=false"
    ):
        module.use_features(Body())
