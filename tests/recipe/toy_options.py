"""A small tree of option classes with every shape that a recipe has."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

FORBID: dict[str, str] = {"extra": "forbid"}


@dataclass(frozen=True, kw_only=True)
class Feed:
    """What data sets share.

    Attributes:
        batch_size: Images in a step.
        size: Height and width.
    """

    __pydantic_config__: ClassVar = FORBID
    batch_size: int = 8
    size: tuple[int, int] = (4, 6)


@dataclass(frozen=True, kw_only=True)
class Streets(Feed):
    """Streets.

    Attributes:
        name: The kind.
        root: Folder, over
            two lines.
        coarse: Coarse labels too.
    """

    name: Literal["streets"] = "streets"
    root: str
    coarse: bool = False


@dataclass(frozen=True, kw_only=True)
class Rooms(Feed):
    """Rooms."""

    name: Literal["rooms"] = "rooms"
    count: int = 3


@dataclass(frozen=True, kw_only=True)
class Plain:
    """Plain head."""

    __pydantic_config__: ClassVar = FORBID
    name: Literal["plain"] = "plain"
    width: int = 16


@dataclass(frozen=True, kw_only=True)
class Fancy:
    """Fancy head."""

    __pydantic_config__: ClassVar = FORBID
    name: Literal["fancy"] = "fancy"
    width: int = 64
    depth: int | Literal["auto"] = "auto"


@dataclass(frozen=True, kw_only=True)
class Model:
    """The network."""

    __pydantic_config__: ClassVar = FORBID
    head: Annotated[Plain | Fancy, Field(discriminator="name")] = Plain(width=32)
    dropout: float = 0.1


@dataclass(frozen=True, kw_only=True)
class Term:
    """A term."""

    __pydantic_config__: ClassVar = FORBID
    name: Literal["term"] = "term"
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Other:
    """Another term."""

    __pydantic_config__: ClassVar = FORBID
    name: Literal["other"] = "other"
    weight: float = 1.0
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Memory:
    """A memory."""

    __pydantic_config__: ClassVar = FORBID
    rows: int = 100


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Contrast."""

    __pydantic_config__: ClassVar = FORBID
    temperature: float = 0.1
    mining: Literal["semi_hard", "hardest", "random"] = "semi_hard"
    memory: Memory | None = None

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


@dataclass(frozen=True, kw_only=True)
class Toy:
    """The root."""

    __pydantic_config__: ClassVar = FORBID
    seed: int = 0
    data: Streets | Rooms  # not discriminated: owners need not know pydantic
    model: Model = Model()
    loss: tuple[Annotated[Term | Other, Field(discriminator="name")], ...] = (Term(), Other(weight=0.4))
    contrast: Contrast | None = None
    precision: Literal["32", "bf16"] = "32"
