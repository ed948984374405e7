"""The rule that chooses options: rounds, finalists, rungs. Outcomes are made up, nothing runs."""

import pytest

from optlab.runs.study_file import TrialRow
from optlab.studies.search import Search, Trial, halving, mean_score, rounds
from optlab.studies.search_space import Hyperparameter

RATE = Hyperparameter("lr", "log", (1e-3, 1.0))
MOMENTUM = Hyperparameter("momentum", "one_minus_log", (0.01, 0.5))


def search(space=(RATE,), default=None, trials=9, **options):
    default = default or {"lr": 0.01}
    options = {"tuning_seeds": [0, 10, 20], "fresh_seeds": [1, 2], "chance_accuracy": 0.1} | options
    return Search("sgd", "c", [], [*space], default, rungs=[(trials, None)], **options)


def trial(lr, accuracy, seed=0, status="finished", num_epochs=None):
    return TrialRow(
        "sgd", "c", f"{lr}-{seed}", status, tuning_seed=seed, overrides=[f"optimizer.lr={lr}"],
        params={"lr": lr}, val_accuracy=accuracy, num_epochs=num_epochs,
    )  # fmt: skip


@pytest.mark.parametrize("space", [(RATE,), (RATE, MOMENTUM)])
def test_default_is_the_first_of_the_trials(space):
    default = {"lr": 0.012, "momentum": 0.9}
    default = {each.name: default[each.name] for each in space}
    found = search(space, default).first_round()
    assert found[0] == default
    assert len({str(values) for values in found}) == 9


def test_best_mean_of_the_finalists_wins_and_others_cannot():
    one = search()
    one.trials = [trial(0.1, 0.99), trial(0.2, 0.98), trial(0.3, 0.97)]
    assert one.winner().params == {"lr": 0.1}
    one.trials += [trial(lr, a, seed) for lr, a in ((0.1, 0.9), (0.2, 0.95)) for seed in (10, 20)]
    winner = one.winner()
    assert winner.params == {"lr": 0.2}  # 0.3 had one look, in which it was lucky or not
    assert winner.val_accuracy == pytest.approx((0.98 + 2 * 0.95) / 3)
    assert winner.tuning_seeds == [0, 10, 20]


def test_diverged_finalist_counts_as_guessing_and_a_failed_one_does_not():
    rows = [trial(0.1, 0.9), trial(0.1, None, 10, "diverged"), trial(0.1, None, 20, "failed")]
    assert mean_score(rows, chance_accuracy=0.1) == pytest.approx(0.5)
    assert mean_score(rows[1:], chance_accuracy=0.1) is None


def test_search_without_a_result_has_no_winner_and_asks_for_nothing_more():
    one = search()
    one.trials = [trial(0.1, None, status="diverged")]
    assert one.winner() is None
    assert one.second_round(2) == []


@pytest.mark.parametrize("best", [1.0, 0.03])
def test_second_round_is_as_large_at_an_edge_as_inside(best):
    one = search()
    one.trials = [trial(0.01, 0.5), trial(best, 0.9)]
    drawn = [values["lr"] for values in one.second_round(2)]
    assert len(set(drawn)) == 2
    if best < 1:
        assert all(0.001 < lr < 1 for lr in drawn)
        assert one.space == [RATE]
        return
    assert all(1 < lr < 1000**0.25 for lr in drawn)
    one.trials += [trial(max(drawn), 0.95), trial(min(drawn), 0.91)]
    assert one.winner().edge == ["lr"]  # of the extended space, which is not extended again
    one.trials += [trial(max(drawn), 0.6, 10), trial(1.0, 0.9, 10)]
    assert (one.winner().params, one.winner().edge) == ({"lr": 1.0}, [])


@pytest.mark.parametrize(
    ("trials", "epochs", "rungs"),
    [
        (9, 10, [(9, 1), (3, 3), (1, None)]),
        (27, 30, [(27, 1), (9, 3), (3, 10), (1, None)]),
        (12, 5, [(12, 1), (4, None)]),
        (4, 100, [(4, 33), (1, None)]),
    ],
)
def test_each_rung_of_a_halving_has_a_third_of_the_trials(trials, epochs, rungs):
    assert halving(trials, epochs) == rungs


@pytest.mark.parametrize(("trials", "epochs"), [(2, 10), (9, 2), (9, -1)])
def test_halving_without_a_second_rung_is_refused(trials, epochs):
    with pytest.raises(
        ValueError, match=rf"=halving .*\b{trials}\b.*trainer\.max_epochs .*{epochs}\b"
    ):
        halving(trials, epochs)


def test_promotion_is_by_the_rung_before_only():
    one = search()
    one.rungs = [(3, 1), (1, None)]
    asked = rounds([one], extra_trials=0, finalists=1)
    assert [trial.num_epochs for trial in next(asked)] == [1, 1, 1]
    one.trials = [trial(0.1, 0.7, num_epochs=1), trial(0.2, 0.8, num_epochs=1)]
    assert next(asked) == [Trial(one, {"lr": 0.2}, seed=0)]
    assert one.winner() is None
    one.trials.append(trial(0.2, 0.6))
    assert next(asked) == []
    assert next(asked) == [Trial(one, {"lr": 0.2}, seed) for seed in (10, 20)]
    assert one.winner().val_accuracy == 0.6
