// libdicube from Java, by JNA (which Fiji and many viewers carry): opens a file, tells what it is,
// decodes one frame, all frames, a patch and a level, and writes the frames to another file.
//
//     javac -cp jna.jar RoundTrip.java
//     java -cp jna.jar:. -Djna.library.path=LIBRARY_FOLDER RoundTrip FROM TO
import com.sun.jna.Library;
import com.sun.jna.Memory;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.ptr.LongByReference;
import com.sun.jna.ptr.PointerByReference;
import java.util.Arrays;
import java.util.Map;

public class RoundTrip {
    @Structure.FieldOrder({
        "structSize", "rows", "columns", "samples", "sampleType", "byteOrder", "reserved"
    })
    public static class Image extends Structure {
        public long structSize;
        public long rows;
        public long columns;
        public int samples;
        public int sampleType;
        public int byteOrder;
        public int reserved;

        public Image() {
            structSize = size();
        }
    }

    @Structure.FieldOrder({
        "structSize", "level", "realType", "slopes", "intercepts", "cancel",
        "row", "column", "rows", "columns"
    })
    public static class DecodeOptions extends Structure {
        public long structSize;
        public int level;
        public int realType;
        public Pointer slopes;
        public Pointer intercepts;
        public Pointer cancel;
        public long row;
        public long column;
        public long rows;
        public long columns;

        public DecodeOptions() {
            structSize = size();
        }
    }

    // size_t is as wide as a pointer; this example is for 64 bits.
    public interface Dicube extends Library {
        Map<String, ?> UTF8 = Map.of(Library.OPTION_STRING_ENCODING, "UTF-8");
        Dicube library = Native.load("dicube", Dicube.class, UTF8);

        String dicube_version();

        String dicube_last_error();

        int dicube_image_size(Image image, long frames, LongByReference size);

        int dicube_reader_open_path(String path, Pointer options, PointerByReference reader);

        void dicube_reader_close(Pointer reader);

        int dicube_reader_image(Pointer reader, Image image, LongByReference frames);

        int dicube_reader_decode(Pointer reader, long first, long count, Pointer out, long size);

        int dicube_reader_decoded_image(Pointer reader, DecodeOptions options, Image image);

        int dicube_reader_decode_frames(
                Pointer reader,
                long[] frames,
                long count,
                DecodeOptions options,
                Pointer pixels,
                long size);

        int dicube_writer_open_path(
                String path, Image image, long frames, Pointer options, PointerByReference writer);

        void dicube_writer_close(Pointer writer);

        int dicube_writer_encode(Pointer writer, long count, Pointer pixels, long size);

        int dicube_writer_finish(Pointer writer);
    }

    private static final Dicube dicube = Dicube.library;

    private static void check(int status) {
        if (status != 0) {
            throw new IllegalStateException(dicube.dicube_last_error());
        }
    }

    private static Memory decode(Pointer reader, Image image, long first, long count) {
        LongByReference size = new LongByReference();
        check(dicube.dicube_image_size(image, count, size));
        Memory pixels = new Memory(size.getValue());
        check(dicube.dicube_reader_decode(reader, first, count, pixels, pixels.size()));
        return pixels;
    }

    // A region or a level of one frame: its description, and the sum of its bytes.
    private static String part(Pointer reader, long frame, DecodeOptions options) {
        Image image = new Image();
        check(dicube.dicube_reader_decoded_image(reader, options, image));
        LongByReference size = new LongByReference();
        check(dicube.dicube_image_size(image, 1, size));
        Memory pixels = new Memory(size.getValue());
        long[] frames = {frame};
        check(dicube.dicube_reader_decode_frames(
                reader, frames, 1, options, pixels, pixels.size()));
        long sum = 0;
        for (byte one : pixels.getByteArray(0, (int) pixels.size())) {
            sum += Byte.toUnsignedInt(one);
        }
        return image.rows + " x " + image.columns + ", sum " + sum;
    }

    private static void write(String path, Image image, long frames, Memory volume) {
        PointerByReference handle = new PointerByReference();
        check(dicube.dicube_writer_open_path(path, image, frames, null, handle));
        try {
            check(dicube.dicube_writer_encode(handle.getValue(), frames, volume, volume.size()));
            check(dicube.dicube_writer_finish(handle.getValue()));
        } finally {
            dicube.dicube_writer_close(handle.getValue());
        }
    }

    public static void main(String[] paths) {
        PointerByReference handle = new PointerByReference();
        check(dicube.dicube_reader_open_path(paths[0], null, handle));
        Pointer reader = handle.getValue();
        try {
            Image image = new Image();
            LongByReference frames = new LongByReference();
            check(dicube.dicube_reader_image(reader, image, frames));
            Memory frame = decode(reader, image, 1, 1);
            Memory volume = decode(reader, image, 0, frames.getValue());
            int size = (int) frame.size();
            if (!Arrays.equals(frame.getByteArray(0, size), volume.getByteArray(size, size))) {
                throw new IllegalStateException("frame 1 differs from frame 1 of all");
            }
            write(paths[1], image, frames.getValue(), volume);
            System.out.printf(
                    "libdicube %s: %d frames of %d x %d%n",
                    dicube.dicube_version(), frames.getValue(), image.rows, image.columns);
            DecodeOptions patch = new DecodeOptions();
            patch.row = 8;
            patch.column = 5;
            patch.rows = 3;
            patch.columns = 4;
            System.out.println("patch " + part(reader, 1, patch));
            DecodeOptions level = new DecodeOptions();
            level.level = 1;
            System.out.println("level " + part(reader, 1, level));
        } finally {
            dicube.dicube_reader_close(reader);
        }
    }
}
