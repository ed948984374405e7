from optlab.analysis.labels import display_name


def test_display_name_keeps_what_follows_the_optimizer():
    assert display_name("adamw · lr_multiplier=10") == "AdamW · lr_multiplier=10"
    assert display_name("mine") == "mine"
