"""Calls of the published interface, run by the published package and by this one: what they give.

    python published_calls.py FOLDER        prints JSON: {name of the call: what it gave}

FOLDER is for files, and holds series/ with DICOM files. What is called is written as code for
0.3.0 is. Must not know which package it runs in.
"""

import hashlib
import json
import os
import sys
import warnings

import numpy as np
import pydicom
from spacetransformer import Space

import dicube
from dicube import CommonTags, DicomCubeImage, DicomMeta, DicomStatus, SortMethod, validation
from dicube.codecs import ImageCodec, get_codec, is_codec_available, list_codecs, register_codec
from dicube.core import DicomCubeImageIO, PixelDataHeader
from dicube.dicom import DcbStreamingReader, get_space_from_DicomMeta
from dicube.dicom.dicom_builder import DicomBuilder, create_file_meta, save_dicom
from dicube.dicom.dicom_tags import get_tag_key
from dicube.exceptions import CodecError, DicomCubeError, InvalidCubeFileError, MetaDataError
from dicube.storage import DcbFile, DcbSFile, pixel_utils

FOLDER = sys.argv[1]
SPACE_FIELDS = ("shape", "origin", "spacing", "x_orientation", "y_orientation", "z_orientation")

calls = {}


def call(function):
    calls[function.__name__] = function
    return function


def path(name):
    return os.path.join(FOLDER, name)


def outcome(function):
    try:
        return function()
    except Exception as error:
        details = getattr(error, "details", {})
        return {
            "raises": [kind.__name__ for kind in type(error).__mro__],
            "why": str(error),
            "context": getattr(error, "context", None),
            "details": [name for name in ("parameter", "file_path") if name in details],
        }


def plain(value):
    """What JSON holds of a value, so that equal ones are equal there."""
    if isinstance(value, np.ndarray):
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return [list(value.shape), value.dtype.name, digest]
    if isinstance(value, (bytes, bytearray)):
        return hashlib.sha256(value).hexdigest()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, DicomStatus):
        return value.value
    if isinstance(value, PixelDataHeader):
        return value.to_dict()
    if isinstance(value, Space):
        return {name: np.round(getattr(value, name), 9).tolist() for name in SPACE_FIELDS}
    if isinstance(value, DicomCubeImage):
        return [value.raw_image, value.pixel_header, value.space, value.dicom_status]
    if isinstance(value, pydicom.Dataset):
        return {element.keyword: str(element.value) for element in value}
    raise TypeError(type(value).__name__)


def volume(dtype="uint16", shape=(5, 48, 40)):
    values = np.random.default_rng(1).integers(0, 4096, shape)
    return (np.cumsum(values, axis=2) % 4096).astype(dtype)


def space(shape=(5, 48, 40)):
    return Space(
        shape=shape[::-1], origin=(-10.0, 20.0, 5.0), spacing=(0.75, 0.5, 2.5)
    ).reverse_axis_order()


def an_image():
    array = volume()
    header = PixelDataHeader(2.0, -3.5, "uint16", "uint16", 40.0, 400.0)
    return DicomCubeImage(array, header, space=space())


def series():
    names = sorted(os.listdir(path("series")))
    return [pydicom.dcmread(path("series/" + name)) for name in names], names


def a_meta():
    datasets, names = series()
    return DicomMeta.from_datasets(datasets, names)


# ------------------------------------------------------------------------ load, save and their like


@call
def load_gives_what_was_saved():
    dicube.save(an_image(), path("a.dcbs"))
    return dicube.load(path("a.dcbs"))


@call
def every_dtype():
    found = []
    for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32"):
        array = volume(dtype)
        image = DicomCubeImage(array, PixelDataHeader(OriginalPixelDtype=dtype, PixelDtype=dtype))
        dicube.save(image, path(dtype + ".dcbs"), file_type="s")
        back = dicube.load(path(dtype + ".dcbs"))
        found.append([np.array_equal(back.raw_image, array), back.raw_image, back.get_fdata()])
    return found


