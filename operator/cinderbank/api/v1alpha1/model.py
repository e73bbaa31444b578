"""What every model of this API shares: names, leniency, text patterns, CEL rules, and reading.

Reading is lenient (an older operator meets a newer CRD: unknown fields are dropped), writing is
exact (`dump`). Python says `size_gib`, Kubernetes says `sizeGiB`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from cinderbank.domain.errors import InvalidSpec

RULES = "x-kubernetes-validations"

_ACRONYMS = {"id": "ID", "ids": "IDs", "gib": "GiB", "mib": "MiB"}


def camel_case(field: str) -> str:
    """`volume_id` -> `volumeID`: Kubernetes' style, acronyms keep their capitals but in front."""
    first, *rest = field.split("_")
    return first + "".join(_ACRONYMS.get(word, word.capitalize()) for word in rest)


class ApiModel(BaseModel):
    """A part of a spec or a status."""

    model_config = ConfigDict(
        alias_generator=camel_case,
        validate_by_name=True,
        validate_by_alias=True,
        extra="ignore",
        frozen=True,
    )

    rules: ClassVar[tuple[dict[str, str], ...]] = ()
    """CEL validations of the object as a whole, see `rule`."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        if cls.rules:
            handler.resolve_ref_schema(schema)[RULES] = list(cls.rules)
        return schema

    @classmethod
    def read(cls, raw: object, where: str) -> Self:
        """Make a model of what an API server (or a file) holds.

        Raises InvalidSpec, which names the first wrong field below `where`, its value and why.
        """
        try:
            return cls.model_validate({} if raw is None else raw)
        except ValidationError as wrong:
            fault = wrong.errors(include_url=False)[0]
            path = ".".join([where, *map(str, fault["loc"])])
            value = "" if fault["type"] == "missing" else f" is {shown(fault['input'])}"
            raise InvalidSpec(f"{path}{value}: {fault['msg']}") from wrong

    def dump(self) -> dict[str, Any]:
        """As Kubernetes wants it: aliases, no nulls, plain JSON values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def shown(value: object, limit: int = 80) -> str:
    """A value as an error message may show it: quoted and never long."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def clipped(text: str, limit: int) -> str:
    """`text`, cut so that one long word from a cloud does not get a whole status refused."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


# --- rules that the API server checks (CEL) ---------------------------------------------------


def rule(cel: str, message: str, *, field: str | None = None) -> dict[str, str]:
    """One CEL validation: `message` is what the user reads, `field` is where it points."""
    found = {"rule": cel, "message": message}
    if field is not None:
        found["fieldPath"] = f".{field}"
    return found


def immutable(field: str, way_out: str, *, required: bool = False) -> dict[str, str]:
    """`field` of this object stays as it was created, also in being absent."""
    same = f"self.{field} == oldSelf.{field}"
    if not required:
        same = f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || {same})"
    return rule(same, f"{field} can not be changed; {way_out}", field=field)


def exactly_one(*fields: str) -> dict[str, str]:
    present = ", ".join(f"has(self.{field})" for field in fields)
    return rule(
        f"[{present}].filter(one, one).size() == 1",
        f"set exactly one of {', '.join(fields[:-1])} and {fields[-1]}",
    )


def one_way(field: str, message: str) -> dict[str, str]:
    """A switch that can be turned on and never off again."""
    return rule(
        f"!(has(oldSelf.{field}) && oldSelf.{field}) || (has(self.{field}) && self.{field})",
        message,
        field=field,
    )


@dataclass(frozen=True)
class Ruled:
    """A value that a CEL rule holds for; checked by the API server only."""

    cel: str
    message: str

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        return {**schema, RULES: [*schema.get(RULES, ()), rule(self.cel, self.message)]}


@dataclass(frozen=True)
class Matching:
    """A text that must match `regex`; one message for the API server and for us.

    It becomes a CEL rule and not the schema's `pattern`, whose refusal would show only the regex.
    No single quote in `regex`: it stands in a raw CEL string. No top-level |: it is anchored.
    """

    regex: str
    message: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        found = rule(f"self.matches(r'{self.regex}')", self.message)
        return {**schema, RULES: [*schema.get(RULES, ()), found]}

    def _check(self, text: str) -> str:
        # RE2's $ is the end of the text; Python's would let a newline follow.
        if re.fullmatch(self.regex.removeprefix("^").removesuffix("$"), text) is None:
            raise PydanticCustomError("pattern", "{why}", {"why": self.message})
        return text


# --- texts and times that several kinds use ----------------------------------------------------


def kubernetes_time(at: datetime) -> str:
    """RFC 3339 in UTC with Z; microseconds only when there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


Time = Annotated[AwareDatetime, PlainSerializer(kubernetes_time, return_type=str, when_used="json")]
"""An instant; written in UTC and without loss, so that what is read back equals what was known."""

_LABEL = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
UUID_FORM = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

ObjectName = Annotated[
    str,
    Field(max_length=253),
    Matching(
        f"^{_LABEL}([.]{_LABEL})*$",
        "must be the name of a Kubernetes object in this namespace, such as openstack",
    ),
]
SiteName = Annotated[
    str,
    Field(max_length=63),
    Matching(
        f"^{_LABEL}$",
        "must be a short name of lower-case letters, digits and -, such as paris-1",
    ),
]
VolumeUUID = Annotated[
    str,
    Field(max_length=36),
    Matching(
        UUID_FORM,
        "must be a volume's UUID as `openstack volume list` shows it; for a name use volumeName",
    ),
]
BackupULID = Annotated[
    str,
    Field(max_length=26),
    Matching(
        "^[0-9A-HJKMNP-TV-Z]{26}$",
        "must be a backup id: 26 upper-case letters and digits, as in status.backupID of a VolumeBackup",
    ),
]
CloudID = Annotated[str, Field(max_length=64, pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""An id that a cloud gave us; the pattern only keeps a forged one harmless in a URL."""
