"""Request bodies: JSON read strictly into a msgspec Struct, all faults told together."""

from typing import Any, TypeVar

import msgspec
from litestar.connection import ASGIConnection
from litestar.dto import AbstractDTO
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.typing import FieldDefinition

from leasebox.values.errors import BadRequest, Kind, LeaseboxError

T = TypeVar("T")


class FieldFault(msgspec.Struct, frozen=True):
    """One thing wrong with a request. path: dotted, as `body.ttl_hours` or `query.limit`."""

    path: str
    message: str


class UnsupportedMediaType(LeaseboxError):
    kind = Kind.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"
    fix = "Send the body as JSON with 'content-type: application/json'."


class StrictJson(AbstractDTO[T]):
    """Litestar's hook for `data`: decodes strictly (no "5" for 5, no unknown fields) and collects every fault."""

    model_type: type[Any] = object

    def decode_builtins(self, value: dict[str, Any]) -> Any:
        del value
        raise UnsupportedMediaType("This route takes JSON.")

    def decode_bytes(self, value: bytes) -> Any:
        _require_json(self.asgi_connection)
        field = self.asgi_connection.route_handler.parsed_data_field
        return self.read(value, field.annotation)

    def read(self, raw: bytes, kind: type[Any]) -> Any:
        """The body as `kind`. Raises BadRequest."""
        return decode(raw, kind)

    @classmethod
    def create_for_field_definition(cls, *args: Any, **kwargs: Any) -> None:
        """Nothing to generate: msgspec decodes the declared type itself."""

    @classmethod
    def create_openapi_schema(cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any) -> Any:
        del handler_id
        return schema_creator.for_field_definition(field_definition)

    @classmethod
    def generate_field_definitions(cls, model_type: type[Any]) -> Any:
        del model_type
        yield from ()

    @classmethod
    def detect_nested_field(cls, field_definition: FieldDefinition | DTOFieldDefinition) -> bool:
        del field_definition
        return False


class WithNul(StrictJson[T]):
    """The same for a route that judges every text itself, so that it can tell of a NUL beside all other faults."""

    def read(self, raw: bytes, kind: type[Any]) -> Any:
        return decode_with_nul(raw, kind)


def decode_with_nul(raw: bytes, kind: type[T]) -> T:
    """Read JSON as `kind`; its texts may hold NUL characters. Raises BadRequest whose `errors` lists every fault."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise _refusal(raw, kind, str(fault)) from None


def decode(raw: bytes, kind: type[T]) -> T:
    """Read JSON as `kind`. Raises BadRequest whose `errors` lists every fault found, or names the first NUL."""
    value = decode_with_nul(raw, kind)
    if rb"\u0000" in raw:
        _refuse_nul(msgspec.json.decode(raw), "body")
    return value


def _refuse_nul(value: Any, path: str) -> None:
    """No text that PostgreSQL stores can hold a NUL. Raises BadRequest naming the first one."""
    match value:
        case str() if "\x00" in value:
            fault = FieldFault(path, "text cannot hold a NUL character")
            raise BadRequest(f"{path} holds a NUL character.", errors=[fault])
        case dict():
            for name, inner in value.items():
                _refuse_nul(name, path)
                _refuse_nul(inner, f"{path}.{name}")
        case list():
            for place, inner in enumerate(value):
                _refuse_nul(inner, f"{path}[{place}]")


def _require_json(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    kind = connection.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType(f"This route takes application/json, not {kind[:80] or 'an untyped body'}.")


def _refusal(raw: bytes, kind: Any, first: str) -> BadRequest:
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        # Only now is it known: a wrong type may stand before the place where the text stops being JSON.
        message = f"The body is not JSON: {fault}."
        return BadRequest(message, errors=[FieldFault("body", str(fault))], fix="Send valid JSON in UTF-8.")
    faults = _faults(value, kind) or [FieldFault("body", first.replace(" - at `$`", ""))]
    listed = "; ".join(f"{fault.path}: {fault.message}" for fault in faults[:5])
    return BadRequest(f"The body has {len(faults)} fault(s): {listed}.", errors=faults)


def _faults(value: Any, kind: Any) -> list[FieldFault]:
    """Field by field, because msgspec stops at the first fault."""
    if not isinstance(value, dict) or not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return []
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    faults = [FieldFault(f"body.{name}", "unknown field") for name in value if name not in fields]
    for name, field in fields.items():
        if name not in value:
            if field.required:
                faults.append(FieldFault(f"body.{name}", "required field is missing"))
            continue
        try:
            msgspec.convert(value[name], field.type)
        except msgspec.ValidationError as fault:
            faults.append(_located(name, str(fault)))
    return faults


def _located(name: str, message: str) -> FieldFault:
    text, _, place = message.partition(" - at `")
    return FieldFault(f"body.{name}" + place.rstrip("`").removeprefix("$"), text)