@call
def the_extension_is_appended():
    dicube.save(an_image(), path("b.dcb"))
    dicube.save(an_image(), path("b"))
    return sorted(name for name in os.listdir(FOLDER) if name.startswith("b"))


@call
def skip_meta():
    image = dicube.load_from_dicom_folder(path("series"))
    dicube.save(image, path("c.dcbs"))
    without, with_meta = dicube.load(path("c.dcbs"), skip_meta=True), dicube.load(path("c.dcbs"))
    return [without.dicom_meta is None, without, with_meta.dicom_meta is None, with_meta]


@call
def load_meta():
    dicube.save(dicube.load_from_dicom_folder(path("series")), path("d.dcbs"))
    meta = dicube.load_meta(path("d.dcbs"))
    dicube.save(an_image(), path("e.dcbs"))
    return [
        meta.get_shared_value(CommonTags.PatientName),
        meta.get_values(CommonTags.InstanceNumber),
        meta.slice_count,
        dicube.load_meta(path("e.dcbs")),
    ]


@call
def load_from_dicom_folder():
    image = dicube.load_from_dicom_folder(path("series"))
    return [image, image.get_fdata("float64"), image.shape, image.dtype.name]


@call
def sort_methods():
    found = []
    for method in SortMethod:
        image = dicube.load_from_dicom_folder(path("series"), sort_method=method)
        found.append([image, image.dicom_meta.get_values(CommonTags.InstanceNumber)])
    return found


@call
def save_to_dicom_folder():
    image = dicube.load_from_dicom_folder(path("series"))
    dicube.save_to_dicom_folder(image, path("out"))
    names = sorted(os.listdir(path("out")))
    files = [pydicom.dcmread(path("out/" + name)) for name in names]
    return [
        names,
        [file.pixel_array for file in files],
        [file.PatientName.components for file in files],
    ]


@call
def save_to_dicom_folder_twice():
    image = dicube.load_from_dicom_folder(path("series"))
    dicube.save_to_dicom_folder(image, path("twice"))
    dicube.save_to_dicom_folder(image, path("twice"))
    return sorted(os.listdir(path("twice")))


@call
def dicom_of_an_image_without_metadata():
    image = DicomCubeImage(volume(), PixelDataHeader(), space=space())
    dicube.save_to_dicom_folder(image, path("new"))
    back = dicube.load_from_dicom_folder(path("new"))
    return [back.raw_image, back.space, back.dicom_status, image.dicom_meta is None]


@call
def nifti():
    dicube.save_to_nifti(
        DicomCubeImage(volume("int16"), PixelDataHeader(), space=space()), path("f.nii.gz")
    )
    back = dicube.load_from_nifti(path("f.nii.gz"))
    return [back.raw_image.astype(np.int64), back.space.spacing]


@call
def nifti_without_space():
    dicube.save_to_nifti(DicomCubeImage(volume("int16"), PixelDataHeader()), path("g.nii.gz"))


@call
def the_class_of_functions():
    DicomCubeImageIO.save(an_image(), path("g.dcbs"), "s")
    return [DicomCubeImageIO.load(path("g.dcbs")), DicomCubeImageIO.load_meta(path("g.dcbs"))]


@call
def threads():
    dicube.set_num_threads(3)
    return dicube.get_num_threads()


@call
def no_threads():
    dicube.set_num_threads(0)


@call
def load_nothing():
    dicube.load(path("nothing.dcbs"))


@call
def load_none():
    dicube.load(None)


@call
def load_garbage():
    with open(path("garbage.dcbs"), "wb") as file:
        file.write(b"garbage" * 100)
    dicube.load(path("garbage.dcbs"))


@call
def save_as_another_type():
    dicube.save(an_image(), path("h.dcbs"), file_type="x")


@call
def save_none():
    dicube.save(None, path("h.dcbs"))


