"""DicomCubeImage: a volume with its metadata and geometry, and the ways in and out of it.

Here the rooms come together: pixels and sections of `storage`, medicine of `dicom`. It must not
know how a file is laid out, how pixels are coded, or how DICOM is parsed.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from dicube.core.coded_source import CodedSource, VolumeFrames, frames_of_codec
from dicube.core.consistency import checked_meta, checked_space
from dicube.core.cube_parts import (
    derived_attributes,
    parts_around_frames,
    read_parts_and_provenance,
)
from dicube.core.damage import Damage
from dicube.core.image_content import ImageContent
from dicube.core.lossy.coding import lossy_coding
from dicube.core.lossy.loss import measured_loss, write_losses
from dicube.core.nifti_image import (
    fitting_nifti,
    grid_of_parts,
    nifti_of_image,
    read_nifti,
    space_of_nifti,
)
from dicube.core.pixels import Pixels
from dicube.core.provenance import Provenance
from dicube.core.slice_values import keep_rescale
from dicube.dicom.dicom_io import read_series
from dicube.dicom.dicom_meta import DicomMeta, SortMethod
from dicube.dicom.dicom_status import get_dicom_status
from dicube.dicom.export.folder import write_dicom_folder
from dicube.dicom.export.frame_coding import CodedFrame, code_frames
from dicube.dicom.export.multiframe import frames_in_instances, write_dicom_file
from dicube.dicom.export.new_series import make_meta
from dicube.dicom.export.replaced import take_window_of_part
from dicube.dicom.files.sources import Source, name_of
from dicube.dicom.originals.model import Originals
from dicube.dicom.originals.restore import write_originals
from dicube.dicom.series.geometry import get_space_from_DicomMeta, space_of_slices, space_or_reason
from dicube.dicom.series.stored_bits import UNUSED_BITS, most_bits_stored
from dicube.dicom.series.volumes import series_volumes
from dicube.dicom.transfer_syntaxes import EXPLICIT, TransferSyntax, transfer_syntax_of
from dicube.exceptions import DataConsistencyError, MetaDataError
from dicube.nifti import NiftiHeader, write_nifti_file
from dicube.storage.dcb_reader import DcbReader
from dicube.storage.dcb_writer import DcbWriter
from dicube.storage.formats import FORMATS, codec_of_path, extension_of
from dicube.threads import Progress, thread_count

Folder = str | os.PathLike[str]

# Of the files that `to_file` writes.
FILE_EXTENSIONS = tuple(FORMATS)


class DicomCubeImage(ImageContent):
    """A volume of stored pixel values with the metadata and geometry of its slices.

    Args:
        raw_image: stored values, (slices, rows, columns), or (slices, rows, columns, 3) for
            colour; (rows, columns) is taken as a single slice. Integers of 8 to 64 bits or
            floating-point numbers of 16 to 64, in either byte order. Not copied.
        pixel_header: rescale and window; None for a rescale of slope 1 and intercept 0.
        dicom_meta: metadata of as many slices; None for none.
        space: geometry in (z, y, x) order, of the volume's shape; None where it isn't known.
        dicom_status: None for the status that the metadata have, CONSISTENT without any.
        losses: what lossy coding has changed in the pixels before: `losses` of the image or cube
            that they are from.

    Raises:
        DataConsistencyError: a dtype or shape that can't be stored, or arguments that don't fit
            each other.
        MetaDataError: dicom_meta is not a DicomMeta.

    Attributes:
        pixel_header: a PixelDataHeader.
        dicom_status: a DicomStatus.
    """

    # ------------------------------------------------------------------------------ DICOM, files

    @classmethod
    def from_dicom_folder(
        cls,
        folder: Source,
        sort_method: SortMethod = SortMethod.INSTANCE_NUMBER_ASC,
        num_threads: int | None = None,
        series_uid: str | None = None,
        progress: Progress | None = None,
    ) -> DicomCubeImage:
        """Read a series of DICOM files.

        Args:
            folder: holds the files, in folders inside it too; or a zip archive of them, one DICOM
                file, a pydicom dataset, or a list of these. Of a file of several frames each is a
                slice.
            sort_method: the order of the slices.
            num_threads: threads for reading; None or 0 for one for each processor.
            series_uid: the series to take where there are several.
            progress: called as `progress(done, total)`.

        Returns:
            The image. Its stored values are those of the files, as pydicom's `pixel_array` with
            `raw=True` and `correct_unused_bits=False` has them: whole words, with all that may
            stand above BitsStored; colours as (…, row, column, sample) whatever the planar
            configuration. Slope and intercept stand in `pixel_header`, and where they differ from
            slice to slice in the metadata.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) there is no such folder.
            MetaDataError: no DICOM images are in it, or a damaged one.
            DataConsistencyError: several series and none chosen, or images of different shape.

        Warns:
            UserWarning: the geometry can't be told, and `space` is None; names the status, and if
                the slices are those of several volumes, how many and what tells them apart.
        """
        meta, volume, header, originals = read_series(
            folder,
            sort_method=sort_method,
            num_threads=num_threads,
            series_uid=series_uid,
            progress=progress,
        )
        status = get_dicom_status(meta)
        space, reason = space_or_reason(meta)
        if space is None:
            if not reason.startswith(status.value):
                reason = f"{reason} (status {status.value})"
            several = series_volumes(meta)
            if several is not None:
                reason = f"{reason}; {several}: see volumes()"
            warnings.warn(f"{name_of(folder)}: space is None: {reason}", stacklevel=2)
        image = cls(volume, header, meta, space and space.reverse_axis_order(), status)
        image._provenance = Provenance(originals, meta.fork(), header, image.space)
        return image

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
    ) -> DicomCubeImage:
        """Read a dicube file; of which kind is told from its content.

        Args:
            path: a path, a URL that fsspec opens, the bytes of a whole file, or a binary file
                object that can seek.
            num_threads: threads for decoding; None or 0 for one for each processor.
            progress: called as `progress(done, total)`, in slices.
            dtype: decode straight to real values: the first `get_fdata(dtype)` gives what was
                decoded here. The file stays open, and the stored values are decoded when they are
                asked for. None for the stored values.
            skip_meta: leave out the metadata, unless real values need them: a rescale that differs
                from slice to slice, words that hold more than the value.
            storage_options: for the file system of a URL, as fsspec has them.
            on_error: 'raise', or 'skip' for what is intact of a damaged file: stored values of
                damaged slices are zeros, real ones NaN, and damaged sections are left out. See
                `damaged_frames`, `intact_mask`, `damaged_sections`. Such an image is not written
                anywhere; what is comes from `intact_part` or after `accept_damage`.
            verify: compare checksums where the file has them. Without that damage may pass for
                pixels.
            max_memory: bytes that libdicube may take for one file or frame, and each array that is
                made; None for 4 GiB in libdicube and arrays of any size.

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) there is no such file.
            InvalidCubeFileError: it is no dicube file, or a damaged or newer one; header, directory
                and frame tables must be whole in any case.
            CodecError: a frame does not decode.
            MetaDataError: its metadata can't be understood.
            DataConsistencyError: metadata or geometry are of another number of slices.

        Warns:
            UserWarning: something was skipped; names it.
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
        reader.expect_frames()
        if dtype is None:
            with reader.begin_decoding(progress) as decoding:
                parts, provenance = read_parts_and_provenance(reader)
                pixels = Pixels(*decoding.finish())
        else:
            parts, provenance = read_parts_and_provenance(reader)
            pixels = Pixels(reader)
        image = cls(pixels, parts.header, parts.meta, parts.space, parts.status)
        image._provenance, image._coded_source = provenance, source
        image._nifti, image._losses = parts.nifti, parts.losses
        if dtype is not None:
            image._damage = Damage(None, reader.damaged_sections)
            if image._bits_of_slices() is None:
                pixels.make_real(image._real_values(dtype), progress)
            else:
                pixels.stored(progress)
        image._damage = Damage(reader.damaged_frames, reader.damaged_sections)
        if image._damage:
            reason = f"the file read is damaged: {image._damage}"
            image._damaged_provenance = image._provenance
            image._provenance = Provenance(reason, None, parts.header, parts.space)
            image._coded_source = None
            name = path if isinstance(path, (str, os.PathLike)) else type(path).__name__
            warnings.warn(f"{name}: {reason}", stacklevel=2)
        if skip_meta and not image._values_need_meta():
            image.dicom_meta = None
        return image

    @classmethod
    def from_nifti(cls, source: Any) -> DicomCubeImage:
        """Read a NIfTI file: .nii or .nii.gz, NIfTI-1 or NIfTI-2, of either byte order.

        Voxels stay in the order they are stored in, of which x is the column, y the row, and z the
        slice; where these lie says `space`, after the affine that nibabel takes (the sform, else
        the qform, else the voxel sizes), turned from RAS to LPS and to mm. Slope and intercept
        stand in `pixel_header`: `get_fdata("float64")` has the values of nibabel's. Everything
        else in header and extensions is kept, in dicube files too, and comes back by `to_nifti`.

        The volumes of an array of four and more dimensions follow each other: slice
        `t * slices + z`; `volumes()` parts them.

        Args:
            source: a path, or a NIfTI image of nibabel (pairs of .hdr and .img included).

        Raises:
            FileNotFoundError: (an InvalidCubeFileError too) there is no such file.
            InvalidCubeFileError: it is no NIfTI file, or a damaged one.
            DataConsistencyError: voxels of a type that can't be stored (complex numbers, RGBA, 128
                bits), or an image of another kind.
            MissingPackageError: (an ImportError too) nibabel is not installed.

        Warns:
            UserWarning: `space` is None: there are several volumes, or the affine is sheared (it
                is kept nevertheless).
        """
        voxels, parts, reason = read_nifti(source)
        if reason:
            name = source if isinstance(source, (str, os.PathLike)) else type(source).__name__
            warnings.warn(f"{name}: space is None: {reason}", stacklevel=2)
        image = cls(voxels, parts.header, None, parts.space, parts.status)
        image._nifti = parts.nifti
        return image

    def to_nifti(self, path: str | os.PathLike[str], version: int | None = None) -> None:
        """Write a NIfTI file; one that is already there is replaced when all went well.

        Stored values are written, in the order they are in memory: (x, y, z) are column, row and
        slice; slope and intercept go into the header. An image that was read from NIfTI, by a
        dicube file in between or not, gives the same file again, header and extensions to the
        byte; what was changed since (space, pixels, rescale) goes into the header. Series of
        several volumes (see `volumes`) become four-dimensional. A tilted gantry is told by a
        sheared sform.

        Args:
            path: ends in .nii or .nii.gz.
            version: 1 or 2; None for the one that the image was read from, else for 1, or 2 if a
                size is above 32767. NIfTI-1 holds affine, slope and intercept in 32-bit numbers,
                NIfTI-2 in those of 64 bits.

        Raises:
            DataConsistencyError: what NIfTI can't say: the name's ending, samples (colours other
                than RGB of uint8), a slope of 0, volumes that differ in shape or place.
            OSError: (an InvalidCubeFileError too) the system refused to write.
            MissingPackageError: (an ImportError too) nibabel is not installed.

        Warns:
            UserWarning: it isn't known where the voxels are; or each slice has a rescale of its
                own, so that real values are written, as float64.
        """
        self._damage.check_whole()
        nifti, voxels = nifti_of_image(
            self._raw_image,
            self._parts(),
            *self._rescale_of_slices(),
            self._bits_of_slices(),
            version,
        )
        write_nifti_file(path, nifti, voxels)

    def to_file(
        self,
        path: str | os.PathLike[str],
        num_threads: int | None = None,
        effort: int | str | None = None,
        verify: bool = True,
        progress: Progress | None = None,
        exact: bool = True,
        *,
        max_error: float | None = None,
        distance: float | None = None,
        roi: Any = None,
        foreground: float = 0,
        background: float | None = None,
    ) -> None:
        """Write a file; a file that is already there is replaced when all went well.

        Lossless are `.dcbs`, `.dcba` unless `max_error` or `distance` is given, and the foreground
        of `.dcbr`. What was lost is measured on each sample and recorded; see `losses`.

        Args:
            path: its extension is the format: `.dcbs` (HTJ2K), `.dcba` (JPEG XL), `.dcbl` (JPEG XL,
                lossy) or `.dcbr` (JPEG XL, a region of interest apart from the rest).
            num_threads: threads for encoding; None or 0 for one for each processor. What is written
                does not depend on it.
            effort: of JPEG XL, 2 (fast) to 9 (small), or 'fast' (2), 'balanced' (3), 'best' (7); 1
                means 2, None 'balanced', or with a distance 'best'.
            verify: decode each frame after it was encoded, and compare; lossy frames always are.
            progress: called as `progress(done, total)`, in slices.
            exact: keep what gives the original files back to the byte, as far as the image still
                is what was read from them (see `why_not_exact`). Without it, or after any change,
                nothing is kept but what the image is now. Lossy files never keep it.
            max_error: of `.dcba` and `.dcbl`: how far a stored value may be from what it was. Each
                is checked before the file takes its name.
            distance: of `.dcba` and `.dcbl`: JPEG XL's, above 0 and at most 25, over the range of
                the image's values. Errors are not bounded. A `.dcbl` has 0.5 by default.
            roi: of `.dcbr`: a mask of shape (slices, rows, columns), 0 outside; or 'auto' for the
                body (see `dicube.core.lossy.roi`); None for `roi_mask`.
            foreground, background: of `.dcbr`: `max_error` inside and outside the mask. `math.inf`
                makes the background of a slice one value; None stands for a hundredth of the range
                of the image's values.

        Raises:
            DataConsistencyError: the extension or effort is none of those, metadata or geometry
                are of another number of slices, or what is asked to be lost can't be: of another
                kind of file, of samples that are no integers of at most 32 bits; or the image
                lacks what was damaged (see `accept_damage`).
            FileNotFoundError: (an InvalidCubeFileError too) there is no such folder.
            OSError: (an InvalidCubeFileError too) the system refused to write.
            InvalidCubeFileError: the original files in the dicube file read are malformed; without
                `exact` that doesn't matter.
            CodecError: a frame did not encode to what it was.
        """
        self._damage.check_whole()
        codec = codec_of_path(path)
        volume = self._raw_image
        checked_meta(self._dicom_meta, len(volume))
        checked_space(self.space, volume.shape)
        parts = self._parts()
        lossy = lossy_coding(
            path,
            extension_of(path),
            volume,
            bool(self.pixel_header.Extras.get(UNUSED_BITS)),
            max_error=max_error,
            distance=distance,
            roi=self.roi_mask if roi is None and extension_of(path) == ".dcbr" else roi,
            foreground=foreground,
            background=background,
        )
        keep = exact and lossy.options is None and not self.why_not_exact(codec, num_threads)
        coded = self._originals.coded if keep else ()
        writer = DcbWriter(
            path,
            volume.shape,
            volume.dtype,
            codec=codec,
            num_threads=num_threads,
            effort=effort,
            verify=verify,
            least_bits=None if self._dicom_meta is None else most_bits_stored(self._dicom_meta),
            lossy=lossy.options,
        )
        kept = self._provenance if keep else None
        with writer, parts_around_frames(writer, parts, kept, volume):
            if coded:
                writer.write_coded_frames(coded, progress=progress)
            else:
                writer.write_frames(volume, masks=lossy.masks, progress=progress)
            losses = self._losses
            if lossy.options is not None:
                found = measured_loss(
                    writer, lossy.settings, lossy.least, lossy.greatest, volume.nbytes
                )
                losses = losses if found is None else (*losses, found)
            write_losses(writer, losses)

    def to_dicom_folder(
        self,
        folder: Folder,
        overwrite: bool = False,
        progress: Progress | None = None,
        exact: bool | None = None,
        transfer_syntax: str | None = None,
        num_threads: int | None = None,
    ) -> None:
        """Write DICOM files: the original ones, under their names, if the image still is them.

        After any change, and where the original files are not at hand (see `why_not_exact`), files
        are made of the metadata and pixels: slice_0000.dcm and so on, in Explicit VR Little Endian.

        So they are too where a transfer syntax is asked for. Frames that are coded in it already,
        in the dicube file or the DICOM files read, go out as they are: HTJ2K of `.dcbs`, JPEG XL
        of `.dcba`. All others are encoded, losslessly. BitsStored is what the frames declare
        (PS3.5 8.2.4, 8.2.15).

        Args:
            folder: made where it is missing.
            overwrite: write into a folder that is not empty. What is in it and has not the name of
                a file written stays.
            progress: called as `progress(done, total)`, in files.
            exact: True for the original files or nothing, False for files that are made anew.
            transfer_syntax: of files made anew, by UID, keyword or short name:
                'ExplicitVRLittleEndian' ('explicit'), 'HTJ2KLossless' ('htj2k'),
                'HTJ2KLosslessRPCL' ('htj2k-rpcl'), or 'JPEGXLLossless' ('jpegxl', of unsigned
                samples of up to 16 bits).
            num_threads: how many frames are encoded at a time; None or 0 for one for each
                processor.

        Raises:
            MetaDataError: there are no metadata; see `init_meta`.
            TargetExistsError: (a FileExistsError too) the folder is not empty.
            DataConsistencyError: the original files were asked for, and can't be given back; a
                transfer syntax is unknown, or has no such samples; or the image lacks what was
                damaged (see `accept_damage`).
            InvalidCubeFileError: the original files in the dicube file are malformed.
        """
        meta = self._exportable_meta()
        if transfer_syntax is not None:
            if exact:
                raise DataConsistencyError("the original files keep their own transfer syntax")
            exact = False
        syntax = EXPLICIT if transfer_syntax is None else transfer_syntax_of(transfer_syntax)
        if exact is not False:
            # Pixels of a dicube file that nobody had can't have been changed; if they differ, the
            # file is damaged, as the files' SHA-256 will say.
            is_fresh = self._provenance is not None and self._provenance.is_fresh
            look = self._pixels.seen or is_fresh
            reason = self.why_not_exact() if look else self._objection()
            if not reason:
                originals = self._originals
                write_originals(folder, originals, self._raw_image, overwrite, progress)
                return
            if exact:
                raise DataConsistencyError(f"the original files can't be given back: {reason}")
        write_dicom_folder(
            folder,
            meta,
            self._raw_image,
            self.pixel_header,
            space=self.space,
            overwrite=overwrite,
            progress=progress,
            syntax=syntax,
            coded=self._coded_in(syntax, meta.instances(), num_threads),
            derived=derived_attributes(meta, self._losses),
        )

    def to_dicom_file(
        self,
        path: str | os.PathLike[str],
        transfer_syntax: str = "explicit",
        overwrite: bool = False,
        num_threads: int | None = None,
    ) -> None:
        """Write one multi-frame DICOM file; slices become frames in their order.

        CT, MR and PET images become Legacy Converted Enhanced ones (PS3.3 A.70 to A.72), the
        standard's own way of converting series: geometry, window and rescale stand in functional
        groups, and every element without a place there in a sequence of its own. Secondary captures
        become multi-frame ones (A.8.2 to A.8.5). The file is in a series of its own, with UIDs made
        from those of the source. The frames of one multi-frame file make one again, of its own SOP
        class.

        Args:
            path: of the file.
            transfer_syntax, num_threads: see `to_dicom_folder`.
            overwrite: replace a file that is there.

        Raises:
            MetaDataError: there are no metadata; see `init_meta`.
            TargetExistsError: (a FileExistsError too) the file is there.
            DataConsistencyError: the SOP class has no multi-frame form, slices differ in what a
                file has only once, or the transfer syntax is unknown or has no such samples.
        """
        meta = self._exportable_meta()
        syntax = transfer_syntax_of(transfer_syntax)
        write_dicom_file(
            path,
            meta,
            self._raw_image,
            self.pixel_header,
            self.space,
            overwrite,
            syntax,
            self._coded_in(syntax, frames_in_instances(meta), num_threads),
            derived_attributes(meta, self._losses),
        )

    def why_not_exact(self, codec: str | None = None, num_threads: int | None = None) -> str:
        """Return why the original files can't be given back to the byte; '' if they can.

        They can if the image was read from DICOM files whose pixels are not compressed, or are by
        one of dicube's own codecs, or from a dicube file that was written from such an image; and
        if nothing was changed since: metadata, space, pixel header, pixels.

        Args:
            codec: by the codec of this name, as `to_file` uses it for the path's extension; None
                for `to_dicom_folder`.
            num_threads: threads for comparing pixels; None or 0 for one for each processor.

        Raises:
            InvalidCubeFileError: the original files in the dicube file are malformed.
        """
        reason = self._objection()
        if reason:
            return reason
        if codec is not None and self._originals.codec not in ("", codec):
            return f"frames that are coded by {self._originals.codec} are not kept by {codec}"
        changed = self._changed_file(num_threads)
        return f"the pixels of {changed} were changed" if changed else ""

    # ------------------------------------------------------------------------------ parts of it

    def intact_part(self) -> DicomCubeImage:
        """Return the image of the slices that were intact in the file read, with nothing made up.

        Its metadata are those of its slices; `dicom_status` and `space` say what is missing between
        them. The original files of its slices can be given back to the byte as long as their
        section was intact. Damaged sections without which the rest stands for itself (originals,
        space, status, NIfTI header) are left out.

        Returns:
            Another image; this one if nothing is damaged.

        Raises:
            DataConsistencyError: no slice is intact; or the metadata, the pixel header or the
                record of losses was damaged.
        """
        if not self._damage:
            return self
        self._damage.check_intact(self.shape[0])
        slices = np.flatnonzero(self.intact_mask).tolist()
        part = self._part(slices, *self._rescale_of_slices())
        part._damage = Damage()
        read = self._damaged_provenance
        if read is not None and part._dicom_meta is not None:
            reason = read.objection(self._dicom_meta, self.pixel_header, self.space)
            if not reason:
                part._provenance = read.of_slices(
                    slices, part._dicom_meta, part.pixel_header, part.space
                )
        return part

    def volumes(self) -> list[DicomCubeImage]:
        """Return the volumes of a series in which the same slices come several times.

        Such are series over time, of several echoes or b-values. What tells their slices apart
        tells the order of the volumes too, if that is numbers; else their first slices do. Each has
        the metadata and geometry of its slices, in the order along their normal (or all against it,
        as they stand), and pixels of its own.

        Returns:
            The volumes; [self] if there is only one, or if nothing tells them apart.
        """
        nifti = fitting_nifti(self._parts(), self.shape)
        rescale = self._rescale_of_slices()
        if nifti is not None and nifti.volume_count > 1:
            blocks = np.arange(self.shape[0]).reshape(nifti.volume_count, -1).tolist()
            return [self._part(slices, *rescale, nifti.single()) for slices in blocks]
        split = None if self._dicom_meta is None else series_volumes(self._dicom_meta)
        if split is None:
            return [self]
        return [self._part(slices, *rescale) for slices in split.slices]

    def init_meta(
        self,
        modality: str = "OT",
        patient_name: str = "ANONYMOUS^",
        patient_id: str = "0000000",
    ) -> DicomMeta:
        """Make metadata for a volume that has none, so that it can be exported; replaces any.

        Args:
            modality: such as 'CT' or 'MR'.
            patient_name, patient_id: of the patient.

        Returns:
            The metadata, which are the image's from now on.

        Raises:
            MetaDataError: an argument is empty.
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

    def __repr__(self) -> str:
        return (
            f"<DicomCubeImage shape={self.shape} dtype={self.dtype.name} "
            f"status={self.dicom_status.value}>"
        )

    @property
    def _originals(self) -> Originals:
        """The original files of an image that there is no objection to."""
        assert self._provenance is not None
        return self._provenance.originals

    def _exportable_meta(self) -> DicomMeta:
        """Return the metadata, without which nothing can be exported, of a whole image."""
        self._damage.check_whole()
        if self._dicom_meta is None:
            raise MetaDataError(
                "the image has no DICOM metadata to export",
                suggestion="call init_meta() first",
            )
        return self._dicom_meta

    def _coded_in(
        self, syntax: TransferSyntax, instances: list[list[int]], num_threads: int | None
    ) -> list[CodedFrame]:
        """Return the frames in a coded transfer syntax; none for an uncompressed one."""
        if not syntax.codec:
            return []
        volume, seen, provenance = self._raw_image, self._pixels.seen, self._provenance
        with ExitStack() as stack:
            if self._coded_source is not None:
                frames = stack.enter_context(self._coded_source.frames(volume, seen))
            elif provenance is not None and provenance.is_fresh:
                originals = provenance.originals
                frames = frames_of_codec(volume, originals.codec, originals.coded, seen)
            else:
                frames = VolumeFrames(volume)
            bits = None if self._dicom_meta is None else most_bits_stored(self._dicom_meta)
            return code_frames(frames, syntax, instances, bits, num_threads)

    def _objection(self) -> str:
        """Return why the image is not what the original files are, pixels apart; '' if it is."""
        if self._provenance is None:
            return "the image was not read from files"
        return self._provenance.objection(self._dicom_meta, self.pixel_header, self.space)

    def _changed_file(self, num_threads: int | None = None) -> str:
        """Return the name of an original file whose pixels were changed; '' if there is none."""
        assert self._provenance is not None
        return self._provenance.changed_file(self._raw_image, thread_count(num_threads))

    def _part(
        self,
        slices: list[int],
        slopes: Sequence[float] | None,
        intercepts: Sequence[float] | None,
        nifti: NiftiHeader | None = None,
    ) -> DicomCubeImage:
        """Return the image of some of the slices, given each slice's rescale where they differ."""
        header = dataclasses.replace(self.pixel_header, Extras=dict(self.pixel_header.Extras))
        if slopes is not None and intercepts is not None:
            header.RescaleSlope = slopes[slices[0]]
            header.RescaleIntercept = intercepts[slices[0]]
        meta = None if self._dicom_meta is None else self._dicom_meta.select(slices)
        if meta is not None and self._dicom_meta is not None:
            if slopes is None:
                keep_rescale(header, meta)
            take_window_of_part(header, self._dicom_meta, meta)
        if nifti is not None:
            space = space_of_nifti(nifti)[0]
        elif self._space is not None:
            space = space_of_slices(self._space, slices)
        else:
            space = None if meta is None else get_space_from_DicomMeta(meta, "zyx")
            if space is not None and tuple(space.shape[1:]) != self.shape[1:3]:
                space = None  # cut since, nobody told where
        part = DicomCubeImage(self._raw_image[slices], header, meta, space)
        part._nifti, part._losses = nifti, self._losses
        part._damage = self._damage.of_slices(slices)
        masks = self._pixels.masks()
        part._pixels = Pixels(part._raw_image, None if masks is None else masks[slices])
        return part
