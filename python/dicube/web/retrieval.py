"""Answers retrieve requests: DICOM files, metadata, frames, pictures, bulk data.

WADO-RS: PS3.18 10.4.
Must not know how files store what they have.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from itertools import chain

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dicube.codecs.records import JPH, JXL
from dicube.dicom.transfer_syntaxes import (
    EXPLICIT,
    HTJ2K,
    HTJ2K_RPCL,
    JPEG_XL,
    TRANSFER_SYNTAXES,
    TransferSyntax,
)
from dicube.exceptions import DataConsistencyError, DicomCubeError
from dicube.web.accept import ANY_SYNTAX, Offer
from dicube.web.frames import Frames
from dicube.web.multipart import Bytes, Multipart, Part
from dicube.web.negotiation import expect, service_url
from dicube.web.rendering import MEDIA_TYPES, THUMBNAIL, View, rendered, view_of
from dicube.web.responses import (
    Workers,
    compressed,
    json_response,
    streamed,
    unchanged,
    whole,
)
from dicube.web.search import JSON_OFFERS
from dicube.web.series import OpenSeries, StoredInstance
from dicube.web.stored import Stored

_DICOM, _OCTETS = "application/dicom", "application/octet-stream"
_HTJ2K_ANY = "1.2.840.10008.1.2.4.203"  # lossy frames too, but lossless ones are allowed
_BY_UID = {syntax.uid: syntax for syntax in TRANSFER_SYNTAXES} | {_HTJ2K_ANY: HTJ2K}
_MEDIA_TYPES = {JPH.name: "image/jphc", JXL.name: "image/jxl"}
_LARGE = 64 << 20  # bytes of pixels of a file that is not held in memory
_MOST_FRAMES = 10_000  # in the list of a request


class Retrieval:
    """The retrieve transactions of a service."""

    def __init__(self, stored: Stored, workers: Workers) -> None:
        """Take what is served, and the threads that read and decode."""
        self._stored, self._workers = stored, workers

    # --------------------------------------------------------------------------- DICOM files

    async def files(self, request: Request) -> Response:
        """Return the DICOM files of a study, a series or an instance."""
        uids = await self._uids(request)
        instances = await self._instances(request, uids[0])
        is_one, is_whole = len(instances) == 1, len(uids) == 1
        offers = await self._workers.run(_file_offers, instances[0], is_one and is_whole)
        offer = expect(request, offers)
        tag = _joined_tag([one.tag for one in instances], offer.syntax, offer.is_multipart)
        if not is_whole:
            tag = ""  # for which all files would have to be opened
        if (same := unchanged(request, tag)) is not None:
            return same
        if not offer.is_multipart:
            syntax, chunks = await self._workers.run(_file, instances[0], offer.syntax)
            kind = f"{_DICOM}; transfer-syntax={syntax}"
            if instances[0].size > _LARGE:
                return await streamed(request, self._workers, chunks, kind, tag)
            data = await self._workers.run(_joined, chunks)
            return whole(request, data, kind, tag)

        def parts() -> Iterator[Part]:
            for instance in chain(instances, self._instances_of(request, uids[1:])):
                syntax, chunks = _file(instance, offer.syntax)
                yield Part(f"{_DICOM}; transfer-syntax={syntax}", chunks)

        message = Multipart(_DICOM)
        return await streamed(
            request, self._workers, message.message(parts()), message.content_type, tag
        )

    # ------------------------------------------------------------------------------ metadata

    async def metadata(self, request: Request) -> Response:
        """Return the metadata of a study, a series or an instance as DICOM JSON."""
        expect(request, JSON_OFFERS)
        url = service_url(request)
        if "instance" in request.path_params:
            instance = await self._instance(request)
            body = await self._workers.run(instance.metadata, url)
            data = f"[{body}]".encode("utf-8", "replace")
            return json_response(request, data, _joined_tag([instance.tag], url))
        texts: list[bytes] = []
        identities: list[str] = []
        packed = None
        for uid in await self._uids(request):
            for series in await self._opened(request, uid):
                text, packed = await self._workers.run(series.all_metadata, url, compressed)
                texts.append(text)
                identities.append(series.identity)
        tag = _joined_tag(identities, url)
        if len(texts) == 1:
            return json_response(request, texts[0], tag, packed)
        joined = b",".join(text[1:-1] for text in texts if len(text) > 2)
        return json_response(request, b"[" + joined + b"]", tag)

    # -------------------------------------------------------------------------------- frames

    async def frames(self, request: Request) -> Response:
        """Return frames of an instance."""
        instance = await self._instance(request)
        slices = await self._slices(instance)
        chosen = [slices[number - 1] for number in _numbers(request, len(slices))]
        found = await self._workers.run(self._frames, request, instance.frames, slices, chosen)
        if isinstance(found, Response):
            return found
        return await streamed(request, self._workers, *found)

    def _frames(
        self, request: Request, frames: Frames, slices: Sequence[int], chosen: Sequence[int]
    ) -> Response | tuple[Iterator[Bytes], str, str]:
        """Return some of the frames of an instance; of several, what `streamed` takes."""
        offer = expect(request, _frame_offers(frames, slices, len(chosen) == 1))
        kind = f"{offer.media_type}; transfer-syntax={offer.syntax}"
        tag = frames.tag(chosen, f"{offer.syntax}-{offer.media_type.replace('/', '-')}")
        if offer.is_multipart:
            tag = _joined_tag([tag], "", True)
        if (same := unchanged(request, tag)) is not None:
            return same
        syntax = _BY_UID[offer.syntax]
        if len(chosen) > 1:
            parts = (Part(kind, [frames.frame(slices, index, syntax)]) for index in chosen)
            message = Multipart(offer.media_type)
            return message.message(parts), message.content_type, tag
        data = frames.frame(slices, chosen[0], syntax)
        if not offer.is_multipart:
            return whole(request, data, kind, tag)
        message = Multipart(offer.media_type)
        body = b"".join(message.message([Part(kind, [data])]))
        return whole(request, body, message.content_type, tag)

    # ------------------------------------------------------------------------------ pictures

    async def rendered(self, request: Request) -> Response:
        """Return pictures of a study, a series, an instance or frames."""
        return await self._pictures(request, View())

    async def thumbnail(self, request: Request) -> Response:
        """Return a small picture of a study, a series, an instance or a frame."""
        return await self._pictures(request, THUMBNAIL)

    async def _pictures(self, request: Request, default: View) -> Response:
        view = view_of(request.query_params, default)
        if default is not THUMBNAIL and "instance" not in request.path_params:
            return await self._all_pictures(request, view)
        if "instance" in request.path_params:
            instance = await self._instance(request)
        else:  # the one in the middle stands for all
            uids = await self._uids(request)
            instances = await self._instances(request, uids[len(uids) // 2])
            instance = instances[len(instances) // 2]
        slices = await self._slices(instance)
        if "frames" in request.path_params:
            numbers = _numbers(request, len(slices))
        else:
            numbers = [len(slices) // 2 + 1 if default is THUMBNAIL else 1]
        frames, chosen = instance.frames, [slices[number - 1] for number in numbers]
        offer = expect(request, [Offer(n, is_multipart=len(chosen) > 1) for n in MEDIA_TYPES])
        name = offer.media_type
        tag = _joined_tag([frames.tag(chosen, name)], str(view), offer.is_multipart)
        if (same := unchanged(request, tag)) is not None:
            return same
        if len(chosen) == 1:
            data = await self._workers.run(rendered, frames, chosen[0], view, name)
            return whole(request, data, name, tag)
        parts = (Part(name, [rendered(frames, index, view, name)]) for index in chosen)
        message = Multipart(name)
        return await streamed(
            request, self._workers, message.message(parts), message.content_type, tag
        )

    async def _all_pictures(self, request: Request, view: View) -> Response:
        """Return a picture of each instance of a series or study that has frames."""
        uids = await self._uids(request)
        await self._opened(request, uids[0])
        name = expect(request, [Offer(n, is_multipart=True) for n in MEDIA_TYPES]).media_type

        def parts() -> Iterator[Part]:
            for one in self._instances_of(request, uids):
                if one.has_frames:
                    yield Part(name, [rendered(one.frames, one.slices[0], view, name)])

        message = Multipart(name)
        return await streamed(
            request, self._workers, message.message(parts()), message.content_type, ""
        )

    # ----------------------------------------------------------------------------- bulk data

    async def bulk(self, request: Request) -> Response:
        """Return a binary value, such as those that metadata link to."""
        instance = await self._instance(request)
        path = request.path_params["path"].upper().split("/")
        if len(path) % 2 == 0:
            raise HTTPException(404, "no such value")
        offer = expect(
            request,
            [Offer(_OCTETS), Offer(_OCTETS, is_multipart=True)],
        )
        tag = _joined_tag([instance.tag], str(path), offer.is_multipart)
        if (same := unchanged(request, tag)) is not None:
            return same
        chunks: Iterator[Bytes]
        if await self._workers.run(instance.is_pixels, path):
            frames, slices = instance.frames, instance.slices
            chunks = (frames.frame(slices, index, EXPLICIT) for index in slices)
        else:
            value = await self._workers.run(instance.bulk, path)
            if value is None:
                raise HTTPException(404, "no such value")
            if not offer.is_multipart:
                return whole(request, value, _OCTETS, tag)
            chunks = iter([value])
        kind = f"{_OCTETS}; transfer-syntax={EXPLICIT.uid}"
        if not offer.is_multipart:
            return await streamed(request, self._workers, chunks, kind, tag)
        message = Multipart(_OCTETS)
        parts = message.message([Part(kind, chunks)])
        return await streamed(request, self._workers, parts, message.content_type, tag)

    # --------------------------------------------------------------------------------- lookup

    async def _uids(self, request: Request) -> list[str]:
        """Return the UIDs of the series of a request.

        Raises:
            HTTPException: 404, there are none.
        """
        given = request.path_params
        if "series" in given:
            return [given["series"]]
        found = await self._workers.run(self._stored.series_of, given["study"])
        if not found:
            raise HTTPException(404, "no such study")
        return found

    async def _opened(self, request: Request, series: str) -> list[OpenSeries]:
        """Return the open files of a series.

        Raises:
            HTTPException: 404, there are none.
        """
        study = request.path_params["study"]
        found = self._stored.known(study, series)
        if found is None:
            found = await self._workers.run(self._stored.series, study, series)
        if not found:
            raise HTTPException(404, "no such series")
        return found

    async def _instances(self, request: Request, series: str) -> list[StoredInstance]:
        """Return the instances of a request that are in a series.

        Raises:
            HTTPException: 404, there are none; 409, several patients have the instance.
        """
        uid = request.path_params.get("instance")
        opened = await self._opened(request, series)
        if uid is None:
            found = [instance for one in opened for instance in one.instances.values()]
        else:
            found = [one.instances[uid] for one in opened if uid in one.instances]
        if not found:
            raise HTTPException(404, "no such instance")
        if uid is not None and len(found) > 1:
            raise HTTPException(409, "several patients have an instance with this UID")
        return found

    async def _instance(self, request: Request) -> StoredInstance:
        return (await self._instances(request, request.path_params["series"]))[0]

    def _instances_of(self, request: Request, uids: Sequence[str]) -> Iterator[StoredInstance]:
        """Yield the instances of series, whose files are opened one after the other."""
        for uid in uids:
            for series in self._stored.series(request.path_params["study"], uid):
                yield from series.instances.values()

    async def _slices(self, instance: StoredInstance) -> Sequence[int]:
        if instance.own:
            return instance.own
        try:
            return await self._workers.run(lambda: instance.slices)
        except DicomCubeError:
            raise HTTPException(404, "the instance has no frames that can be decoded") from None


# -------------------------------------------------------------------------------------- offers


def _frame_offers(frames: Frames, slices: Sequence[int], is_one: bool) -> tuple[Offer, ...]:
    """Return the forms in which frames of an instance can be sent: one of them, or several.

    Clients that take any transfer syntax get HTJ2K rather than JPEG XL, which few of them decode;
    and colours uncompressed, unless they are stored as JPEG or with a colour transform: without
    one, the decoder of OHIF (codec-openjph 2.4) mixes up the planes.
    """
    possible = tuple(one for one in (HTJ2K_RPCL, HTJ2K, JPEG_XL) if frames.can_be(one))
    stored = frames.stored(slices)
    is_plain = frames.has_colours and not stored.is_jpeg and not stored.is_transformed
    return _offers_of(stored.syntax, possible, is_one, is_plain)


@lru_cache
def _offers_of(
    stored: TransferSyntax | None,
    possible: tuple[TransferSyntax, ...],
    is_one: bool,
    is_plain: bool,
) -> tuple[Offer, ...]:
    coded = list(possible)  # JPEG XL is the last of them
    if stored is not None and stored != JPEG_XL:
        coded = [stored, *(one for one in coded if one != stored)]
    preferred = coded[0] if coded and not is_plain else EXPLICIT
    offers: list[Offer] = []
    for is_multipart in (True, False) if is_one else (True,):
        offers.append(Offer(_OCTETS, EXPLICIT.uid, is_multipart, is_any=preferred == EXPLICIT))
        seen: set[str] = set()
        for syntax in coded:
            offers.append(
                Offer(_OCTETS, syntax.uid, is_multipart, False, is_any=syntax == preferred)
            )
            name = "image/jpeg" if syntax.is_jpeg else _media_type_of(syntax)
            is_default = syntax.is_jpeg or syntax in (HTJ2K, JPEG_XL)
            offers.append(Offer(name, syntax.uid, is_multipart, is_default, name not in seen))
            seen.add(name)
        if HTJ2K in coded:
            names = _OCTETS, _media_type_of(HTJ2K)
            offers += [Offer(name, _HTJ2K_ANY, is_multipart, False, False) for name in names]
    return tuple(offers)


def _media_type_of(syntax: TransferSyntax) -> str:
    assert syntax.codec is not None
    return _MEDIA_TYPES[syntax.codec.name]


def _file_offers(first: StoredInstance, is_one: bool) -> list[Offer]:
    """Return the forms in which DICOM files can be sent, the first of which is given."""
    own = first.syntax
    written = [EXPLICIT, HTJ2K_RPCL, HTJ2K, JPEG_XL]
    syntaxes = [one.uid for one in written if one.uid != own and _can_be_written(first, one)]
    offers: list[Offer] = []
    for is_multipart in (True, False) if is_one else (True,):
        offers.append(Offer(_DICOM, ANY_SYNTAX, is_multipart, is_default=False))
        offers += [
            Offer(_DICOM, uid, is_multipart, uid == EXPLICIT.uid, is_any=False)
            for uid in ([own] if own else []) + syntaxes
        ]
    return offers


def _can_be_written(instance: StoredInstance, syntax: TransferSyntax) -> bool:
    if instance.has_frames:
        return instance.frames.can_be(syntax)
    return syntax == EXPLICIT and instance.is_plain


def _file(instance: StoredInstance, syntax: str) -> tuple[str, Iterator[Bytes]]:
    """Return the transfer syntax of a DICOM file, and its bytes in parts.

    An instance that can't be written in the transfer syntax comes as it is stored: an object
    without frames in explicit VR little endian, if it can.
    """
    own = instance.syntax
    if own and syntax in (own, ANY_SYNTAX):
        return own, instance.original()
    for wanted in (_BY_UID.get(syntax), EXPLICIT):
        if wanted is not None and wanted.uid == own:
            return own, instance.original()
        if wanted is not None and _can_be_written(instance, wanted):
            return wanted.uid, iter(instance.written(wanted))
    if own:
        return own, instance.original()
    raise DataConsistencyError("the instance can't be written")


# ------------------------------------------------------------------------------------- requests


def _numbers(request: Request, count: int) -> list[int]:
    """Return the frame numbers of a request, which count from 1.

    Raises:
        HTTPException: 400, it is no list of numbers; 404, there is no such frame.
    """
    texts = request.path_params["frames"].split(",")
    if not 0 < len(texts) <= _MOST_FRAMES or not all(
        text.isascii() and text.isdigit() and len(text) < 10 for text in texts
    ):
        raise HTTPException(400, "expected frame numbers with commas between them")
    numbers = [int(text) for text in texts]
    if not all(1 <= number <= count for number in numbers):
        raise HTTPException(404, f"the instance has frames 1 to {count}")
    return numbers


def _joined_tag(tags: Sequence[str], more: str, is_multipart: bool = False) -> str:
    digest = sha256("\n".join([*tags, more]).encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"W/{digest}" if is_multipart else digest


def _joined(chunks: Iterator[Bytes]) -> bytes:
    return b"".join(chunks)
