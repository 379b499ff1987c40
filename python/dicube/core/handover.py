"""Hands volumes to other libraries as their own objects. Each library is loaded when it is used.

Only this module knows ipyniivue. Must not know dicube files, or how values are chosen.
"""

from __future__ import annotations

from typing import Any

from dicube.exceptions import MissingPackageError


def niivue_of(
    nifti: bytes,
    name: str,
    *,
    limits: tuple[float, float] | None = None,
    inverted: bool = False,
    height: int = 400,
) -> Any:
    """Return a volume as a widget for notebooks.

    Args:
        nifti: a .nii file.
        name: shown for the volume; ends in .nii.
        limits: the values that are black and white; None for the choice of NiiVue.
        inverted: whether the low value is white.
        height: of the widget, in pixels.

    Returns:
        An `ipyniivue.NiiVue` with three planes and 3D.

    Raises:
        MissingPackageError: ipyniivue is not installed.
    """
    try:
        import ipyniivue
    except ImportError as error:
        raise MissingPackageError(
            "the view needs the package ipyniivue", suggestion="pip install 'dicube[notebook]'"
        ) from error
    low, high = limits or (None, None)
    volume = ipyniivue.Volume(
        data=nifti, name=name, cal_min=low, cal_max=high, colormap="gray", colorbar_visible=False
    )
    volume.colormap_invert = inverted
    # As radiologists look at them: the patient's right and front are at the left.
    view = ipyniivue.NiiVue(
        height=height,
        is_radiological_convention=True,
        sagittal_nose_left=True,
        multiplanar_show_render=ipyniivue.ShowRender.ALWAYS,
    )
    view.set_slice_type(ipyniivue.SliceType.MULTIPLANAR)
    view.load_volumes([volume])
    return view
