"""Requests and responses of the API; FastAPI turns these into the OpenAPI document."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from optlab.data.image_dataset import Preparation

Accuracy = Annotated[float, Field(ge=0, le=1, description="a fraction, not percent")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
NoReference = Literal["no_images", "unusable_images", "large_network", "no_network"]
Step = Annotated[
    int | None,
    Field(
        ge=0,
        le=10**15,
        description=(
            "a moment of training: each model answers with its latest snapshot at or before this "
            "optimizer step (callbacks=snapshots keeps them); without it with its best epoch"
        ),
    ),
]


class _Reply(BaseModel):
    model_config = ConfigDict(protected_namespaces=(), ser_json_inf_nan="null")


class Problem(_Reply):
    """Every 4xx and 5xx answer."""

    detail: str = Field(description="what is wrong, as a sentence")


class Health(_Reply):
    status: Literal["ok"]
    version: str
    num_models: int = Field(description="finished runs that can be asked")


class Model(_Reply):
    id: str
    study_name: str = Field(description="the study under which it can be asked")
    run_name: str
    network: str
    optimizer: str
    seed: int
    lr: float | None = Field(description="learning rate that was used, lr_multiplier included")
    num_parameters: int | None
    num_epochs: int | None
    train_time_s: float | None
    val_accuracy: Accuracy | None
    test_accuracy: Accuracy | None
    answers_by_default: bool = Field(
        description="belongs to its optimizer's best configuration by validation accuracy"
    )
    problem: str | None = Field(description="why it cannot answer, where it cannot")


class Unusable(_Reply):
    study: str
    run: str
    problem: str


class UnfinishedRun(_Reply):
    study: str
    run: str
    num_epochs: int = Field(description="epochs that are done")
    training: bool = Field(description="a process trains it right now; else it was interrupted")


class StudyEntry(_Reply):
    name: str
    folder: str = Field(description="name of its folder, by which runs without a model name it")
    title: str
    dataset: str
    reads: Literal["drawing", "picture"]
    preparation: Preparation = Field(description="what is done to a picture")
    class_names: list[str]
    image_size: int
    pen_width: int | None = Field(
        description="of a 280 pixel canvas: strokes as the models know them; null for pictures"
    )
    optimizers: list[str] = Field(description="those that have a finished run; none if all failed")
    report_url: str | None


class Style(_Reply):
    title: str = Field(description="the optimizer as its authors write it")
    color: str = Field(pattern="^#[0-9A-Fa-f]{6}$")
    dashes: list[float] = Field(description="on, off, ... in points; empty for a solid line")


class Models(_Reply):
    """Everything that can be asked."""

    default_study: str | None
    studies: list[StudyEntry]
    models: list[Model]
    unusable: list[Unusable] = Field(description="run folders that cannot be asked, and why")
    unfinished: list[UnfinishedRun] = Field(description="run folders without a result yet")
    styles: dict[str, Style] = Field(description="by optimizer, as in every figure")
    training: bool = Field(description="models are being trained by this server right now")
    train_command: str | None = Field(
        description="trains five optimizers; null for clients on other computers"
    )
    can_race: bool = Field(description="whether this server trains runs for a live race")
    address: str | None = Field(description="where other computers find the page, if they may")


class Curve(_Reply):
    epochs: list[int]
    train_loss: list[float | None]
    val_loss: list[float | None]
    val_accuracy: list[float | None]


class Moments(_Reply):
    """The snapshots of a run; empty lists where it kept none."""

    steps: list[int] = Field(description="optimizer steps, rising")
    train_loss: list[float | None] = Field(
        description="mean over the batches from there on, as many as a tenth of the steps so far"
    )


class ModelDetail(Model):
    curve: Curve
    moments: Moments
    class_names: list[str]
    confusion_matrix: list[list[int]] | None = Field(
        description="rows: true class, columns: predicted class; test images, best weights"
    )


class StudyRow(_Reply):
    """One optimizer in the summary; means over `num_runs` runs of its best configuration.

    Accuracies and loss are those of the report: of the last weights, with early stopping of the
    best epoch.
    """

    optimizer: str
    num_runs: int
    num_other_runs: int = Field(description="runs of other configurations, finished or diverged")
    num_diverged: int
    num_failed: int
    reasons: list[str] = Field(description="why runs failed, one line each")
    lr: float | None
    test_accuracy: Accuracy | None
    test_accuracy_min: Accuracy | None
    test_accuracy_max: Accuracy | None
    val_accuracy: Accuracy | None
    train_loss: float | None
    train_time_s: float | None
    num_epochs: float | None


class Moment(_Reply):
    step: int = Field(description="optimizer steps so far")
    epoch: float | None = Field(description="epochs so far, of the model that trained longest")


class Line(_Reply):
    """Mean over the runs of a configuration, or a run that diverged."""

    name: str
    color: str
    dark: str = Field(description="its color on dark paper")
    dashes: list[float]
    step: list[float] = Field(description="optimizer steps")
    y: list[float]
    low: list[float] | None = Field(description="95 % interval, or the range of two runs")
    high: list[float] | None
    diverged: bool
    knots: list[tuple[float, float, float]] = Field(
        description="optimizer step, epoch and seconds of training at the end of each epoch"
    )


class Note(_Reply):
    """A caution about the curves."""

    name: Literal["mean", "band", "bands", "range", "diverged"]
    count: int | None = Field(
        default=None, description="mean: steps of a point; band and bands: fewest runs of a line"
    )
    most: int | None = Field(default=None, description="bands: most runs of a line")


class Quantity(_Reply):
    title: str
    percent: bool = Field(description="fractions, to be shown as percent")
    notes: list[Note]
    lines: list[Line]


class StudyDetail(StudyEntry):
    rows: list[StudyRow]
    curves: list[Quantity] = Field(description="of the configurations of the rows")
    judged_weights: list[str] = Field(
        description="last or best, whose accuracies the rows are; models answer with the best"
    )
    moments: list[Moment] = Field(description="of which any of its models has a snapshot, rising")


class GalleryImage(_Reply):
    image: int = Field(description="its place in the test set")
    true: int = Field(description="index of its class")
    answers: dict[str, int] = Field(
        description="by optimizer: what most runs of its best configuration answer, at the weights "
        "that the report judges"
    )
    png: str = Field(description="base64")


class GalleryGroup(_Reply):
    optimizer: str
    only: Literal["wrong", "right"]
    num_images: int
    images: list[GalleryImage] = Field(description="of those that runs have kept, the clearest")


class Gallery(_Reply):
    """Test images that only one optimizer misclassifies or recognizes."""

    groups: list[GalleryGroup] = Field(description="none where fewer than two have answers")
    left_out: list[str] = Field(description="optimizers without stored answers for these images")


class Whom(BaseModel):
    """The models to ask. Without a name: the newest study, each optimizer's best configuration."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    study: Name | None = None
    optimizer: list[Name] = Field(default=[], max_length=64, description="only these")
    model: list[Name] = Field(default=[], max_length=64, description="only these, by id")
    step: Step = None


