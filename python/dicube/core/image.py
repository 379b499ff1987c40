"""DicomCubeImage: a volume with its metadata and geometry, and the ways in and out of it.

Pixels and sections come from `storage`, DICOM from `dicom`. This module must not know how a file
is laid out, how pixels are coded, or how DICOM is parsed.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dicube.core.cube_parts import CubeParts, parts_around_frames, read_parts
from dicube.core.dicom_export import export_file, export_folder, exportable_meta
from dicube.core.fidelity.agreement import check_agreement
from dicube.core.fidelity.coded_source import CodedSource
from dicube.core.fidelity.consistency import checked_header, checked_meta, checked_space
from dicube.core.fidelity.damage import Damage
from dicube.core.fidelity.exactness import Exact, Exactness
from dicube.core.fidelity.origin import Origin
from dicube.core.fidelity.provenance import Provenance
from dicube.core.geometry.crop import Crop, cropped_parts
from dicube.core.geometry.parts_of_series import parts_of_slices, volumes_of
from dicube.core.geometry.placement import fitting_nifti, grid_of_parts, placement, with_volumes
from dicube.core.handover import Handed, from_data_array, from_sitk
from dicube.core.instances.stored_files import expect_frames
from dicube.core.lossy.coding import lossy_coding
from dicube.core.lossy.loss import Loss, write_losses
from dicube.core.nifti_image import nifti_of_image, read_nifti, without_stale_nifti
from dicube.core.pictures.source import PictureSource
from dicube.core.pixels import Pixels
from dicube.core.slice_values import real_values, values_need_meta
from dicube.core.volume import Volume
from dicube.dicom.dicom_io import read_series
from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.dicom_status import DicomStatus, get_dicom_status
from dicube.dicom.export.new_series import make_meta
from dicube.dicom.files.sources import Source, name_of
from dicube.dicom.metadata.real_world import unreadable_slices, values_of_slices
from dicube.dicom.originals.restore import write_originals
from dicube.dicom.series.geometry import Grid, Space, space_of_grid, space_or_reason
from dicube.dicom.series.precedence import HeaderAndSpace
from dicube.dicom.series.stored_bits import UNUSED_BITS, most_bits_stored
from dicube.dicom.transfer_syntaxes import EXPLICIT, transfer_syntax_of
from dicube.exceptions import DataConsistencyError, reporting_memory
from dicube.nifti import write_nifti_file
from dicube.pixel_header import PixelDataHeader
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import kind_of_path
from dicube.storage.pixel_utils import stored_volume
from dicube.storage.url_files import written_to
from dicube.storage.urls import name_of_source
from dicube.threads import Progress

Folder = str | os.PathLike[str]

_ONE_FILE = "such a file holds the volume alone"


class DicomCubeImage(Volume):
    """A volume of stored pixel values with the metadata and geometry of its slices.

    Example:
        >>> header = dicube.PixelDataHeader(RescaleIntercept=-1000.0)
        >>> image = dicube.DicomCubeImage(np.full((2, 3, 4), 1024, np.uint16), header)
        >>> image
        <DicomCubeImage shape=(2, 3, 4) dtype=uint16 status=consistent>
        >>> float(image.get_fdata()[0, 0, 0])
        24.0

    Args:
        raw_image: stored values, (slices, rows, columns), or (slices, rows, columns, 3) for
            colour; (rows, columns) is taken as a single slice. Integers of 8 to 64 bits or
            floating-point numbers of 16 to 64, in either byte order. Not copied.
        pixel_header: rescale and window; None for slope 1 and intercept 0.
        dicom_meta: metadata of as many slices; None for none.
        space: geometry in (z, y, x) order, of the volume's shape; None if it isn't known.
        dicom_status: None for the status of the metadata, CONSISTENT without metadata.
        losses: what lossy coding changed in the pixels before: `losses` of the image or cube
            that they were taken from.
        origin: what a reader of this package knows about where the image came from; `losses` are
            part of it.

    Raises:
        DataConsistencyError: a dtype or shape that can't be stored, or arguments that don't fit
            each other.
        MetaDataError: dicom_meta is not a DicomMeta.

    Attributes:
        dicom_status: a DicomStatus.
    """

    def __init__(
        self,
        raw_image: NDArray[Any] | Pixels,
        pixel_header: PixelDataHeader | None = None,
        dicom_meta: DicomMeta | None = None,
        space: Space | None = None,
        dicom_status: DicomStatus | None = None,
        *,
        losses: Sequence[Loss] = (),
        origin: Origin | None = None,
    ) -> None:
        if not isinstance(raw_image, Pixels):
            raw_image = Pixels(stored_volume(raw_image))
        self._pixels = raw_image
        header = checked_header(pixel_header, self.dtype.name)
        self._dicom_meta = checked_meta(dicom_meta, self.shape[0])
        self._stated = HeaderAndSpace(dicom_meta, header, checked_space(space, self.shape))
        if dicom_status is None:
            dicom_status = get_dicom_status(dicom_meta) if dicom_meta else DicomStatus.CONSISTENT
        self.dicom_status = dicom_status
        self._origin = Origin(losses=tuple(losses)) if origin is None else origin
        self._real_world: int | str | None = None  # chosen when the image was read

    # ------------------------------------------------------------------------------ DICOM, files

    @classmethod
    def from_dicom_folder(
        cls,
        folder: Source,
        sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
        num_threads: int | None = None,
        series_uid: str | None = None,
        progress: Progress | None = None,
        *,
        keep_all: bool = False,
        apart: Mapping[str, str] = MappingProxyType({}),
    ) -> DicomCubeImage:
        """Read a series of DICOM files.

        Args:
            folder: a folder that holds the files, in subfolders too; a zip archive of them; a
                DICOMDIR that names them; one DICOM file; a pydicom dataset; or a list of these.
                Each frame of a multi-frame file becomes a slice.
            sort_method: the order of the slices.
            num_threads: threads for reading; None or 0 for one per processor.
            series_uid: the series to read if there are several.
            progress: called as `progress(done, total)`.
            keep_all: keep every file of the series. The images of the commonest shape and sample
                type form the volume (of most files, then of most frames, then of the first file).
                The others, such as a scout, a video or pixels that can't be decoded, are kept
                whole with the original files, each with the reason. By default they are an error.
            apart: with `keep_all`, files that are kept whole although they could be part of the
                volume: the reason, by the path of each.

        Returns:
            The image. Its stored values are those of the files, as pydicom's `pixel_array` with
            `raw=True` and `correct_unused_bits=False` has them: whole words, including any bits
            above BitsStored; colours as (…, row, column, sample) whatever the planar configuration.
            Slope and intercept are in `pixel_header`, and in the metadata if they differ between
            slices.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) the folder does not exist.
            MetaDataError: it holds no DICOM images, or a damaged one, or one with two pixel
                elements or two values of an element that decides what the image is.
            DataConsistencyError: several series and none chosen, or images of different shape, or
                coded frames of another size than their file declares, or a dicube file among the
                files. With `keep_all`: a file is of another series, or a dataset in memory.
            CodecError: compressed pixels can't be decoded, or the package that decodes them is
                missing.
            NoImagesError: (a MetaDataError) with `keep_all`: no file can be part of a volume, or
                one names another patient or study than the images; `store_files` keeps such series.

        Warns:
            UserWarning: the geometry can't be determined, so `space` is None. The text names the
                status; if the slices belong to several volumes, also how many these are and what
                distinguishes them. Or a file is not encoded as it states, or has two values of
                another element; names the file and the element. Or a file has more frames than
                NumberOfFrames says, or bytes after its frames. Or the rescale of slices is
                unreadable; see `get_fdata`. Or files without pixels are outside the volume: they
                are kept with the original files, or left out (a LeftOutWarning).

        Example:
            >>> image = dicube.DicomCubeImage.from_dicom_folder("series")
            >>> image
            <DicomCubeImage shape=(5, 48, 40) dtype=int16 status=consistent>
        """
        with reporting_memory:
            meta, volume, header, originals = read_series(
                folder,
                sort_method=sort_method,
                num_threads=num_threads,
                series_uid=series_uid,
                progress=progress,
                keep_all=keep_all,
                apart=apart,
            )
        status = get_dicom_status(meta)
        found, reason = space_or_reason(meta)
        space = None if found is None else found.reverse_axis_order()
        if space is None:
            if not reason.startswith(status.value):
                reason = f"{reason} (status {status.value})"
            reason = with_volumes(reason, meta)
            warnings.warn(f"{name_of(folder)}: space is None: {reason}", stacklevel=2)
        unreadable = unreadable_slices(values_of_slices(meta))[1]
        if unreadable:
            warnings.warn(f"{name_of(folder)}: real values are unknown: {unreadable}", stacklevel=2)
        origin = Origin(Provenance(originals, meta.fork(), header, space))
        return cls(volume, header, meta, space, status, origin=origin)

    @classmethod
    def from_file(
        cls,
        path: Any,
        num_threads: int | None = None,
        progress: Progress | None = None,
        dtype: DTypeLike | None = None,
        skip_meta: bool = False,
        storage_options: Mapping[str, Any] | None = None,
        on_error: str = "raise",
        *,
        verify: bool = True,
        max_memory: int | None = None,
        real_world: int | str | None = None,
    ) -> DicomCubeImage:
        """Read a dicube file of any kind; the kind is detected from the content.

        Args:
            path: a path, a URL that fsspec opens, the bytes of a whole file, or a seekable binary
                file object.
            num_threads: threads for decoding; None or 0 for one per processor.
            progress: called as `progress(done, total)`, in slices.
            dtype: decode directly to real values of this dtype, which the first
                `get_fdata(dtype)` returns. The file stays open, and stored values are decoded when
                they are first needed. None for stored values.
            skip_meta: leave out the metadata, unless real values need them because the rescale
                differs between slices or words hold more than the value, or `real_world` is given.
            storage_options: for the file system of a URL, as in fsspec.
            on_error: 'raise', or 'skip' to read what is intact in a damaged file: damaged slices
                become zeros (NaN in real values), damaged sections are left out; see
                `damaged_frames`, `intact_mask` and `damaged_sections`. Such an image can't be
                saved: save `intact_part()`, or call `accept_damage()` first.
            verify: compare the checksums in the file. Without them damage may look like data.
            max_memory: bytes that libdicube may use for one file or frame, and that each array
                may have; None for 4 GiB in libdicube and arrays of any size.
            real_world: the mapping of stored to real values, also for later calls; see `get_fdata`.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) the file does not exist.
            InvalidCubeFileError: not a dicube file, or a damaged or newer one. Header, directory
                and frame tables must be whole even with `on_error='skip'`.
            CodecError: a frame can't be decoded.
            MetaDataError: the metadata can't be parsed.
            DataConsistencyError: metadata or geometry have another number of slices; a dtype of
                real values that isn't floating-point; with `dtype`, several mappings and none
                chosen, or no such mapping; an unknown `on_error`; or `storage_options` with a path.
            MissingPackageError: (an ImportError too) a URL needs a package that is not installed.

        Warns:
            UserWarning: something was skipped; names it.

        Example:
            >>> image = dicube.DicomCubeImage.from_file("head.dcbs")
            >>> image.dicom_meta.get("PatientName")
            'DOE^JOHN'
        """
        source = CodedSource(path)
        reader = DcbReader(
            path,
            num_threads=num_threads,
            storage_options=storage_options,
            on_error=on_error,
            verify=verify,
            max_memory=max_memory,
        )
        expect_frames(reader)
        if dtype is None:
            with reader.begin_decoding(progress) as decoding:
                header, meta, space, status, origin = read_parts(reader)
                pixels = Pixels(*decoding.finish())
        else:
            header, meta, space, status, origin = read_parts(reader)
            Damage(None, reader.damaged_sections).check_values()
            pixels = Pixels(reader)
            real = real_values(dtype, reader.dtype, meta, header, real_world)
            if real.is_linear:
                pixels.make_real(real, progress)
            else:
                pixels.stored(progress)
        damage = Damage(reader.damaged_frames, reader.damaged_sections)
        if damage:
            origin = origin.damaged_by(damage, header, space)
            name = name_of_source(path) or type(path).__name__
            warnings.warn(f"{name}: the file read is damaged: {damage}", stacklevel=2)
        else:
            origin = dataclasses.replace(origin, coded_source=source)
        image = cls(pixels, header, meta, space, status, origin=origin)
        image._real_world = real_world
        if skip_meta and real_world is None and not values_need_meta(meta, header, reader.dtype):
            image.dicom_meta = None
            unchanged = image._exactness().unchanged_origin()
            image._origin = dataclasses.replace(unchanged, coded_source=None)
        return image

    @classmethod
    def from_nifti(cls, source: Any) -> DicomCubeImage:
        """Read a NIfTI file: .nii, .nii.gz or a pair, NIfTI-1 or NIfTI-2, in either byte order.

        Keeps voxels in stored order: x is the column, y the row and z the slice. `space` gives
        their position, computed from the affine that nibabel selects (sform, then qform, then
        voxel sizes), converted from RAS to LPS and to mm. Slope and intercept are in
        `pixel_header`, so `get_fdata("float64")` has nibabel's values. The rest of the header, the
        extensions and any bytes behind the voxels are kept, in dicube files too, and written again
        by `to_nifti`.

        Arrays of four or more dimensions become one series, volume after volume: slice
        `t * slices + z`. `volumes()` separates them.

        Args:
            source: a path (of either file of a pair of .hdr and .img), or a NIfTI image of nibabel.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) the file does not exist.
            InvalidCubeFileError: not a NIfTI file, or a damaged one.
            DataConsistencyError: voxels of a type that can't be stored (complex numbers, RGBA, 128
                bits), or an image of another kind.
            MissingPackageError: (an ImportError too) nibabel is not installed.

        Warns:
            UserWarning: `space` is None because there are several volumes, or because the affine
                is sheared (it is kept nevertheless); or bytes of the file are left out (around the
                voxels of an .img file, or more than 256 MiB behind the voxels), or `vox_offset`
                doesn't say where the voxels begin.

        Example:
            >>> dicube.DicomCubeImage.from_nifti("brain.nii.gz").shape  # (z, y, x)
            (10, 9, 8)
        """
        with reporting_memory:
            voxels, parts, reason = read_nifti(source)
        if reason:
            name = source if isinstance(source, (str, os.PathLike)) else type(source).__name__
            warnings.warn(f"{name}: space is None: {reason}", stacklevel=2)
        return cls(voxels, parts.header, None, parts.space, parts.status, origin=parts.origin)

    @classmethod
    def from_nibabel(cls, image: Any) -> DicomCubeImage:
        """Take a NIfTI image of nibabel; see `from_nifti`, which takes these too."""
        return cls.from_nifti(image)

    @classmethod
    def from_sitk(cls, image: Any) -> DicomCubeImage:
        """Take the pixels and the position of an image of SimpleITK, without metadata.

        Args:
            image: a SimpleITK.Image of three dimensions, of numbers or of three-vectors (colours).

        Raises:
            DataConsistencyError: another object, or pixels that can't be stored.
            MissingPackageError: (an ImportError too) SimpleITK is not installed.

        Warns:
            UserWarning: `space` is None because the axes are not at right angles.

        Example:
            >>> image = dicube.open("head.dcbs").to_sitk(real=False)
            >>> dicube.DicomCubeImage.from_sitk(image).spacing
            (2.5, 0.5, 0.75)
        """
        return cls._handed(from_sitk(image))

    @classmethod
    def from_xarray(cls, array: Any) -> DicomCubeImage:
        """Take the values and the position of an xarray.DataArray, without metadata.

        Args:
            array: of dims z, y, x, and sample for colours, with coordinates and the attributes
                `direction`, `scale_factor` and `add_offset` of `to_xarray`. Not copied if these
                are the dims in this order.

        Raises:
            DataConsistencyError: another object, or values that can't be stored.
            MissingPackageError: (an ImportError too) xarray is not installed.

        Warns:
            UserWarning: `space` is None, with the reason: coordinates or `direction` are missing,
                uneven, or not at right angles.
        """
        return cls._handed(from_data_array(array))

    @classmethod
    def _handed(cls, handed: Handed) -> DicomCubeImage:
        """Return the image of what another library had."""
        array, grid, reason, slope, intercept = handed
        space = None
        if grid is not None:
            space, reason = space_of_grid(grid)
        if space is None:
            warnings.warn(f"space is None: {reason}", stacklevel=3)
        name = array.dtype.name
        header = PixelDataHeader(slope, intercept, OriginalPixelDtype=name, PixelDtype=name)
        return cls(array, header, None, space and space.reverse_axis_order())

    def to_nifti(
        self,
        path: str | os.PathLike[str],
        version: int | None = None,
        *,
        real_world: int | str | None = None,
    ) -> None:
        """Write a NIfTI file; an existing one is replaced once the new one is complete.

        Writes stored values in memory order: (x, y, z) are column, row and slice. Slope and
        intercept go into the header. An image read from NIfTI, directly or through a dicube file,
        gives the same file again, header and extensions included; changes since then (space,
        pixels, rescale) go into the header. A series of several volumes (see `volumes`) becomes
        four-dimensional. The slices in mosaics of Siemens and UIH become volumes. Palette colours
        and YBR_FULL become RGB. A tilted gantry is written as a sheared sform.

        Args:
            path: ends in .nii or .nii.gz; or a URL, as for `to_file`.
            version: 1 or 2; None for that of the file read, otherwise 1, or 2 if a side is longer
                than 32767. NIfTI-1 stores affine, slope and intercept in 32-bit numbers, NIfTI-2
                in 64-bit numbers.
            real_world: the mapping of stored to real values; see `get_fdata`.

        Raises:
            DataConsistencyError: something that NIfTI can't hold: another file name extension,
                other colours, a slope of 0, volumes that differ in shape or position, mosaics
                whose slices are unknown; several mappings and none chosen; or the image lacks what
                was damaged (see `accept_damage`).
            OSError: (an InvalidCubeFileError too) the system refused to write.
            MissingPackageError: (an ImportError too) nibabel is not installed.

        Warns:
            UserWarning: the position of the voxels is unknown (names the voxel size taken);
                nothing but the order of the slices distinguishes volumes; a slope and intercept
                can't give the real values of all slices, so that these are written, as float64; or
                the voxels have changed, and bytes behind them in the NIfTI file read are left out;
                or so are files beside the volume, kept with the original files.

        Example:
            >>> dicube.load("head.dcbs").to_nifti("head.nii.gz")
            >>> dicube.DicomCubeImage.from_nifti("head.nii.gz").shape
            (5, 48, 40)
        """
        self._origin.damage.check_whole()
        parts = self._parts()
        choice = self._real_world if real_world is None else real_world
        self._origin.warn_of_dropped(name_of_source(path), _ONE_FILE)
        with reporting_memory, written_to(path) as local:
            nifti, voxels = nifti_of_image(self._raw_image, parts, version, choice)
            write_nifti_file(local, nifti, voxels)

    def to_file(
        self,
        path: str | os.PathLike[str],
        num_threads: int | None = None,
        effort: int | str | None = None,
        verify: bool = True,
        progress: Progress | None = None,
        exact: Exact = True,
        *,
        block_side: int | None = None,
        max_error: float | None = None,
        distance: float | None = None,
        roi: Any = None,
        foreground: float = 0,
        background: float | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a dicube file; an existing one is replaced once the new one is complete.

        `.dcbs` is lossless, and so are `.dcba` without `max_error` and `distance`, and the
        foreground of `.dcbr` unless `foreground` is above 0. Losses are measured on each sample and
        recorded; see `losses`.

        Args:
            path: its extension selects the format: `.dcbs` (HTJ2K), `.dcba` (JPEG XL), `.dcbl`
                (JPEG XL, lossy) or `.dcbr` (JPEG XL, a region of interest apart from the rest). A
                URL that fsspec writes, such as s3://bucket/head.dcba, gets the file when it is
                complete on this machine.
            num_threads: threads for encoding; None or 0 for one per processor. The bytes written
                do not depend on it.
            effort: of JPEG XL: 2 (fast) to 9 (small), or 'fast' (2), 'balanced' (3), 'best' (7);
                1 means 2. None for 'balanced', or 'best' with a distance.
            verify: decode each frame after encoding and compare; lossy frames always are.
            progress: called as `progress(done, total)`, in slices.
            exact: keep what restores the original files to the byte, if the image is unchanged
                since it was read from them, and if that takes little (see `why_not_exact`). With
                False, or after any change, the file holds only what the image is now. 'always' also
                keeps, as they are, coded frames that can't be coded again (JPEG 2000, or lossy JPEG
                in `.dcbs`), so that the file may be larger than its source; or else raises. Lossy
                files never keep the originals.
            block_side: of `.dcbs`: rows and columns of the code blocks that HTJ2K decodes
                independently, 64 or 32; None for 64. With 32, patches of 128 x 128 are read a fifth
                faster, whole frames a tenth slower, and the file is one per cent larger. Frames
                that the source has in HTJ2K keep their own.
            max_error: for `.dcba` and `.dcbl`: the largest allowed difference of a stored value.
                Each value is checked before the file is put in place.
            distance: for `.dcba` and `.dcbl`: JPEG XL's distance, above 0 and at most 25, relative
                to the range of the image's values. Errors are not bounded. Default of `.dcbl`: 0.5.
            roi: for `.dcbr`: a mask of shape (slices, rows, columns), 0 outside; 'auto' for the
                body (see `dicube.core.lossy.roi`); None for `roi_mask`.
            foreground, background: for `.dcbr`: `max_error` inside and outside the mask.
                `math.inf` makes the background of a slice a single value; None means a hundredth
                of the range of the image's values.
            storage_options: for the file system of a URL, as in fsspec.

        Raises:
            DataConsistencyError: an unknown extension, effort or block_side; metadata or geometry
                of another number of slices; a loss that this format or these samples don't allow
                (only integers of at most 32 bits); the image lacks what was damaged (see
                `accept_damage`); the original files are to be kept always and can't be; or
                `storage_options` with a path.
            FileNotFoundError: (an InvalidCubeFileError too) the folder does not exist.
            OSError: (an InvalidCubeFileError too) the system refused to write.
            InvalidCubeFileError: the original files in the dicube file read are malformed, or
                contradict the rest of it; `exact=False` leaves them out.
            CodecError: a frame did not decode to what was encoded.
            MissingPackageError: (an ImportError too) a URL needs a package that is not installed.

        Warns:
            UserWarning: files beside the volume, kept with the original files, are left out with
                these: by `exact=False`, or by lossy coding. A LeftOutWarning if neither was chosen.
                Or the voxels have changed, and bytes behind them in the NIfTI file read are left
                out.

        Example:
            >>> image = dicube.DicomCubeImage.from_dicom_folder("series")
            >>> image.to_file("head.dcba", effort="fast")
            >>> dicube.DicomCubeImage.from_file("head.dcba").why_not_exact()
            ''
        """
        self._origin.damage.check_whole()
        if exact not in (True, False, "always"):
            raise DataConsistencyError(
                f"expected exact of True, False or 'always', found {exact!r}"
            )
        name = name_of_source(path)
        kind = kind_of_path(name)
        codec = kind.codec.name
        volume = self._raw_image
        checked_meta(self._dicom_meta, len(volume))
        checked_space(self.space, volume.shape)
        parts = without_stale_nifti(self._parts(), volume)
        parts.header.to_json()  # raises before anything is written if it can't be stored
        lossy = lossy_coding(
            name,
            volume,
            bool(parts.header.Extras.get(UNUSED_BITS)),
            max_error=max_error,
            distance=distance,
            roi=self.roi_mask if roi is None and kind.has_masks else roi,
            foreground=foreground,
            background=background,
        )
        reason = "exact is False" if lossy.options is None else "it is coded lossily"
        if exact and lossy.options is None:
            exactness = self._exactness(num_threads)
            reason = exactness.changes(codec, keep_coded=exact == "always")
            if not reason:
                exactness.check_stored()
        if exact == "always" and reason:
            raise DataConsistencyError(
                f"{name} can't keep the original files (exact='always'): {reason}"
            )
        provenance = self._origin.provenance
        kept = None if reason or not exact or provenance is None else provenance.keeping(codec)
        if kept is None:
            chosen = not exact or lossy.options is not None
            self._origin.warn_of_dropped(name, reason, chosen)
        coded = () if kept is None else kept.originals.coded
        with reporting_memory, written_to(path, storage_options) as local:
            writer = DcbWriter(
                local,
                volume.shape,
                volume.dtype,
                codec=codec,
                num_threads=num_threads,
                effort=effort,
                verify=verify,
                least_bits=None if parts.meta is None else most_bits_stored(parts.meta),
                block_side=block_side,
                lossy=lossy.options,
            )
            with writer, parts_around_frames(writer, parts, kept, volume):
                if coded:
                    writer.write_kept_frames(volume, coded, progress=progress)
                else:
                    writer.write_frames(volume, masks=lossy.masks, progress=progress)
                write_losses(writer, [*self.losses, *lossy.losses(writer, volume.nbytes)])

    def to_dicom_folder(
        self,
        folder: Folder,
        overwrite: bool = False,
        progress: Progress | None = None,
        exact: bool | None = None,
        transfer_syntax: str | None = None,
        num_threads: int | None = None,
    ) -> list[str]:
        """Write DICOM files: the original ones under their names, if the image is unchanged.

        After any change, or if the original files are not available (see `why_not_exact`), new
        files are made from metadata and pixels: slice_0000.dcm and so on, in Explicit VR Little
        Endian.

        A given transfer syntax also makes new files. Frames that are already coded in it, in the
        dicube file or in the DICOM files read, are copied: HTJ2K from `.dcbs`, JPEG XL from
        `.dcba`. All others are encoded losslessly. BitsStored is what the frames declare (PS3.5
        8.2.14, 8.2.15).

        Args:
            folder: created if it is missing.
            overwrite: allow a folder that is not empty. Files in it with other names are kept.
            progress: called as `progress(done, total)`, in files.
            exact: True to write the original files or fail, False to make new files.
            transfer_syntax: of new files, as UID, keyword or short name: 'ExplicitVRLittleEndian'
                ('explicit'), 'HTJ2KLossless' ('htj2k'), 'HTJ2KLosslessRPCL' ('htj2k-rpcl'), or
                'JPEGXLLossless' ('jpegxl', for unsigned samples of at most 16 bits).
            num_threads: frames encoded at the same time; None or 0 for one per processor.

        Returns:
            The paths written.

        Raises:
            MetaDataError: the image has no metadata; see `init_meta`.
            TargetExistsError: (a FileExistsError too) the folder is not empty.
            DataConsistencyError: the original files were asked for and can't be restored; the
                transfer syntax is unknown or does not allow these samples; or the image lacks what
                was damaged (see `accept_damage`).
            InvalidCubeFileError: the original files in the dicube file are malformed, or
                contradict the rest of it; `exact=False` ignores them.
            OutOfMemoryError: (an InvalidCubeFileError too) the elements of new files take more than
                1 GiB and more than 64 times the samples.
            OSError: (an InvalidCubeFileError too) the system refused to write.

        Warns:
            UserWarning: new files are made, so files beside the volume, kept with the original
                files, are left out.

        Example:
            >>> image = dicube.DicomCubeImage.from_file("head.dcbs")
            >>> restored = image.to_dicom_folder("restored")
            >>> coded = image.to_dicom_folder("coded", transfer_syntax="htj2k")
        """
        parts = self._parts()
        exportable_meta(parts)
        given_exact = exact
        if transfer_syntax is not None:
            if exact:
                raise DataConsistencyError("the original files keep their own transfer syntax")
            exact = False
        reason = "new files are made"
        syntax = EXPLICIT if transfer_syntax is None else transfer_syntax_of(transfer_syntax)
        provenance = self._origin.provenance
        if exact is not False:
            reason = self._exactness(num_threads).changes()
            if not reason and provenance is not None:
                volume, originals = self._raw_image, provenance.originals.remembering()
                with reporting_memory:
                    if not provenance.is_fresh:
                        check_agreement(parts, originals, volume, num_threads)
                    # This compares the SHA-256.
                    return write_originals(folder, originals, volume, overwrite, progress)
            if exact:
                raise DataConsistencyError(f"the original files can't be restored: {reason}")
        elif given_exact is not False:
            self._exactness(num_threads).check_exported()
        self._origin.warn_of_dropped(folder, reason)
        volume, seen = self._raw_image, self._pixels.seen
        with reporting_memory:
            return export_folder(
                folder, volume, seen, parts, syntax, overwrite, num_threads, progress
            )

    def to_dicom_file(
        self,
        path: str | os.PathLike[str],
        transfer_syntax: str = "explicit",
        overwrite: bool = False,
        num_threads: int | None = None,
    ) -> None:
        """Write one multi-frame DICOM file; each slice becomes a frame, in the same order.

        CT, MR and PET images become Legacy Converted Enhanced ones (PS3.3 A.70 to A.72), the
        standard's own conversion of series: geometry, window and rescale go into functional groups,
        and elements without a place there into a sequence of their own. Secondary captures become
        multi-frame ones (A.8.2 to A.8.5). The file is in a series of its own, with UIDs derived
        from those of the source. Frames of one multi-frame file become one again, of the same SOP
        class.

        Args:
            path: of the file; or a URL, as for `to_file`.
            transfer_syntax, num_threads: see `to_dicom_folder`.
            overwrite: replace an existing file.

        Raises:
            MetaDataError: the image has no metadata; see `init_meta`.
            TargetExistsError: (a FileExistsError too) the file exists.
            DataConsistencyError: the SOP class has no multi-frame form, slices differ in what a
                file can hold only once, or the transfer syntax is unknown or does not allow these
                samples; or the image lacks what was damaged (see `accept_damage`).
            InvalidCubeFileError: the original files in the dicube file contradict the rest of it.
            OSError: (an InvalidCubeFileError too) the system refused to write.
            MissingPackageError: (an ImportError too) a URL needs a package that is not installed.

        Warns:
            UserWarning: files beside the volume, kept with the original files, are left out.
        """
        parts, syntax = self._parts(), transfer_syntax_of(transfer_syntax)
        self._exactness(num_threads).check_exported()
        self._origin.warn_of_dropped(name_of_source(path), _ONE_FILE)
        volume, seen = self._raw_image, self._pixels.seen
        with reporting_memory, written_to(path, overwrite=overwrite) as local:
            export_file(local, volume, seen, parts, syntax, overwrite, num_threads)

    def why_not_exact(self, codec: str | None = None, num_threads: int | None = None) -> str:
        """Return why the original files can't be restored to the byte; '' if they can.

        They can if the image was read from DICOM files whose pixels are uncompressed, coded by one
        of dicube's own codecs, or coded again to the byte from the samples (RLE, JPEG Lossless,
        lossless JPEG-LS); or from a dicube file written from such an image, or with
        `exact='always'`; if metadata, space, pixel header and pixels are unchanged since; and if a
        dicube file does not contradict itself: if these are also what its original files hold. If
        `exact='always'` would keep coded frames, the reason says how many bytes they take.

        Args:
            codec: name of the codec that has to keep the files, as `to_file` selects it by the
                path's extension; None for `to_dicom_folder`.
            num_threads: threads for comparing pixels; None or 0 for one per processor.

        Raises:
            InvalidCubeFileError: the original files in the dicube file are malformed.

        Example:
            >>> image = dicube.DicomCubeImage.from_dicom_folder("series")
            >>> image.why_not_exact()
            ''
            >>> image.dicom_meta.set_shared_item("PatientName", "ANONYMOUS^")
            >>> image.why_not_exact()
            'the metadata were changed'
        """
        return self._exactness(num_threads).why_not(codec)

    # ------------------------------------------------------------------------------ its content

    @property
    def raw_image(self) -> NDArray[Any]:
        """The stored values, (slices, rows, columns[, 3]).

        Assigning another array raises DataConsistencyError unless it can be stored and fits
        metadata and space. `raw_image += 1` changes the array in place; damaged frames stay marked
        as damaged.
        """
        self._let_pixels_go()
        return self._raw_image

    @raw_image.setter
    def raw_image(self, array: NDArray[Any]) -> None:
        volume = stored_volume(array)
        checked_meta(self._dicom_meta, len(volume))
        checked_space(self.space, volume.shape)
        self._let_pixels_go()
        if volume is self._pixels.held:
            return
        self._pixels = Pixels(volume)
        self._pixels.seen = True
        self._set_damage(Damage(None, self._origin.damage.sections))
        header = self.pixel_header
        if UNUSED_BITS in header.Extras:
            # Each new word is a value; whether it fits BitsStored an export checks. Other images
            # may share the header.
            extras = {k: v for k, v in header.Extras.items() if k != UNUSED_BITS}
            self.pixel_header = dataclasses.replace(header, Extras=extras)

    @property
    def dicom_meta(self) -> DicomMeta | None:
        """The metadata, of as many slices as the volume has; None if there are none.

        Assigning other metadata leaves `pixel_header` and `space` as they are; these count, also
        in exports, if the metadata differ from them. Edits of the metadata change them.
        """
        self._origin.let_meta_go()
        return self._dicom_meta

    @dicom_meta.setter
    def dicom_meta(self, meta: DicomMeta | None) -> None:
        self._origin.let_meta_go()
        if meta is self._dicom_meta:
            return
        self._dicom_meta = checked_meta(meta, self.shape[0])
        self._stated = HeaderAndSpace(meta, self._stated.header, self._stated.space)

    @property
    def pixel_header(self) -> PixelDataHeader:
        """Rescale and window, of the first slice if they differ between slices.

        Editing these in the metadata sets them here as well; the most recent change counts.

        Example:
            >>> image = dicube.DicomCubeImage(np.zeros((2, 3, 4), np.int16))
            >>> image.pixel_header.RescaleSlope = 2.0
            >>> image.init_meta().set_shared_item("RescaleSlope", 3)
            >>> image.pixel_header.RescaleSlope
            3.0
        """
        return self._followed().header

    @pixel_header.setter
    def pixel_header(self, header: PixelDataHeader) -> None:
        self._followed().set_header(header)

    @property
    def space(self) -> Space | None:
        """The geometry in (z, y, x) order; None if it isn't known.

        Assigning another space writes it into the metadata; a space of another shape than the
        volume raises DataConsistencyError. Changing the space in place counts like assigning it.
        Editing positions, orientations or spacings in the metadata, or the order of the slices
        there, changes the space.
        """
        return self._followed().space

    @space.setter
    def space(self, space: Space | None) -> None:
        self._origin.let_meta_go()
        self._followed().set_space(checked_space(space, self.shape))
        if space is not None and self._dicom_meta is not None:
            self.dicom_status = get_dicom_status(self._dicom_meta)

    @property
    def shape(self) -> tuple[int, ...]:
        """The volume's shape, (slices, rows, columns[, 3])."""
        return self._pixels.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the stored values."""
        return self._pixels.dtype

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What lossy coding changed, the earliest first; empty if all coding was lossless.

        Files of any format that are written from the image keep these records. Losses that
        happened before the DICOM files were read are in the metadata.
        """
        return self._origin.losses

    @property
    def files_beside(self) -> int:
        """The number of files that are kept beside the volume, with the original files."""
        provenance = self._origin.provenance
        return 0 if provenance is None else len(provenance.others)

    @property
    def roi_mask(self) -> NDArray[np.bool_] | None:
        """The mask of a `.dcbr` file, (slices, rows, columns), True inside; None for others."""
        return self._pixels.masks()

    def get_fdata(
        self, dtype: DTypeLike = "float32", *, real_world: int | str | None = None
    ) -> NDArray[Any]:
        """Return real values such as Hounsfield units: stored value * slope + intercept.

        Slope and intercept are those of the rescale. Without RescaleSlope and RescaleIntercept, the
        values are those of the one mapping that the metadata define: dose (DoseGridScaling), a
        Modality LUT (except in XA and XRF, PS3.3 C.8.7.1.1.2), or a Real World Value Mapping
        (C.7.6.16.2.11), which gives NaN to stored values outside its range. The mapping may
        differ between slices. Its units are in `pixel_header.Extras["Units"]`. A slope and
        intercept set in `pixel_header` count for all slices instead.

        If words hold more than the stored value (overlays, for example; `UnusedBits` in the
        header's `Extras`), the value is extracted by BitsStored and HighBit.

        Args:
            dtype: float16, float32 or float64.
            real_world: the mapping to apply, even in place of a rescale: its number among those of
                a slice (dose, Modality LUT, then Real World Value Mappings in their order, where
                items that only continue the range of another count with it), or its LUTLabel.
                None for the choice made in `from_file`, else for the values described above.

        Returns:
            A new array of the volume's shape, computed in float64 and rounded once; NaN in
            `damaged_frames`, and in slices whose rescale or mapping is unreadable.

        Raises:
            DataConsistencyError: another dtype; a section that defines real values was damaged;
                several mappings and none chosen; or no such mapping.

        Warns:
            UserWarning: stored values are indices of a palette, which have no real values; or the
                rescale or mapping of slices is unreadable, such as a RescaleSlope of '2,5'.

        Example:
            >>> header = dicube.PixelDataHeader(RescaleSlope=2.0, RescaleIntercept=-1000.0)
            >>> image = dicube.DicomCubeImage(np.full((2, 3, 4), 500, np.uint16), header)
            >>> image.get_fdata()[0, 0]
            array([0., 0., 0., 0.], dtype=float32)
        """
        damage, header = self._origin.damage, self.pixel_header
        damage.check_values()
        choice = self._real_world if real_world is None else real_world
        real = real_values(dtype, self.dtype, self._dicom_meta, header, choice)
        with reporting_memory:
            values = self._pixels.take_real(real)
        values[list(damage.frames)] = np.nan
        return values

    def view(self, *, height: int = 400, most_bytes: int = 128 << 20) -> Any:
        """Return an interactive view for a notebook: three planes and 3D, by ipyniivue.

        Shows real values at their place in the patient. The browser gets the whole volume; of one
        larger than `most_bytes`, every second, fourth... row, column and slice is shown, and a
        warning says so. Of a series of several volumes the largest is shown.

        Args:
            height: of the view, in pixels.
            most_bytes: what the browser gets at most.

        Returns:
            An `ipyniivue.NiiVue`, which a notebook shows.

        Raises:
            MissingPackageError: (an ImportError too) ipyniivue or nibabel is not installed:
                `pip install 'dicube[notebook]'`.
            DataConsistencyError: the colours can't be converted to RGB.

        Warns:
            UserWarning: less than the whole resolution is shown.
        """
        from dicube.core.pictures.volume_view import view_of

        return view_of(self._picture_source(), None, height, most_bytes)

    def init_meta(
        self,
        modality: str = "OT",
        patient_name: str = "ANONYMOUS^",
        patient_id: str = "0000000",
    ) -> DicomMeta:
        """Make metadata for a volume without any, so that it can be exported; replaces any.

        Args:
            modality: such as 'CT' or 'MR'.
            patient_name, patient_id: of the patient.

        Returns:
            The metadata, which are the image's from now on.

        Raises:
            MetaDataError: an argument is empty.

        Example:
            >>> image = dicube.DicomCubeImage(np.zeros((2, 3, 4), np.int16))
            >>> image.init_meta(modality="CT").get("Modality")
            'CT'
        """
        parts = self._parts()
        nifti = fitting_nifti(parts, self.shape)
        meta = make_meta(
            self.shape,
            self.dtype,
            grid_of_parts(parts, self.shape),
            modality,
            patient_name,
            patient_id,
            volumes=1 if nifti is None else nifti.volume_count,
            seconds_between_volumes=None if nifti is None else nifti.seconds_between_volumes,
        )
        self.dicom_meta = meta
        self.dicom_status = get_dicom_status(meta)
        return meta

    # ------------------------------------------------------------------------- damage, volumes

    @property
    def damaged_frames(self) -> tuple[int, ...]:
        """The slices that were damaged in the file read and are zeros here; see `from_file`."""
        return tuple(self._origin.damage.frames)

    @property
    def damaged_sections(self) -> tuple[str, ...]:
        """The names of sections that were damaged in the file read and are missing here."""
        return tuple(self._origin.damage.sections)

    @property
    def intact_mask(self) -> NDArray[np.bool_]:
        """A new array, (slices,), False for each of `damaged_frames`."""
        mask = np.ones(self.shape[0], np.bool_)
        mask[list(self.damaged_frames)] = False
        return mask

    def accept_damage(self) -> None:
        """Regard the image as whole, zero-filled slices included, so that it can be saved."""
        self._set_damage(Damage())

    def intact_part(self) -> DicomCubeImage:
        """Return the image of the slices that were intact in the file read.

        It has the metadata of these slices; `dicom_status` and `space` show what is missing between
        them. The original files of these slices can be restored if their section was intact.
        Damaged sections that the rest does not depend on (originals, space, status, NIfTI header)
        are left out.

        Returns:
            Another image; this one if nothing is damaged.

        Raises:
            DataConsistencyError: no slice is intact; or the metadata, the pixel header or the
                record of losses was damaged.

        Example:
            >>> image = dicube.load("head.dcbs", on_error="skip")
            >>> image.damaged_frames
            ()
            >>> image.intact_part() is image
            True
        """
        damage, read = self._origin.damage, self._origin.intact_provenance
        if not damage:
            return self
        damage.check_intact(self.shape[0])
        intact: list[int] = np.flatnonzero(self.intact_mask).tolist()
        ((slices, parts),) = parts_of_slices(self._parts(), self.shape, [intact])
        provenance = None
        if read is not None and parts.meta is not None:
            reason = read.objection(self._dicom_meta, self.pixel_header, self.space)
            if not reason:
                provenance = read.of_slices(slices, parts.meta, parts.header, parts.space)
        origin = dataclasses.replace(parts.origin, damage=Damage(), provenance=provenance)
        return self._part(slices, parts._replace(origin=origin))

    def volumes(self) -> list[DicomCubeImage]:
        """Return the volumes of a series of several orientations, or that repeats its slices.

        Slices of another orientation, and those without a position, are volumes of their own, in
        the order of their first slices. Series over time, or with several echoes or b-values, hold
        the same slices several times. Their volumes are ordered by what distinguishes them if that
        is a number, otherwise by their first slices. Each volume has pixels of its own, the
        metadata and geometry of its slices, and its slices in order along their normal (or against
        it, as in the series).

        Returns:
            The volumes; [self] if there is only one, or if nothing distinguishes them.

        Example:
            >>> image = dicube.load("head.dcbs")
            >>> [volume.shape for volume in image.volumes()]
            [(5, 48, 40)]
        """
        found = volumes_of(self._parts(), self.shape)
        return [self._part(slices, parts) for slices, parts in found] or [self]

    def crop(self, index: Any) -> DicomCubeImage:
        """Return a part of the volume as another image, with a copy of its pixels; see `Cube.crop`.

        Example:
            >>> image = dicube.load("head.dcbs")
            >>> image.crop(np.s_[..., 4:44, 10:30])
            <DicomCubeImage shape=(5, 40, 20) dtype=int16 status=consistent>
        """
        crop = Crop.of_index(index, self.shape)
        return self._part(crop.items, cropped_parts(self._parts(), self.shape, crop))

    def regrid(
        self,
        spacing: float | Sequence[float] | None = None,
        interpolation: str = "linear",
        fill: float | None = None,
    ) -> DicomCubeImage:
        """Resample the volume to an even grid at right angles, by SimpleITK, as another image.

        Also slices of a tilted gantry or at uneven distances. The new axes are those of the volume:
        x along the rows, y along the columns, z along the normal of the slices, in the direction in
        which they follow each other. The grid begins at the lowest voxel centres along these axes
        and contains all others.

        Stored values are interpolated and rounded to their type; real values, as float32, if the
        slope and intercept differ between slices. Colours become RGB.

        Args:
            spacing: along (z, y, x), or one number for all, in mm; None for that of the volume:
                the usual distance of slices along the normal, and the pixel spacing.
            interpolation: 'linear', or 'nearest' for labels.
            fill: the real value outside the slices; None for the smallest one of the volume.

        Returns:
            The image. Its metadata are those that all slices share, as a new series in the same
            study and frame of reference; ImageType begins with DERIVED, and DerivationDescription
            says what was done. Elements that differ between slices are left out, and so are those
            that refer to pixels by row and column. Without metadata, it has none either.

        Raises:
            DataConsistencyError: positions are unknown or slices aren't parallel; several volumes
                (regrid each of `volumes()`); an invalid argument; the image lacks what was damaged;
                or 64-bit integers that no float holds.
            MissingPackageError: (an ImportError too) SimpleITK is not installed.

        Example:
            >>> image = dicube.load("head.dcbs").regrid(spacing=1.0)
            >>> image.shape, image.spacing
            ((11, 25, 31), (1.0, 1.0, 1.0))
            >>> image.dicom_meta.get("ImageType")
            ['DERIVED', 'SECONDARY', 'AXIAL']
        """
        from dicube.core.geometry.regrid import regridded

        self._origin.damage.check_whole()
        with reporting_memory:
            voxels, (header, meta, place, status, origin) = regridded(
                self._raw_image, self._parts(), spacing, interpolation, fill, self._real_world
            )
        return DicomCubeImage(voxels, header, meta, place, status, origin=origin)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies and pickles: after changes without what was read before."""
        return {**self.__dict__, "_origin": self._exactness().unchanged_origin()}

    def __repr__(self) -> str:
        return (
            f"<DicomCubeImage shape={self.shape} dtype={self.dtype.name} "
            f"status={self.dicom_status.value}>"
        )

    def _repr_html_(self) -> str:
        """Return what a notebook shows: middle planes (with Pillow), and what the image is.

        Names, IDs and dates of patients are left out, because notebooks are shared. Burnt-in
        texts in the pixels are not. Never raises: what can't be read is shown as a text.
        """
        from dicube.core.pictures.notebook import html_of

        return html_of(self._picture_source(), None, None, {})

    # ---------------------------------------------------------------------------------- private

    def _picture_source(self) -> PictureSource:
        return PictureSource(self._pixels, self._parts(), self._real_world)

    @property
    def _raw_image(self) -> NDArray[Any]:
        """The stored values, for code that does not change them."""
        return self._pixels.stored()

    def _parts(self) -> CubeParts:
        """Return everything but the pixels."""
        header = dataclasses.replace(self.pixel_header, PixelDtype=self.dtype.name)
        return CubeParts(header, self._dicom_meta, self.space, self.dicom_status, self._origin)

    def _part(self, slices: Any, parts: CubeParts) -> DicomCubeImage:
        """Return the image of some slices, or of another part, which has these parts."""
        masks = self._pixels.masks()
        taken = self._raw_image[slices]
        # Not a view of this image's pixels, because both may be changed in place.
        pixels = Pixels(
            np.array(taken, order="C") if taken.base is not None else taken,
            None if masks is None else masks[slices].copy(),
        )
        header, meta, space, status, origin = parts
        part = DicomCubeImage(pixels, header, meta, space, status, origin=origin)
        part._real_world = self._real_world
        return part

    def _stored(self) -> NDArray[Any]:
        return self.raw_image

    def _fdata(self, dtype: DTypeLike) -> NDArray[Any]:
        return self.get_fdata(dtype)

    def _all_parts(self) -> CubeParts:
        return self._parts()

    def _placement(self) -> tuple[Grid | None, str]:
        return placement(self._parts(), self.shape)

    def _followed(self) -> HeaderAndSpace:
        """Return header and space, with status, after the edits of the metadata."""
        if self._stated.follow(self.shape) and self._dicom_meta is not None:
            self.dicom_status = get_dicom_status(self._dicom_meta)
        return self._stated

    def _let_pixels_go(self) -> None:
        """Remember the pixels before a caller gets or replaces them."""
        if not self._pixels.seen:
            provenance = self._origin.provenance
            if provenance is not None and provenance.is_fresh:
                provenance.watch(self._raw_image)
        self._pixels.seen = True

    def _set_damage(self, damage: Damage) -> None:
        self._origin = dataclasses.replace(self._origin, damage=damage)

    def _exactness(self, num_threads: int | None = None) -> Exactness:
        """Return how the image relates to its original files."""
        parts = self._parts()._replace(header=self.pixel_header)
        return Exactness(parts, self._pixels, num_threads)
