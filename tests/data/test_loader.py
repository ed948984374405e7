import pytest
import torch

from optlab.data import loader as loader_module
from optlab.data.augment import Augmentation
from optlab.data.device_images import DeviceImages
from optlab.data.loader import EvalLoader, TrainLoader

NUM_IMAGES = 103
ALL_CHANGES = Augmentation(
    crop_padding=2, horizontal_flip=True, rotation_degrees=20.0, scale_range=0.1, cutout_pixels=3
)
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


def make_data(channels=3):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (120, channels, 9, 9), dtype=torch.uint8, generator=generator)
    return DeviceImages(
        images,
        torch.arange(120),  # the label tells which image it is
        mean=MEAN[:channels],
        std=STD[:channels],
        device=torch.device("cpu"),
    )


def make_loader(data=None, epoch=0, **options):
    defaults = {"batch_size": 16, "seeds": [0], "get_epoch": lambda: epoch}
    indices = torch.arange(NUM_IMAGES) + 10
    return TrainLoader(data or make_data(), indices, **{**defaults, **options})


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])


def test_epoch_shows_every_training_image_once_in_a_random_order():
    labels = torch.cat([labels for _, labels in make_loader()])
    assert labels.tolist() != sorted(labels.tolist())
    assert sorted(labels.tolist()) == list(range(10, 10 + NUM_IMAGES))


def test_images_belong_to_their_labels_and_are_normalized():
    data = make_data()
    expected = (data.images.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STD
    ).view(3, 1, 1)
    for images, labels in make_loader(data):
        assert images.dtype == torch.float32
        assert (images - expected[labels]).abs().max() < 1e-5


def test_last_batch_is_kept_and_lengths_are_told():
    loader = make_loader()
    assert len(loader) == 7
    # 103 = 6 * 16 + 7 images
    assert [len(labels) for _, labels in loader] == [16] * 6 + [7]


@pytest.mark.parametrize("augmentation", [None, ALL_CHANGES])
@pytest.mark.parametrize("num_prepared", [1, 3, 100])
def test_number_of_batches_prepared_at_once_changes_no_number(
    augmentation, num_prepared, monkeypatch
):
    eight = list(make_loader(augmentation=augmentation, epoch=2))
    monkeypatch.setattr(loader_module, "NUM_PREPARED", num_prepared)
    assert_same(list(make_loader(augmentation=augmentation, epoch=2)), eight)


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return torch.cat([labels for _, labels in make_loader(seeds=[seed], epoch=epoch)])

    assert torch.equal(order(0, 0), order(0, 0))
    assert not torch.equal(order(0, 0), order(0, 1))
    assert not torch.equal(order(0, 0), order(1, 0))


def test_augmentation_does_not_change_the_order_and_differs_between_epochs():
    plain = list(make_loader())
    changed = list(make_loader(augmentation=ALL_CHANGES))
    assert [labels.tolist() for _, labels in plain] == [labels.tolist() for _, labels in changed]
    assert not torch.equal(plain[0][0], changed[0][0])
    by_epoch = []
    for epoch in (0, 1):
        loaded = zip(*make_loader(augmentation=ALL_CHANGES, epoch=epoch), strict=True)
        images, labels = map(torch.cat, loaded)
        by_epoch.append(images[labels.argsort()])
    assert not torch.equal(*by_epoch)


def test_cutout_shows_the_mean_color_which_is_zero():
    images, _ = next(iter(make_loader(augmentation=Augmentation(cutout_pixels=9))))
    assert (images.abs() < 1e-6).flatten(1).any(dim=1).all()


def test_epoch_is_asked_when_the_first_batch_is_taken():
    epoch = 0
    loader = make_loader(get_epoch=lambda: epoch)
    iterator = iter(loader)
    epoch = 5
    assert_same([next(iterator)], [next(iter(make_loader(epoch=5)))])


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = list(make_loader(augmentation=ALL_CHANGES))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert_same(first, list(make_loader(augmentation=ALL_CHANGES)))


