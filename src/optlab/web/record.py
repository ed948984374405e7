"""The part of a run's record.json that the page uses, checked before anything relies on it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from optlab.data.source import Preparation


class _Part(BaseModel):
    model_config = ConfigDict(allow_inf_nan=False, protected_namespaces=())


class Scores(_Part):
    loss: float | None = None
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None


class BestAndLast(_Part):
    best: Scores | None = None
    last: Scores | None = None


class Dataset(_Part):
    name: str
    title: str
    class_names: list[str] = Field(min_length=2)
    in_channels: Literal[1, 3]
    image_size: int = Field(ge=4, le=512)
    preparation: Preparation
    mean: list[float]
    std: list[float]


class Model(_Part):
    name: str
    num_parameters: int | None = None


class Optimizer(_Part):
    name: str
    lr: float | None = None


class Record(_Part):
    """A run that trained; unknown keys are left alone."""

    status: Literal["finished", "diverged"]
    run_name: str
    hash: str = ""
    protocol_version: int = 0
    seed: int = 0
    config: dict[str, Any] = {}
    dataset: Dataset
    model: Model
    optimizer: Optimizer
    validation: BestAndLast | None = None
    train: BestAndLast | None = None
    test: BestAndLast | None = None
    confusion_matrix: list[list[int]] | None = None
    num_epochs: int | None = None
    train_time_s: float | None = None


class Named(_Part):
    name: str


class FailedRecord(_Part):
    """A run that came to no result, perhaps before it had seen its data: names are all it has."""

    status: Literal["failed"]
    reason: str | None = None
    hash: str = ""
    seed: int = 0
    dataset: Named
    optimizer: Named


AnyRecord: TypeAdapter[Record | FailedRecord] = TypeAdapter(
    Annotated[Record | FailedRecord, Field(discriminator="status")]
)