@call
def save_nowhere():
    dicube.save(an_image(), path("no/such/folder/h.dcbs"))


@call
def load_no_folder():
    dicube.load_from_dicom_folder(path("no such folder"))


@call
def load_empty_folder():
    os.makedirs(path("empty"), exist_ok=True)
    dicube.load_from_dicom_folder(path("empty"))


# ---------------------------------------------------------------------------------------- the image


@call
def image_attributes():
    image = an_image()
    return [
        image.shape,
        str(image.dtype),
        image.raw_image,
        image.pixel_header,
        image.dicom_meta,
        image.space,
        image.dicom_status,
        [image.get_fdata(), image.get_fdata(dtype="float64")],
    ]


@call
def half_precision():
    return an_image().get_fdata("float16")


@call
def image_of_none():
    DicomCubeImage(None, PixelDataHeader())


@call
def image_with_another_space():
    DicomCubeImage(volume(), PixelDataHeader(), space=space((6, 48, 40)))


@call
def image_with_what_is_no_metadata():
    DicomCubeImage(volume(), PixelDataHeader(), dicom_meta={"PatientName": "DOE^JOHN"})


@call
def image_with_what_is_no_header():
    DicomCubeImage(volume(), "x")


@call
def image_without_a_header():
    return DicomCubeImage(volume(), None)


@call
def image_of_text():
    DicomCubeImage("x", PixelDataHeader())


@call
def init_meta():
    image = an_image()
    meta = image.init_meta(modality="CT", patient_name="DOE^JOHN", patient_id="4711")
    shared = (
        "Modality PatientName PatientID Rows Columns SamplesPerPixel PhotometricInterpretation "
        "BitsAllocated BitsStored HighBit PixelRepresentation PixelSpacing SliceThickness "
        "ImageOrientationPatient"
    ).split()
    return [
        meta is image.dicom_meta,
        meta.slice_count,
        {name: meta.get_shared_value(getattr(CommonTags, name)) for name in shared},
        [int(number) for number in meta.get_values(CommonTags.InstanceNumber)],
        len(set(meta.get_values(CommonTags.SOPInstanceUID))),
        dicube.get_dicom_status(meta),
    ]


@call
def init_meta_of_nobody():
    an_image().init_meta(patient_name="")


@call
def init_meta_positions():
    # 0.3.0 takes the axes of a Space as (x, y, z) here, which they are not.
    return an_image().init_meta().get_values(CommonTags.ImagePositionPatient)


# --------------------------------------------------------------------------------- the pixel header


@call
def pixel_header():
    header = PixelDataHeader(RescaleSlope=2.0, WindowCenter=40.0, Extras={"Mine": [1, 2]})
    return [
        PixelDataHeader(),
        header.to_dict(),
        json.loads(header.to_json()),
        PixelDataHeader.from_dict(d=header.to_dict()).Extras,
        PixelDataHeader.from_json(json_str=header.to_json()) == header,
        PixelDataHeader.from_dict({}) == PixelDataHeader(),
    ]


# ------------------------------------------------------------------------------------- the metadata


@call
def metadata():
    meta = a_meta()
    number, position = CommonTags.InstanceNumber, CommonTags.ImagePositionPatient
    return [
        meta.slice_count,
        meta.filenames,
        meta.get_values(number),
        meta.get_values(tag_input=position),
        meta.get_values("Modality"),
        meta.get_values(CommonTags.AcquisitionNumber),
        [meta.is_shared(number), meta.is_shared("Modality"), meta.is_shared("AcquisitionNumber")],
        [meta.is_missing(number), meta.is_missing("AcquisitionNumber")],
        [meta.get_shared_value("Modality"), meta.get_shared_value((0x28, 0x30))],
        meta.get_shared_value(CommonTags.AcquisitionNumber),
        [meta.get_vr(number), meta.get_vr(CommonTags.AcquisitionNumber)],
        [meta["Modality"], meta[number], meta["AcquisitionNumber"]],
        sorted(meta.keys()),
        len(meta),
        sorted(key for key, _ in meta.items()),
        meta.index(1)["00200013"],
        get_tag_key(CommonTags.PatientID),
    ]


