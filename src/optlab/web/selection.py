"""Select the models that a question names."""

from collections.abc import Mapping, Sequence

from optlab.web.run_index import Model, Study, Table

MAX_MODELS_PER_QUESTION = 32
TRAIN_COMMAND = "python train.py -m optimizer=sgd,adam,rmsprop,adagrad,adamw"


class NotFound(ValueError):
    """A name that the table does not have; the message is a sentence for whoever asked."""


def choose(
    table: Table,
    study_name: str | None = None,
    optimizers: Sequence[str] = (),
    model_ids: Sequence[str] = (),
) -> tuple[Study, dict[str, Sequence[Model]]]:
    """Return a study and its models, by optimizer.

    Args:
        table: what there is.
        study_name: None for the study of the first model id, or the newest.
        optimizers: only these; empty for all.
        model_ids: only these; empty for each optimizer's best configuration.

    Raises:
        NotFound: a name is not in the table, or nothing is trained yet.
    """
    study = _chosen_study(table, study_name, model_ids)
    if model_ids:
        members = {model.id: model for model in study.models}
        for model_id in model_ids:
            if model_id not in members:
                raise NotFound(f"No finished model of this study has the id {short(model_id)}.")
        chosen = _by_optimizer([members[model_id] for model_id in dict.fromkeys(model_ids)])
    else:
        chosen = dict(study.answering)
    for optimizer in optimizers:
        if optimizer not in chosen:
            raise NotFound(f"No chosen model of this study was trained by {short(optimizer)}.")
    if optimizers:
        chosen = {name: runs for name, runs in chosen.items() if name in optimizers}
    if not chosen:
        raise NotFound("This study has no finished model yet.")
    return study, chosen


def _chosen_study(table: Table, study_name: str | None, model_ids: Sequence[str]) -> Study:
    if study_name is not None:
        return find_study(table, study_name)
    if model_ids:
        return find_model(table, model_ids[0])[1]
    default = table.default_study()
    if default is None:
        raise NotFound(f"There is no trained model yet. Run: {TRAIN_COMMAND}")
    return default


def find_study(table: Table, name: str) -> Study:
    """Return the study of that name.

    Raises:
        NotFound: there is none.
    """
    study = table.studies.get(name)
    if study is None:
        raise NotFound(f"There is no study called {short(name)}.")
    return study


def find_model(table: Table, model_id: str) -> tuple[Model, Study]:
    """Return the model with that id, and its study.

    Raises:
        NotFound: there is none.
    """
    if model_id not in table.models:
        raise NotFound(f"No model has the id {short(model_id)}.")
    return table.models[model_id]


def at_most_allowed(models: Mapping[str, Sequence[Model]]) -> dict[str, Sequence[Model]]:
    """Return up to `MAX_MODELS_PER_QUESTION` models, taken from the optimizers in turn."""
    turns = max(map(len, models.values()), default=0)
    in_turn = [members[i] for i in range(turns) for members in models.values() if i < len(members)]
    return _by_optimizer(in_turn[:MAX_MODELS_PER_QUESTION])


def _by_optimizer(models: Sequence[Model]) -> dict[str, Sequence[Model]]:
    names = dict.fromkeys(model.optimizer for model in models)
    return {name: [model for model in models if model.optimizer == name] for name in names}


def short(text: str) -> str:
    """Quote what a client typed, shortened for a sentence."""
    return repr(text if len(text) <= 60 else text[:57] + "...")