class Question(Whom):
    """The models to ask about a picture, and what else to answer."""

    saliency: bool = Field(
        default=False,
        description="also return the input gradient: which pixels the answers depend on",
    )
    occlusion: bool = Field(
        default=False, description="also say what covering parts of the picture does to the answers"
    )


class MorphQuestion(Whom):
    """The models to ask about mixtures of two pictures."""

    num_pictures: int = Field(default=21, ge=2, le=101, description="on the way, ends included")


Point = tuple[float, float]


class SurfaceEntry(_Reply):
    name: str
    formula: str
    window: tuple[float, float, float, float] = Field(description="x from, x to, y from, y to")
    start: Point = Field(description="from where it is known; races may start elsewhere")
    minimum: Point | None = Field(description="null where it falls without end")
    heights: list[list[float]] = Field(
        description="on a regular grid over the window, 0 to 1, rows from y's lower end; of a "
        "surface with a minimum the root of the value"
    )


class Surfaces(_Reply):
    surfaces: list[SurfaceEntry]
    styles: dict[str, Style] = Field(description="by optimizer")


class RaceQuestion(BaseModel):
    """Where the race starts, and its hyperparameters."""

    model_config = ConfigDict(extra="forbid")

    x: float = Field(ge=-10, le=10)
    y: float = Field(ge=-10, le=10)
    lr_multiplier: float = Field(
        default=1.0, ge=0.01, le=100, description="times each optimizer's own learning rate"
    )
    momentum: float = Field(
        default=0.9, ge=0, le=0.99, description="of SGD and Nesterov; for Adam its first beta"
    )
    num_steps: int = Field(default=300, ge=1, le=500)


class Walk(_Reply):
    optimizer: str
    lr: float
    points: list[Point] = Field(description="the start, then one for each step until it diverged")
    arrived_at: int | None = Field(
        description="step from which it stays within 0.1 of the minimum; on a surface without one "
        "the step at which it left the window downwards"
    )
    diverged_at: int | None = Field(description="step at which a coordinate exceeded 100")


class Race(_Reply):
    surface: str
    start: Point
    walks: list[Walk]