@call
def a_value_that_is_not_shared():
    a_meta().get_shared_value(CommonTags.InstanceNumber)


@call
def metadata_set():
    meta = a_meta()
    meta.set_shared_item(CommonTags.SeriesDescription, "new")
    meta.set_shared_item(CommonTags.PatientName, {"Alphabetic": "ROE^JANE"})
    meta.set_shared_item(CommonTags.PixelSpacing, [0.25, 0.125])
    meta.set_nonshared_item(CommonTags.SliceLocation, [1.0, 2.0, 3.0, 4.0])
    return [
        meta.get_shared_value(CommonTags.SeriesDescription),
        meta.get_shared_value(CommonTags.PatientName),
        meta.get_shared_value(CommonTags.PixelSpacing),
        meta.get_values(CommonTags.SliceLocation),
    ]


@call
def a_name_set_as_text():
    meta = a_meta()
    meta.set_shared_item(CommonTags.PatientName, "ROE^JANE")
    return meta.get_shared_value(CommonTags.PatientName)


@call
def an_empty_series_uid():
    meta = a_meta()
    meta.set_shared_item(CommonTags.SeriesInstanceUID, "")
    return [meta.get_shared_value(CommonTags.SeriesInstanceUID), dicube.get_dicom_status(meta)]


@call
def too_few_values():
    a_meta().set_nonshared_item(CommonTags.SliceLocation, [1.0])


@call
def metadata_sorted():
    meta = a_meta()
    meta.sort_files(SortMethod.INSTANCE_NUMBER_DESC)
    down = meta.get_values(CommonTags.InstanceNumber), meta.filenames
    order = meta.sort_files()
    return [down, order, meta.get_values(CommonTags.InstanceNumber), meta.filenames]


@call
def metadata_as_json():
    meta = a_meta()
    again = DicomMeta.from_json(meta.to_json(), meta.filenames)
    return [
        again.get_values(CommonTags.InstanceNumber),
        again.get_shared_value(CommonTags.PatientName),
        again.filenames,
        json.loads(meta.to_json())["_merged_data"]["00200013"],
        json.loads(meta.to_json())["slice_count"],
    ]


@call
def status_and_space():
    meta = a_meta()
    return [
        dicube.get_dicom_status(meta),
        get_space_from_DicomMeta(meta),
        get_space_from_DicomMeta(meta, axis_order="zyx"),
        [status.value for status in DicomStatus],
    ]


@call
def another_axis_order():
    get_space_from_DicomMeta(a_meta(), axis_order="yzx")


# --------------------------------------------------------------------------------------- the codecs


@call
def codecs():
    codec = get_codec("JPH")
    array = volume()[0]
    return [
        "jph" in list_codecs(),
        is_codec_available("jph"),
        is_codec_available("none"),
        isinstance(codec, ImageCodec),
        [codec.id, codec.name, codec.extensions, codec.is_available()],
        codec.get_version().startswith("OpenJPH"),
        codec.decode(codec.encode(array)),
        codec.decode(codec.encode_lossless(array), level=0, resilient=False),
        codec.decode(codec.encode(array, reversible=True, block_size=(64, 64), quality=1)),
    ]


@call
def unknown_codec():
    get_codec("none")


@call
def own_codec():
    class Zeros:
        id, name, extensions = 77, "Zeros", (".zero",)

        def encode(self, image, /, **options):
            return b""

        def decode(self, data, /, **options):
            return np.zeros((1, 1), np.uint8)

        def is_available(self):
            return True

        def get_version(self):
            return "1"

    register_codec(Zeros())
    return [get_codec("zeros").id, "zeros" in list_codecs(), is_codec_available("ZEROS")]


