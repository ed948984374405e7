import pytest

from optlab.models.dropout import dropout_per_layer


@pytest.mark.parametrize(
    ("dropout", "num_layers", "expected"),
    [(0.3, 2, [0.3, 0.3]), (0, 1, [0.0]), ([0.1, 0.2], 2, [0.1, 0.2]), (0.3, 0, []), ([], 0, [])],
)
def test_rates_are_spread_over_the_layers(dropout, num_layers, expected):
    assert dropout_per_layer(dropout, num_layers, layers_option="model.hidden_sizes") == expected


def test_rate_out_of_range_is_refused_even_without_layers():
    with pytest.raises(ValueError, match=r"model.dropout .*\b2\b"):
        dropout_per_layer(2, 0, layers_option="model.hidden_sizes")
