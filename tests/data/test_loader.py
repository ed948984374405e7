import pytest
import torch

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


def make_loader(data=None, epoch=0, **knobs):
    defaults = {"batch_size": 16, "seeds": [0], "get_epoch": lambda: epoch}
    indices = torch.arange(NUM_IMAGES) + 10
    return TrainLoader(data or make_data(), indices, **{**defaults, **knobs})


def batches_of(loader):
    return [batch for chunk in loader for batch in chunk]


def assert_same(first, second):
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
        assert a.global_size == b.global_size


def test_epoch_shows_every_training_image_once_in_a_random_order():
    labels = torch.cat([batch.labels for batch in batches_of(make_loader())])
    assert labels.tolist() != sorted(labels.tolist())
    assert sorted(labels.tolist()) == list(range(10, 10 + NUM_IMAGES))


def test_images_belong_to_their_labels_and_are_normalised():
    data = make_data()
    expected = (data.images.double() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(
        STD
    ).view(3, 1, 1)
    for batch in batches_of(make_loader(data)):
        assert batch.images.dtype == torch.float32
        assert (batch.images - expected[batch.labels]).abs().max() < 1e-5


def test_last_batch_is_kept_and_lengths_are_told():
    loader = make_loader(steps_per_call=3)
    chunks = list(loader)
    # 103 = 6 * 16 + 7 images: 7 batches in chunks of 3, 3 and 1
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    assert len(loader) == 3
    assert loader.num_steps == 7
    assert [len(b.labels) for chunk in chunks for b in chunk] == [16] * 6 + [7]
    assert [b.global_size for chunk in chunks for b in chunk] == [16] * 6 + [7]


@pytest.mark.parametrize("augmentation", [None, ALL_CHANGES])
@pytest.mark.parametrize("steps_per_call", [3, 8])
def test_steps_per_call_changes_no_number(augmentation, steps_per_call):
    one = batches_of(make_loader(augmentation=augmentation, epoch=2))
    many = batches_of(
        make_loader(augmentation=augmentation, epoch=2, steps_per_call=steps_per_call)
    )
    assert_same(one, many)


def test_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return torch.cat([b.labels for b in batches_of(make_loader(seeds=[seed], epoch=epoch))])

    assert torch.equal(order(0, 0), order(0, 0))
    assert not torch.equal(order(0, 0), order(0, 1))
    assert not torch.equal(order(0, 0), order(1, 0))


def test_augmentation_does_not_change_the_order_and_differs_between_epochs():
    plain = batches_of(make_loader())
    changed = batches_of(make_loader(augmentation=ALL_CHANGES))
    assert [b.labels.tolist() for b in plain] == [b.labels.tolist() for b in changed]
    assert not torch.equal(plain[0].images, changed[0].images)
    by_epoch = []
    for epoch in (0, 1):
        loaded = batches_of(make_loader(augmentation=ALL_CHANGES, epoch=epoch))
        images, labels = (
            torch.cat([b.images for b in loaded]),
            torch.cat([b.labels for b in loaded]),
        )
        by_epoch.append(images[labels.argsort()])
    assert not torch.equal(*by_epoch)


def test_cutout_shows_the_mean_colour_which_is_zero():
    images = batches_of(make_loader(augmentation=Augmentation(cutout_pixels=9)))[0].images
    assert (images.abs() < 1e-6).flatten(1).any(dim=1).all()


def test_epoch_is_asked_when_the_first_chunk_is_taken():
    epoch = 0
    loader = make_loader(get_epoch=lambda: epoch)
    iterator = iter(loader)
    epoch = 5
    assert_same(next(iterator), next(iter(make_loader(epoch=5))))


def test_global_random_state_is_neither_read_nor_moved():
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = batches_of(make_loader(augmentation=ALL_CHANGES))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert_same(first, batches_of(make_loader(augmentation=ALL_CHANGES)))


@pytest.mark.parametrize("batch_size", [16, 17])
@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_take_every_nth_image_of_each_global_batch(batch_size, world_size):
    knobs = {"batch_size": batch_size, "augmentation": ALL_CHANGES, "steps_per_call": 3}
    alone = batches_of(make_loader(**knobs))
    ranks = [
        batches_of(make_loader(**knobs, rank=rank, world_size=world_size))
        for rank in range(world_size)
    ]
    for step, whole in enumerate(alone):
        for rank in range(world_size):
            share = ranks[rank][step]
            assert torch.equal(share.images, whole.images[rank::world_size])
            assert torch.equal(share.labels, whole.labels[rank::world_size])
            assert share.global_size == whole.global_size == len(whole.labels)


def test_rank_without_an_image_of_the_last_batch_still_gets_the_step():
    # 103 images in batches of 34: the last one holds 1 image, which rank 0 takes
    last = batches_of(make_loader(batch_size=34, rank=1, world_size=2, steps_per_call=8))[-1]
    assert last.images.shape == (0, 3, 9, 9)
    assert last.global_size == 1


@pytest.mark.parametrize("augmentation", [None, ALL_CHANGES])
@pytest.mark.parametrize("steps_per_call", [1, 3])
def test_replica_row_equals_the_loader_of_its_seed_alone(augmentation, steps_per_call):
    data = make_data()
    knobs = {"augmentation": augmentation, "steps_per_call": steps_per_call, "epoch": 1}
    together = batches_of(make_loader(data, seeds=[4, 0, 7], replicas=True, **knobs))
    for row, seed in enumerate([4, 0, 7]):
        alone = batches_of(make_loader(data, seeds=[seed], **knobs))
        assert_same(
            alone, [b._replace(images=b.images[row], labels=b.labels[row]) for b in together]
        )
    assert together[0].images.shape == (3, 16, 3, 9, 9)
    assert together[-1].images.shape == (3, 7, 3, 9, 9)


def test_replicas_are_sharded_by_rank():
    knobs = {"seeds": [0, 1], "replicas": True, "batch_size": 34}
    alone = batches_of(make_loader(**knobs))
    for rank in (0, 1):
        shares = batches_of(make_loader(**knobs, rank=rank, world_size=2))
        for share, whole in zip(shares, alone, strict=True):
            assert torch.equal(share.images, whole.images[:, rank::2])
            assert torch.equal(share.labels, whole.labels[:, rank::2])


def test_single_replica_keeps_its_dimension():
    batch = batches_of(make_loader(replicas=True))[0]
    assert batch.images.shape == (1, 16, 3, 9, 9)
    assert batch.labels.shape == (1, 16)


def test_eval_loader_is_in_fixed_order_and_complete():
    data = make_data(channels=1)
    loader = EvalLoader(data, torch.arange(5, 50), batch_size=20)
    first, second = list(loader), list(loader)
    assert_same(first, second)
    assert len(loader) == 3
    assert torch.cat([b.labels for b in first]).tolist() == list(range(5, 50))
    assert [b.global_size for b in first] == [20, 20, 5]


def test_eval_ranks_cover_every_image_once():
    loaders = [
        EvalLoader(make_data(), None, batch_size=7, rank=rank, world_size=3) for rank in range(3)
    ]
    labels = [label for loader in loaders for batch in loader for label in batch.labels.tolist()]
    assert sorted(labels) == list(range(120))


def test_normalising_leaves_the_stored_images_alone():
    data = make_data()
    before = data.images.clone()
    batches_of(make_loader(data, augmentation=ALL_CHANGES))
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
    images = next(iter(EvalLoader(data, None, batch_size=4))).images
    assert images.abs().max() < 1e-4
