"""GGUF files that tests write: fields by the kind of their value, and the end of a file."""

from collections.abc import Mapping
from typing import Any

KINDS = {str: "string", bool: "bool", int: "uint32", float: "float32", list: "array"}


def add_fields(writer: Any, fields: Mapping[str, Any]) -> None:
    """Give a gguf.GGUFWriter its fields; those that are None are left out."""
    for name, value in fields.items():
        if value is not None:
            getattr(writer, f"add_{KINDS[type(value)]}")(name, value)


def finish(writer: Any) -> None:
    """Write the file."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