@pytest.mark.parametrize("batch_size", [16, 17])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_take_every_nth_image_of_each_batch_and_equally_many(batch_size, world_size):
    options = {"batch_size": batch_size, "augmentation": ALL_CHANGES}
    ranks = [
        list(make_loader(**options, rank=rank, world_size=world_size)) for rank in range(world_size)
    ]
    for step, (images, labels) in enumerate(make_loader(**options)):
        # the first images again, until every rank has as many
        num_images, num_repeated = len(labels), -len(labels) % world_size
        taken = [*range(num_images), *(i % num_images for i in range(num_repeated))]
        for rank in range(world_size):
            share = taken[rank::world_size]
            assert torch.equal(ranks[rank][step][0], images[share])
            assert torch.equal(ranks[rank][step][1], labels[share])
        assert len({len(batches[step][1]) for batches in ranks}) == 1


def test_rank_that_has_no_image_of_its_own_in_the_last_batch_repeats_one():
    # 103 images in batches of 34: the last one holds 1 image, which both ranks take
    first, second = (
        list(make_loader(batch_size=34, rank=rank, world_size=2))[-1] for rank in (0, 1)
    )
    assert second[0].shape == (1, 3, 9, 9)
    assert_same([first], [second])


@pytest.mark.parametrize("augmentation", [None, ALL_CHANGES])
@pytest.mark.parametrize("num_prepared", [1, 3])
def test_row_of_several_seeds_equals_the_loader_of_its_seed_alone(
    augmentation, num_prepared, monkeypatch
):
    monkeypatch.setattr(loader_module, "NUM_PREPARED", num_prepared)
    data, options = make_data(), {"augmentation": augmentation, "epoch": 1}
    together = list(make_loader(data, seeds=[4, 0, 7], **options))
    for row, seed in enumerate([4, 0, 7]):
        alone = list(make_loader(data, seeds=[seed], **options))
        assert_same(alone, [(images[row], labels[row]) for images, labels in together])
    assert together[0][0].shape == (3, 16, 3, 9, 9)
    assert together[-1][0].shape == (3, 7, 3, 9, 9)
    assert together[-1][1].shape == (3, 7)


def test_batches_of_several_seeds_are_sharded_by_rank():
    options = {"seeds": [0, 1], "batch_size": 32}  # 103 = 3 * 32 + 7
    for rank, last_share in ((0, [0, 2, 4, 6]), (1, [1, 3, 5, 0])):
        shares = list(make_loader(**options, rank=rank, world_size=2))
        *whole, last = make_loader(**options)
        expected = [(images[:, rank::2], labels[:, rank::2]) for images, labels in whole]
        expected.append((last[0][:, last_share], last[1][:, last_share]))
        assert_same(shares, expected)


def test_eval_loader_is_in_fixed_order_and_complete():
    data = make_data(channels=1)
    loader = EvalLoader(data, torch.arange(5, 50), batch_size=20)
    first, second = list(loader), list(loader)
    assert_same(first, second)
    assert len(loader) == 3
    assert torch.cat([labels for _, labels in first]).tolist() == list(range(5, 50))
    assert [len(images) for images, _ in first] == [20, 20, 5]


def test_eval_ranks_cover_every_image_once():
    loaders = [
        EvalLoader(make_data(), None, batch_size=7, rank=rank, world_size=3) for rank in range(3)
    ]
    labels = [label for loader in loaders for _, batch in loader for label in batch.tolist()]
    assert sorted(labels) == list(range(120))


def test_normalizing_leaves_the_stored_images_alone():
    data = make_data()
    before = data.images.clone()
    list(make_loader(data, augmentation=ALL_CHANGES))
    list(EvalLoader(data, None, batch_size=50))
    assert torch.equal(data.images, before)


def test_channel_without_contrast_becomes_zero():
    data = DeviceImages(
        torch.full((4, 1, 2, 2), 51, dtype=torch.uint8),
        torch.zeros(4, dtype=torch.int64),
        mean=(0.2,),
        std=(0.0,),
        device=torch.device("cpu"),
    )
    images, _ = next(iter(EvalLoader(data, None, batch_size=4)))
    assert images.abs().max() < 1e-4
