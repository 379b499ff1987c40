"""Check arguments, and raise exceptions of dicube: public functions that callers may use too.

Each function returns the value it was given if that is valid. Knows shapes of arrays; nothing else
of dicube.
"""

from __future__ import annotations

import os
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from dicube.exceptions import DataConsistencyError, DicomCubeError, InvalidCubeFileError


def validate_not_none(
    value: Any,
    name: str,
    context: str = "",
    exception_class: type[DicomCubeError] = DicomCubeError,
) -> Any:
    """Return the value unless it is None.

    Args:
        value: any value.
        name: of the parameter, for the message.
        context: the operation, for the message.
        exception_class: class of the exception that is raised.

    Raises:
        DicomCubeError: (an `exception_class`) the value is None.

    Example:
        >>> from dicube.validation import validate_not_none
        >>> validate_not_none(3, "count")
        3
    """
    if value is None:
        _refuse(exception_class, context, f"Parameter '{name}' cannot be None", parameter=name)
    return value


def validate_file_exists(
    file_path: str,
    context: str = "",
    exception_class: type[DicomCubeError] = InvalidCubeFileError,
) -> str:
    """Return the path if it is a file's.

    Args:
        file_path: the path.
        context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) the path is None, or not that of a file.
    """
    return _existing(file_path, "file", os.path.isfile, context, exception_class)


def validate_folder_exists(
    folder_path: str,
    context: str = "",
    exception_class: type[DicomCubeError] = InvalidCubeFileError,
) -> str:
    """Return the path if it is a folder's.

    Args:
        folder_path: the path.
        context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) the path is None, or not that of a folder.
    """
    return _existing(folder_path, "folder", os.path.isdir, context, exception_class)


def validate_array_shape(
    array: NDArray[Any],
    expected_dims: int | None = None,
    min_dims: int | None = None,
    max_dims: int | None = None,
    name: str = "array",
    context: str = "",
    exception_class: type[DicomCubeError] = DataConsistencyError,
) -> NDArray[Any]:
    """Return the array if it is a numpy array with the right number of dimensions.

    Args:
        array: the array.
        expected_dims, min_dims, max_dims: number of dimensions, and bounds; None for any.
        name, context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) it isn't a numpy array, or has another number of
            dimensions.
    """
    validate_parameter_type(array, np.ndarray, name, context, exception_class)
    for wrong, wanted in (
        (expected_dims is not None and array.ndim != expected_dims, f"{expected_dims}"),
        (min_dims is not None and array.ndim < min_dims, f"at least {min_dims}"),
        (max_dims is not None and array.ndim > max_dims, f"at most {max_dims}"),
    ):
        if wrong:
            _refuse(
                exception_class,
                context,
                f"Array '{name}': expected {wanted} dimensions, found {array.ndim}",
                parameter=name,
                actual_dims=array.ndim,
                shape=array.shape,
            )
    return array


def validate_parameter_type(
    value: Any,
    expected_type: type | tuple[type, ...],
    name: str,
    context: str = "",
    exception_class: type[DicomCubeError] = DataConsistencyError,
) -> Any:
    """Return the value if it is an instance of a type.

    Args:
        value: any value.
        expected_type: a type or a tuple of types.
        name, context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) the value is None, or of another type.
    """
    validate_not_none(value, name, context, exception_class)
    if not isinstance(value, expected_type):
        types = expected_type if isinstance(expected_type, tuple) else (expected_type,)
        wanted, found = " or ".join(one.__name__ for one in types), type(value).__name__
        _refuse(
            exception_class,
            context,
            f"Parameter '{name}': expected {wanted}, found {found}",
            parameter=name,
            expected_type=wanted,
            actual_type=found,
        )
    return value


def validate_shape_consistency(
    array1: NDArray[Any],
    array2: NDArray[Any],
    name1: str = "array1",
    name2: str = "array2",
    context: str = "",
    exception_class: type[DicomCubeError] = DataConsistencyError,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return both arrays if they have the same shape.

    Args:
        array1, array2: the arrays.
        name1, name2: their names, for the message.
        context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) one isn't a numpy array, or the shapes differ.
    """
    validate_array_shape(array1, name=name1, context=context, exception_class=exception_class)
    validate_array_shape(array2, name=name2, context=context, exception_class=exception_class)
    if array1.shape != array2.shape:
        _refuse(
            exception_class,
            context,
            f"Arrays '{name1}' and '{name2}' differ in shape: {array1.shape} and {array2.shape}",
            **{f"{name1}_shape": array1.shape, f"{name2}_shape": array2.shape},
        )
    return array1, array2


def validate_string_not_empty(
    value: str,
    name: str,
    context: str = "",
    exception_class: type[DicomCubeError] = DicomCubeError,
) -> str:
    """Return the text if it isn't empty or only white space.

    Args:
        value: the text.
        name, context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) the value isn't a text, or is empty.
    """
    validate_parameter_type(value, str, name, context, exception_class)
    if not value.strip():
        _refuse(exception_class, context, f"Parameter '{name}' cannot be empty", parameter=name)
    return value


def validate_numeric_range(
    value: float,
    name: str,
    min_value: float | None = None,
    max_value: float | None = None,
    context: str = "",
    exception_class: type[DicomCubeError] = DataConsistencyError,
) -> float:
    """Return the number if it is within bounds, which are inclusive.

    Args:
        value: an int or a float; NaN is out of any bounds.
        min_value, max_value: the bounds; None for none.
        name, context, exception_class: see `validate_not_none`.

    Raises:
        DicomCubeError: (an `exception_class`) the value isn't an int or a float, or is out of
            bounds.
    """
    validate_parameter_type(value, (int, float), name, context, exception_class)
    for right, wanted in (
        (min_value is None or value >= min_value, f"at least {min_value}"),
        (max_value is None or value <= max_value, f"at most {max_value}"),
    ):
        if not right:
            _refuse(
                exception_class,
                context,
                f"Parameter '{name}': expected {wanted}, found {value}",
                parameter=name,
                value=value,
                min_value=min_value,
                max_value=max_value,
            )
    return value


def _existing(
    path: str, kind: str, is_kind: Any, context: str, exception_class: type[DicomCubeError]
) -> str:
    validate_not_none(path, f"{kind}_path", context, exception_class)
    if not is_kind(path):
        wrong = f"is not a {kind}" if os.path.exists(path) else f"no such {kind}: not found"
        _refuse(exception_class, context, f"{path}: {wrong}", **{f"{kind}_path": path})
    return path


def _refuse(
    exception_class: type[DicomCubeError], context: str, message: str, **details: Any
) -> NoReturn:
    raise exception_class(message, context=context, details=details)
