import pytest
import torch

from optlab.data.image_dataset import channel_statistics, compute_checksum


def test_channel_statistics_match_torch_in_float64():
    images = torch.randint(0, 256, (3000, 3, 5, 4), dtype=torch.uint8)
    images[:, 1] = 255
    mean, std = channel_statistics(images)
    pixels = images.double() / 255
    assert mean == pytest.approx(pixels.mean(dim=(0, 2, 3)).tolist(), rel=1e-12)
    expected = pixels.std(dim=(0, 2, 3), correction=0)
    assert std == pytest.approx(expected.tolist(), rel=1e-9, abs=1e-7)


def test_checksum_depends_on_content_shape_and_type():
    a = torch.arange(6, dtype=torch.uint8)
    others = [a.view(2, 3), a.flip(0), a.long()]
    assert len({compute_checksum(t) for t in [a, *others]}) == 4
    assert compute_checksum(a) == compute_checksum(a.clone())
    assert compute_checksum(a.view(2, 3).t()) == compute_checksum(a.view(2, 3).t().contiguous())