@call
def damaged_codestream():
    get_codec("jph").decode(b"\xff\x4f\xff\x51" + bytes(100))


# ---------------------------------------------------------------------------------------- the files


@call
def files():
    image = an_image()
    writer = DcbSFile(path("i"), "w")
    writer.write(
        images=list(image.raw_image),
        pixel_header=image.pixel_header,
        dicom_meta=None,
        dicom_status=DicomStatus.GAP_LOCATION,
        space=image.space,
    )
    file = DcbFile(path("i.dcbs"))
    header = file.header
    return [
        os.path.basename(writer.filename),
        type(file).__name__,
        sorted(header),
        [plain(header["magic"]), header["version"], header["frame_count"]],
        header == DcbSFile(path("i.dcbs"), mode="r").read_header(verify_magic=True),
        file.read_images(),
        file.read_meta(),
        file.read_space(),
        file.read_pixel_header(),
        file.read_dicom_status(),
        file.get_transfer_syntax_uid(),
        [DcbFile.MAGIC.hex(), DcbFile.VERSION, DcbFile.HEADER_STRUCT, DcbFile.FILE_EXTENSION],
        [DcbSFile.MAGIC.hex(), DcbSFile.CODEC_NAME, DcbSFile.FILE_EXTENSION],
        DcbSFile.TRANSFER_SYNTAX_UID,
    ]


@call
def file_with_metadata():
    image = dicube.load_from_dicom_folder(path("series"))
    DcbSFile(path("j.dcbs"), "w").write(
        image.raw_image, image.pixel_header, image.dicom_meta, image.dicom_status, image.space
    )
    file = DcbSFile(path("j.dcbs"))
    return [
        file.read_meta().get_values(CommonTags.InstanceNumber),
        file.read_meta(DicomMetaClass=DicomMeta).get_shared_value(CommonTags.PatientName),
        file.read_images(),
        file.read_space(SpaceClass=Space),
        file.read_pixel_header(HeaderClass=PixelDataHeader),
    ]


@call
def file_of_one_frame():
    DcbSFile(path("k.dcbs"), "w").write([volume()[0]], PixelDataHeader())
    return DcbSFile(path("k.dcbs")).read_images()


@call
def file_that_is_none():
    with open(path("l.dcbs"), "wb") as file:
        file.write(bytes(200))
    DcbFile(path("l.dcbs"))


@call
def file_in_another_mode():
    DcbFile(path("i.dcbs"), mode="x")


@call
def file_that_is_missing():
    missing = DcbSFile(path("missing.dcbs"))
    kinds = outcome(missing.read_header)["raises"]
    return [missing.filename == path("missing.dcbs"), "InvalidCubeFileError" in kinds]


# --------------------------------------------------------------------------------------- the viewer


@call
def frames_as_dicom():
    image = dicube.load_from_dicom_folder(path("series"))
    dicube.save(image, path("m.dcbs"))
    found = []
    with DcbStreamingReader(path("m.dcbs"), chunk_size=4, cache_size=2) as reader:
        for number in range(reader.get_frame_count()):
            file = pydicom.dcmread(
                pydicom.filebase.DicomBytesIO(reader.get_dicom_for_frame(number))
            )
            (frame,) = pydicom.encaps.generate_frames(file.PixelData, number_of_frames=1)
            found.append(
                [
                    str(file.file_meta.TransferSyntaxUID),
                    int(file.InstanceNumber),
                    [float(x) for x in file.ImagePositionPatient],
                    [file.Rows, file.Columns, file.BitsAllocated, file.PixelRepresentation],
                    get_codec("jph").decode(frame),
                ]
            )
        told = reader.get_metadata()
        stats = reader.get_cache_stats()
        reader.clear_cache()
    return [
        found,
        {name: value for name, value in told.items() if name != "cache_stats"},
        sorted(told["cache_stats"]),
        [stats["cache_size_limit"], stats["chunk_size"]],
    ]