class LiveRaceStart(_Reply):
    optimizers: list[str] = Field(description="one run each, in a process of its own")
    styles: dict[str, Style] = Field(description="by optimizer")


class RaceReport(_Reply):
    """The data of an event of /api/race/events."""

    optimizer: str
    step: int = Field(description="optimizer steps so far")
    val_accuracy: Accuracy | None = Field(description="null before training")
    probabilities: list[Accuracy] | None = Field(
        description="of the drawing, one for each digit; null without a drawing"
    )


class Choice(_Reply):
    probabilities: list[Accuracy] = Field(description="one for each class name")
    top: int = Field(description="index of the most probable class")
    name: str = Field(description="its name")


class ModelChoice(Choice):
    id: str
    step: int | None = Field(description="optimizer steps behind the weights that answered")


class Occlusion(_Reply):
    """The change of the top class's probability where a square patch covers the picture."""

    patch: int = Field(description="side of the patch, pixels of `seen`")
    offsets: list[int] = Field(description="rows, and columns, of its upper left corner")
    falls: list[list[float]] = Field(
        description="for each row and column of the patch, by how much the top class becomes less "
        "probable, as a fraction; negative where it becomes more probable"
    )
    worst: int = Field(description="index of the top class with the patch where it falls most")


class OptimizerChoice(Choice):
    optimizer: str
    models: list[ModelChoice]
    saliency: list[list[int]] | None = Field(
        description="0 to 255, (side, side): size of the input gradient of the top class"
    )
    occlusion: Occlusion | None = Field(description="of the mean over its models")


class Ensemble(Choice):
    num_models: int
    num_agreeing: int = Field(description="optimizers whose own top class is the ensemble's")
    saliency: list[list[int]] | None


class Seen(_Reply):
    """The input of the models, before each normalizes it with its data set's mean."""

    channels: int
    side: int
    pixels: list[list[list[int]]] = Field(description="0 to 255, (channels, side, side)")


class Unanswered(_Reply):
    id: str
    problem: str = Field(description="why this model cannot answer")


class Novelty(_Reply):
    distance: float = Field(description="to the fifth nearest training image, in [0, 2]")
    threshold: float = Field(description="95 % of held-out images are nearer")
    unfamiliar: bool = Field(description="the drawing is farther than that")


class _Answered(_Reply):
    study: str
    step: int | None = Field(description="the moment of training that was asked for")
    class_names: list[str]
    num_left_out: int = Field(description="chosen models beyond what one request may ask")
    unanswered: list[Unanswered] = Field(description="models that were asked and cannot answer")


class Prediction(_Answered):
    blank: bool = Field(description="nothing was drawn; then nobody answers")
    seen: Seen
    ensemble: Ensemble | None = Field(
        description="mean of the optimizers' probabilities; null when blank"
    )
    optimizers: list[OptimizerChoice]
    num_digits: int | None = Field(
        default=None,
        description="tall separate parts next to each other; models read one; null for pictures",
    )
    novelty: Novelty | None = Field(
        default=None, description="null when blank, while it is pending, and where it is not known"
    )
    novelty_pending: bool = Field(
        default=False, description="the same question gets it in a few seconds"
    )
    no_novelty: NoReference | None = Field(
        default=None, description="why it will not be known, where it could be"
    )
    elapsed_ms: float = Field(
        description="milliseconds to prepare the picture and run the models, without the transfer"
    )


class Switch(_Reply):
    at: Accuracy = Field(description="share of the way; between two pictures it is interpolated")
    top: int = Field(description="index of the top class from there on")


class MorphAnswer(_Reply):
    optimizer: str
    top: list[int] = Field(description="index of the most probable class of each picture")
    probability: list[Accuracy] = Field(description="its probability")
    switches: list[Switch] = Field(description="where the top class changes, rising")


class Morph(_Answered):
    """The answers to mixtures of two pictures, `(1 - share) * start + share * end`."""

    start: Seen
    end: Seen
    optimizers: list[MorphAnswer] = Field(
        description="means over the models, for pictures whose share rises evenly from 0 to 1"
    )


class FeatureLayer(_Reply):
    num_maps: int
    height: int = Field(description="pixels of a map")
    width: int
    low: float = Field(description="black in the pictures: the lowest value shown, 0 at most")
    high: float = Field(description="white in the pictures: the highest value shown")
    maps: list[str] = Field(description="the first ones, as PNG in base64")


class FeatureMaps(_Reply):
    """The output of the first activations of one network."""

    model: str
    layers: list[FeatureLayer] = Field(description="empty where no layer's output is an image")
