"""Merges the elements of single-frame instances into one multi-frame instance.

Follows the standard's rules for Legacy Converted Enhanced CT, MR and PET (PS3.3 A.70 to A.72):
elements that belong to a functional group go there, and all others go to the sequences of
unassigned attributes, so that nothing is lost (PS3.3 C.7.6.16.2.25 and .26). A multi-frame
secondary capture (A.8.2 to A.8.5) gets the same sequences, as a standard extended SOP class. Must
not know pixels or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_VR

from dicube.dicom.dicom_tags import get_tag_key, tag_name
from dicube.dicom.export.uids import uid_from
from dicube.dicom.merge_utils import JsonElement
from dicube.dicom.metadata.frames import PER_FRAME, SHARED
from dicube.exceptions import DataConsistencyError

Elements: TypeAlias = "dict[str, JsonElement]"

UNASSIGNED_SHARED, UNASSIGNED_PER_FRAME = "00209170", "00209171"


class Kind(NamedTuple):
    """The kind of multi-frame instance that single-frame instances become.

    Attributes:
        sop_class: UID of the multi-frame SOP class.
        frame_type: tag key of the sequence that holds a frame's type; '' if there is none.
        rescale_type: RescaleType if the source has none; '' to leave it out.
    """

    sop_class: str
    frame_type: str
    rescale_type: str


CLASSIC = {
    "1.2.840.10008.5.1.4.1.1.2": Kind("1.2.840.10008.5.1.4.1.1.2.2", "00189329", "HU"),
    "1.2.840.10008.5.1.4.1.1.4": Kind("1.2.840.10008.5.1.4.1.1.4.4", "00189226", "US"),
    "1.2.840.10008.5.1.4.1.1.128": Kind("1.2.840.10008.5.1.4.1.1.128.1", "00189751", "US"),
}
_MR = "1.2.840.10008.5.1.4.1.1.4"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"

# Elements of the whole instance: patient, study, series, equipment, frame of reference and SOP
# common (PS3.3 C.7.1 to C.7.5, C.12), and those of the image modules that hold for all pixels.
_OF_THE_WHOLE = tuple(
    map(
        get_tag_key,
        """
        SpecificCharacterSet InstanceCreationDate InstanceCreationTime TimezoneOffsetFromUTC
        StudyDate SeriesDate StudyTime SeriesTime AccessionNumber Modality ConversionType
        Manufacturer InstitutionName InstitutionAddress ReferringPhysicianName StationName
        StudyDescription ProcedureCodeSequence SeriesDescription InstitutionalDepartmentName
        PhysiciansOfRecord PerformingPhysicianName NameOfPhysiciansReadingStudy OperatorsName
        ManufacturerModelName ReferencedStudySequence ReferencedPerformedProcedureStepSequence
        PatientName PatientID IssuerOfPatientID PatientBirthDate PatientSex OtherPatientIDs
        PatientAge PatientSize PatientWeight EthnicGroup PatientComments PatientIdentityRemoved
        DeidentificationMethod DeidentificationMethodCodeSequence AdditionalPatientHistory
        ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
        ClinicalTrialSiteID ClinicalTrialSiteName ClinicalTrialSubjectID
        ClinicalTrialTimePointID ClinicalTrialTimePointDescription
        DeviceSerialNumber SoftwareVersions ProtocolName PatientPosition BodyPartExamined
        StudyInstanceUID StudyID SeriesNumber Laterality FrameOfReferenceUID
        SynchronizationFrameOfReferenceUID PositionReferenceIndicator
        PerformedProcedureStepStartDate PerformedProcedureStepStartTime
        PerformedProcedureStepID PerformedProcedureStepDescription RequestAttributesSequence
        LongitudinalTemporalInformationModified PixelPaddingValue PixelPaddingRangeLimit
        LossyImageCompression LossyImageCompressionRatio LossyImageCompressionMethod
        BurnedInAnnotation PresentationLUTShape ICCProfile
        """.split(),
    )
)
_OF_PIXELS = tuple(
    map(
        get_tag_key,
        """
        SamplesPerPixel PhotometricInterpretation PlanarConfiguration Rows Columns BitsAllocated
        BitsStored HighBit PixelRepresentation PixelAspectRatio
        RedPaletteColorLookupTableDescriptor GreenPaletteColorLookupTableDescriptor
        BluePaletteColorLookupTableDescriptor RedPaletteColorLookupTableData
        GreenPaletteColorLookupTableData BluePaletteColorLookupTableData
        """.split(),
    )
)
# Elements of type 2, which must be present but may be empty.
_NEVER_MISSING = (
    *("StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID"),
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "SeriesNumber"),
    *("Manufacturer", "PositionReferenceIndicator", "FrameOfReferenceUID"),
)
_ONE_FOR_ALL = ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "SpecificCharacterSet")

# Functional group macros by their sequence: their elements, and the required ones among these
# (PS3.3 C.7.6.16.2.1, .3, .4, .9, .10).
_MACROS = {
    "00289110": (("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"), ("PixelSpacing",)),
    "00209113": (("ImagePositionPatient",), ("ImagePositionPatient",)),
    "00209116": (("ImageOrientationPatient",), ("ImageOrientationPatient",)),
    "00289132": (
        ("WindowCenter", "WindowWidth", "WindowCenterWidthExplanation", "VOILUTFunction"),
        ("WindowCenter", "WindowWidth"),
    ),
    "00289145": (
        ("RescaleIntercept", "RescaleSlope", "RescaleType"),
        ("RescaleIntercept", "RescaleSlope"),
    ),
}
_PIXEL_VALUES, _RESCALE_TYPE = "00289145", get_tag_key("RescaleType")
_REFERENCED = get_tag_key("ReferencedImageSequence")
_REAL_WORLD = get_tag_key("RealWorldValueMappingSequence")
_FRAME_CONTENT, _CONVERSION_SOURCE = "00209111", "00209172"
_STACK, _PLACE = "00209056", "00209057"
_SOP_CLASS, _SOP_INSTANCE, _FRAMES = "00080016", "00080018", "00280008"


def element(keyword: str, *values: Any) -> Elements:
    """Return one element by its tag key; the values of a sequence are its items."""
    key = get_tag_key(keyword)
    vr = dictionary_VR(int(key, 16))
    return {key: {"vr": vr, "Value": list(values)} if values else {"vr": vr}}


def text_of(elements: Mapping[str, JsonElement], keyword: str, place: int = 0) -> str:
    """Return the value of an element at a position as text; '' if there is none."""
    values = elements.get(get_tag_key(keyword), {}).get("Value", [])
    return "" if len(values) <= place or values[place] is None else str(values[place])


def merge_instances(
    instances: Sequence[Elements], kind: Kind, ranks: Sequence[int] | None
) -> Elements:
    """Return the elements of the multi-frame instance, without its identifiers.

    Args:
        instances: the elements of each single-frame instance without pixels; they are not changed.
        kind: the kind of multi-frame instance.
        ranks: rank of each instance in a stack of slices, from 1; None if they aren't one stack.

    Raises:
        DataConsistencyError: instances differ in an element that one instance has only once.
    """
    for keyword in _ONE_FOR_ALL:
        _expect_same(instances, get_tag_key(keyword))
    left = [dict(elements) for elements in instances]
    for elements in left:
        for key in (_SOP_CLASS, _SOP_INSTANCE, _FRAMES):
            elements.pop(key, None)
    merged: Elements = {}
    for key in _OF_PIXELS:
        _expect_same(instances, key)
    # In a secondary capture, a rescale shared by all frames is an element of the instance.
    rescale = () if kind.frame_type else tuple(map(get_tag_key, _MACROS[_PIXEL_VALUES][0]))
    for key in (*_OF_THE_WHOLE, *_OF_PIXELS, *rescale):
        if all(key in elements and elements[key] == left[0].get(key) for elements in left):
            merged[key] = left[0][key]
            for elements in left:
                del elements[key]
    for keyword in _NEVER_MISSING:
        merged.setdefault(*element(keyword).popitem())
    merged.update(_functional_groups(instances, left, kind, ranks))
    if ranks is not None:
        merged.update(_dimensions(merged))
    return dict(sorted(merged.items()))


def _functional_groups(
    instances: Sequence[Elements],
    left: Sequence[Elements],
    kind: Kind,
    ranks: Sequence[int] | None,
) -> Elements:
    """Return both sequences of functional groups; removes their elements from `left`."""
    macros = {key: _macro(left, *names) for key, names in _MACROS.items()}
    if kind.rescale_type:
        for item in macros[_PIXEL_VALUES] or ():
            item.setdefault(_RESCALE_TYPE, {"vr": "LO", "Value": [kind.rescale_type]})
    macros[_FRAME_CONTENT] = [_frame_content(i, ranks) for i in range(len(left))]
    macros[_CONVERSION_SOURCE] = [
        {
            **element("ReferencedSOPClassUID", text_of(source, "SOPClassUID")),
            **element("ReferencedSOPInstanceUID", text_of(source, "SOPInstanceUID")),
        }
        for source in instances
    ]
    if kind.frame_type:
        macros[kind.frame_type] = [frame_type(source, kind, "FrameType") for source in instances]
    shared: Elements = {}
    per_frame: list[Elements] = [{} for _ in left]
    for key, items in macros.items():
        if items is None:
            continue
        if key != _FRAME_CONTENT and all(item == items[0] for item in items):
            shared[key] = _sequence(items[0])
        else:
            for group, item in zip(per_frame, items, strict=True):
                group[key] = _sequence(item)
    _move_sequence(_REFERENCED, left, shared, per_frame)
    _move_sequence(_REAL_WORLD, left, shared, per_frame)
    unassigned, of_frames = _unassigned(left)
    shared[UNASSIGNED_SHARED] = _sequence(unassigned)
    for group, item in zip(per_frame, of_frames, strict=True):
        group[UNASSIGNED_PER_FRAME] = _sequence(item)
    return {SHARED: _sequence(shared), PER_FRAME: {"vr": "SQ", "Value": per_frame}}


def _move_sequence(
    key: str, left: Sequence[Elements], shared: Elements, per_frame: Sequence[Elements]
) -> None:
    """Move a sequence to its functional group macro, which has the same tag.

    These are the Real World Value Mappings and the referenced images. The latter's macro is
    required in all frames if any instance has references (PS3.3 A.70.4, C.7.6.16.2.5). The standard
    also requires ReferencedImageEvidenceSequence with the series of the referenced images, but
    single-frame instances don't contain it.
    """
    found = [elements.pop(key, None) for elements in left]
    if all(sequence == found[0] for sequence in found):
        if found[0] is not None:
            shared[key] = found[0]
        return
    for group, sequence in zip(per_frame, found, strict=True):
        if sequence is not None or key == _REFERENCED:
            group[key] = sequence or {"vr": "SQ"}


def _macro(
    left: Sequence[Elements], keywords: Sequence[str], needed: Sequence[str]
) -> list[Elements] | None:
    """Return each frame's item of a macro, removed from `left`; None if one can't be complete."""
    if not all(elements.get(get_tag_key(k), {}).get("Value") for k in needed for elements in left):
        return None
    keys = list(map(get_tag_key, keywords))
    return [{key: elements.pop(key) for key in keys if key in elements} for elements in left]


def _frame_content(index: int, ranks: Sequence[int] | None) -> Elements:
    if ranks is None:
        return {}
    return {
        **element("StackID", "1"),
        **element("InStackPositionNumber", ranks[index]),
        **element("DimensionIndexValues", 1, ranks[index]),
    }


def frame_type(source: Elements, kind: Kind, keyword: str) -> Elements:
    """Return the frame type as element `keyword`, with related ones (PS3.3 C.8.15.2, C.8.13.3)."""
    given = [text_of(source, "ImageType", place) for place in range(4)]
    defaults = ("ORIGINAL", "PRIMARY", "VOLUME", "NONE")
    found = {
        **element(keyword, *(a or b for a, b in zip(given, defaults, strict=True))),
        **element("PixelPresentation", "MONOCHROME"),
        **element("VolumetricProperties", "VOLUME"),
        **element("VolumeBasedCalculationTechnique", "NONE"),
    }
    if kind is CLASSIC[_MR]:
        found |= element("ComplexImageComponent", "MAGNITUDE")
        found |= element("AcquisitionContrast", "UNKNOWN")
    return found


def _unassigned(left: Sequence[Elements]) -> tuple[Elements, list[Elements]]:
    """Return the unassigned elements that all frames share, and those of each frame."""
    keys = sorted({key for elements in left for key in elements})
    first = left[0]
    shared: Elements = {}
    for key in keys:
        creator = _creator_of(key)
        if (creator is None or creator in shared) and all(
            key in elements and elements[key] == first.get(key) for elements in left
        ):
            shared[key] = first[key]
    each = []
    for elements in left:
        own = {key: value for key, value in elements.items() if key not in shared}
        creators = {_creator_of(key) for key in own}
        own |= {key: elements[key] for key in creators if key is not None and key in elements}
        each.append(dict(sorted(own.items())))
    return shared, each


def _creator_of(key: str) -> str | None:
    """Return the key of a private element's creator (PS3.5 7.8.1); None for other elements."""
    is_private = int(key[3], 16) % 2 == 1
    block = key[4:6]
    return f"{key[:4]}00{block}" if is_private and block >= "10" else None


def _dimensions(merged: Elements) -> Elements:
    """Return the multi-frame dimension module (PS3.3 C.7.6.17) of a stack of slices."""
    uid = element(
        "DimensionOrganizationUID", uid_from(text_of(merged, "StudyInstanceUID"), "a stack")
    )
    return {
        **element("DimensionOrganizationSequence", uid),
        **element(
            "DimensionIndexSequence",
            *(
                {
                    **uid,
                    **element("DimensionIndexPointer", pointer),
                    **element("FunctionalGroupPointer", _FRAME_CONTENT),
                }
                for pointer in (_STACK, _PLACE)
            ),
        ),
    }


def _expect_same(instances: Sequence[Elements], key: str) -> None:
    first = instances[0].get(key)
    for number, elements in enumerate(instances):
        if elements.get(key) != first:
            raise DataConsistencyError(
                f"slice {number}: {tag_name(key)} differs from slice 0, but a multi-frame file has "
                "only one"
            )


def _sequence(item: Elements) -> JsonElement:
    return {"vr": "SQ", "Value": [item]}