@call
def no_such_frame():
    with DcbStreamingReader(path("m.dcbs")) as reader:
        reader.get_dicom_for_frame(99)


# -------------------------------------------------------------------------------------- the builder


@call
def dataset_of_an_array():
    meta = a_meta()
    ds = DicomBuilder.build(meta.index(0), PixelDataHeader(), volume()[0])
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(DicomBuilder.to_bytes(ds)))
    return [again.pixel_array, again.Rows, str(again.PatientName), again.BitsStored]


@call
def dataset_of_keywords():
    elements = {"PatientName": "DOE^JOHN", "Modality": "CT", "Rows": 48, "Columns": 40}
    ds = DicomBuilder.build(elements, PixelDataHeader(), volume()[0])
    save_dicom(ds, path("n.dcm"))
    again = pydicom.dcmread(path("n.dcm"))
    return [again.pixel_array, str(again.SOPClassUID), str(again.PatientName), again.BitsStored]


@call
def dataset_of_a_coded_frame():
    coded = get_codec("jph").encode(volume()[0])
    uid = DcbSFile.TRANSFER_SYNTAX_UID
    header, meta = PixelDataHeader(), a_meta().index(0)
    ds = DicomBuilder.build(meta, header, coded, transfer_syntax_uid=uid, is_compressed_data=True)
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(DicomBuilder.to_bytes(ds)))
    (frame,) = pydicom.encaps.generate_frames(again.PixelData, number_of_frames=1)
    return [str(again.file_meta.TransferSyntaxUID), get_codec("jph").decode(frame)]


@call
def dataset_of_another_dtype():
    ds = DicomBuilder.build(a_meta().index(0), PixelDataHeader(), volume("int32")[0])
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(DicomBuilder.to_bytes(ds)))
    return [again.pixel_array, again.BitsAllocated, again.PixelRepresentation]


@call
def dataset_of_values_beyond_the_dtype():
    array = np.full((48, 40), 70000, np.int32)
    return DicomBuilder.build(a_meta().index(0), PixelDataHeader(), array).PixelData


@call
def dataset_in_implicit_vr():
    uid = "1.2.840.10008.1.2"
    ds = DicomBuilder.build(a_meta().index(0), PixelDataHeader(), volume()[0], uid)
    again = pydicom.dcmread(pydicom.filebase.DicomBytesIO(DicomBuilder.to_bytes(ds)))
    return [str(again.file_meta.TransferSyntaxUID), again.pixel_array, str(again.PatientName)]


def an_unknown_transfer_syntax():
    return DicomBuilder.build(a_meta().index(0), PixelDataHeader(), volume()[0], "1.2.3.4.5")


@call
def dataset_in_an_unknown_transfer_syntax():
    return str(an_unknown_transfer_syntax().file_meta.TransferSyntaxUID)


@call
def file_in_an_unknown_transfer_syntax():
    return DicomBuilder.to_bytes(an_unknown_transfer_syntax())


def class_of(modality):
    ds = pydicom.Dataset()
    ds.Modality = modality
    return str(create_file_meta(ds).MediaStorageSOPClassUID)


@call
def classes_of_modalities():
    return [class_of(modality) for modality in ("CT", "MR", "PT", "US", "CR", "DX", "NM")]


@call
def class_of_another_modality():
    return class_of("XX")


# ------------------------------------------------------------------------------- arrays and headers


@call
def derived_headers():
    arrays = [volume(dtype) for dtype in ("uint8", "int8", "uint16", "int16", "uint32", "int32")]
    arrays += [volume("float32"), volume("float64") - 5, np.full((2, 3, 4), 7.0)]
    return [pixel_utils.derive_pixel_header_from_array(array) for array in arrays]


@call
def derived_headers_without_a_sign():
    arrays = [volume(dtype) - np.array(100, dtype) for dtype in ("int8", "int16", "int32")]
    return [
        pixel_utils.derive_pixel_header_from_array(image=array, support_negative=False)
        for array in arrays
    ]


@call
def whole_numbers():
    arrays = [np.array(values, np.float64) for values in ([0, 255], [-1, 3], [0, 7e4], [-1, 7e4])]
    fractions = [np.array([0.5]), np.array([np.nan]), np.array([np.inf]), np.array([1e300])]
    return [
        [pixel_utils.convert_to_minimal_int(array) for array in arrays],
        [bool(pixel_utils.is_lossless_int_convertible(array)) for array in arrays + fractions],
    ]


@call
def too_large_to_be_whole():
    pixel_utils.convert_to_minimal_int(np.array([1e12]))


@call
def dtypes_for_nifti():
    found = []
    for dtype, slope, intercept in [
        ("uint16", 1.0, 0.0),
        ("uint16", 1.0, -1024.0),
        ("uint8", 2.0, 1.0),
        ("int16", 1.0, 0.0),
    ]:
        header = PixelDataHeader(slope, intercept, dtype, dtype)
        found.append(pixel_utils.determine_optimal_nifti_dtype(volume(dtype), header))
    return found


@call
def float_data():
    header = PixelDataHeader(2.0, -1024.0)
    return [pixel_utils.get_float_data(volume(), header, dtype) for dtype in ("float32", "float64")]


# -------------------------------------------------------------------------------- checks and errors


@call
def validation_of_what_is_right():
    array = np.zeros((2, 3))
    return [
        validation.validate_not_none(1, "x"),
        validation.validate_file_exists(__file__) == __file__,
        validation.validate_folder_exists(FOLDER) == FOLDER,
        validation.validate_array_shape(array, expected_dims=2, min_dims=2, max_dims=2) is array,
        validation.validate_parameter_type(1, (int, str), "x"),
        len(validation.validate_shape_consistency(array, array)),
        validation.validate_string_not_empty("x", "x"),
        validation.validate_numeric_range(5, "x", min_value=5, max_value=5),
    ]


@call
def validation_of_what_is_wrong():
    array = np.zeros((2, 3))
    found = []
    for function, arguments in [
        (validation.validate_not_none, (None, "x", "here")),
        (validation.validate_not_none, (None, "x", "here", MetaDataError)),
        (validation.validate_file_exists, (path("no file"), "here")),
        (validation.validate_file_exists, (FOLDER, "here")),
        (validation.validate_file_exists, (None, "here")),
        (validation.validate_folder_exists, (path("no folder"), "here")),
        (validation.validate_folder_exists, (__file__, "here")),
        (validation.validate_array_shape, (array, 3)),
        (validation.validate_array_shape, (array, None, 3)),
        (validation.validate_array_shape, (array, None, None, 1)),
        (validation.validate_array_shape, ([1],)),
        (validation.validate_parameter_type, (1, str, "x", "here")),
        (validation.validate_parameter_type, (None, str, "x", "here", CodecError)),
        (validation.validate_shape_consistency, (array, array.T)),
        (validation.validate_string_not_empty, (" ", "x", "here")),
        (validation.validate_string_not_empty, (1, "x", "here")),
        (validation.validate_numeric_range, (1, "x", 2)),
        (validation.validate_numeric_range, (1, "x", None, 0)),
        (validation.validate_numeric_range, ("1", "x")),
    ]:
        told = outcome(lambda: function(*arguments))  # noqa: B023 (called at once)
        found.append([told["raises"], told["context"], told["details"]])
    return found


@call
def errors():
    found = []
    for kind in (DicomCubeError, InvalidCubeFileError, CodecError, MetaDataError):
        error = kind("wrong", context="here", suggestion="do better", details={"number": 7})
        found.append([error.context, error.suggestion, error.details, str(error)])
    return [found, DicomCubeError("wrong").details, str(DicomCubeError("wrong"))]


def main():
    found = {name: outcome(function) for name, function in calls.items()}
    print(json.dumps(found, default=plain))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main()
