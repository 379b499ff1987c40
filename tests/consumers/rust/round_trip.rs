// libdicube from Rust, by nothing but `extern "C"` and std: opens a file, tells what it is, decodes
// one frame, all frames, a patch and a level, and writes the frames to another file.
//
//     rustc -L LIBRARY_FOLDER round_trip.rs && ./round_trip FROM TO
use std::ffi::{c_char, c_void, CStr, CString};
use std::{env, error, fmt, mem, ptr};

#[repr(C)]
#[derive(Default)]
struct Image {
    struct_size: usize,
    rows: u64,
    columns: u64,
    samples: u32,
    sample_type: u32,
    byte_order: u32,
    reserved: u32,
}

#[repr(C)]
struct DecodeOptions {
    struct_size: usize,
    level: u32,
    real_type: u32,
    slopes: *const f64,
    intercepts: *const f64,
    cancel: *const u32,
    row: u64,
    column: u64,
    rows: u64,
    columns: u64,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        // All zero is the default of each field.
        let options: Self = unsafe { mem::zeroed() };
        Self { struct_size: mem::size_of::<Self>(), ..options }
    }
}

#[link(name = "dicube")]
extern "C" {
    fn dicube_version() -> *const c_char;
    fn dicube_last_error() -> *const c_char;
    fn dicube_image_size(image: *const Image, frames: u64, size: *mut usize) -> i32;
    fn dicube_reader_open_path(
        path: *const c_char,
        options: *const c_void,
        reader: *mut *mut c_void,
    ) -> i32;
    fn dicube_reader_close(reader: *mut c_void);
    fn dicube_reader_image(reader: *mut c_void, image: *mut Image, frames: *mut u64) -> i32;
    fn dicube_reader_decode(
        reader: *mut c_void,
        first: u64,
        count: u64,
        pixels: *mut u8,
        size: usize,
    ) -> i32;
    fn dicube_reader_decoded_image(
        reader: *mut c_void,
        options: *const DecodeOptions,
        image: *mut Image,
    ) -> i32;
    fn dicube_reader_decode_frames(
        reader: *mut c_void,
        frames: *const u64,
        count: u64,
        options: *const DecodeOptions,
        pixels: *mut u8,
        size: usize,
    ) -> i32;
    fn dicube_writer_open_path(
        path: *const c_char,
        image: *const Image,
        frames: u64,
        options: *const c_void,
        writer: *mut *mut c_void,
    ) -> i32;
    fn dicube_writer_close(writer: *mut c_void);
    fn dicube_writer_encode(
        writer: *mut c_void,
        count: u64,
        pixels: *const u8,
        size: usize,
    ) -> i32;
    fn dicube_writer_finish(writer: *mut c_void) -> i32;
}

#[derive(Debug)]
struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl error::Error for Failure {}

fn text(chars: *const c_char) -> String {
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().into_owned()
}

fn check(status: i32) -> Result<(), Failure> {
    match status {
        0 => Ok(()),
        _ => Err(Failure(text(unsafe { dicube_last_error() }))),
    }
}

struct Reader(*mut c_void);

impl Reader {
    fn open(path: &CStr) -> Result<Reader, Failure> {
        let mut handle = ptr::null_mut();
        check(unsafe { dicube_reader_open_path(path.as_ptr(), ptr::null(), &mut handle) })?;
        Ok(Reader(handle))
    }

    fn image(&self) -> Result<(Image, u64), Failure> {
        let mut image = Image { struct_size: mem::size_of::<Image>(), ..Default::default() };
        let mut frames = 0;
        check(unsafe { dicube_reader_image(self.0, &mut image, &mut frames) })?;
        Ok((image, frames))
    }

    fn decode(&self, image: &Image, first: u64, count: u64) -> Result<Vec<u8>, Failure> {
        let mut size = 0;
        check(unsafe { dicube_image_size(image, count, &mut size) })?;
        let mut pixels = vec![0; size];
        check(unsafe { dicube_reader_decode(self.0, first, count, pixels.as_mut_ptr(), size) })?;
        Ok(pixels)
    }

    // A region or a level of one frame: its description, and the sum of its bytes.
    fn part(&self, frame: u64, options: &DecodeOptions) -> Result<String, Failure> {
        let mut image = Image { struct_size: mem::size_of::<Image>(), ..Default::default() };
        check(unsafe { dicube_reader_decoded_image(self.0, options, &mut image) })?;
        let mut size = 0;
        check(unsafe { dicube_image_size(&image, 1, &mut size) })?;
        let mut pixels = vec![0u8; size];
        check(unsafe {
            dicube_reader_decode_frames(self.0, &frame, 1, options, pixels.as_mut_ptr(), size)
        })?;
        let sum: u64 = pixels.iter().map(|&byte| u64::from(byte)).sum();
        Ok(format!("{} x {}, sum {sum}", image.rows, image.columns))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        unsafe { dicube_reader_close(self.0) }
    }
}

struct Writer(*mut c_void);

impl Writer {
    fn open(path: &CStr, image: &Image, frames: u64) -> Result<Writer, Failure> {
        let mut handle = ptr::null_mut();
        check(unsafe {
            dicube_writer_open_path(path.as_ptr(), image, frames, ptr::null(), &mut handle)
        })?;
        Ok(Writer(handle))
    }

    fn encode(&self, frames: u64, pixels: &[u8]) -> Result<(), Failure> {
        check(unsafe { dicube_writer_encode(self.0, frames, pixels.as_ptr(), pixels.len()) })
    }

    fn finish(self) -> Result<(), Failure> {
        check(unsafe { dicube_writer_finish(self.0) })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        unsafe { dicube_writer_close(self.0) }
    }
}

fn main() -> Result<(), Box<dyn error::Error>> {
    let paths = env::args().skip(1).map(CString::new).collect::<Result<Vec<_>, _>>()?;
    let [from, to] = paths.as_slice() else {
        return Err("usage: round_trip FROM TO".into());
    };
    let reader = Reader::open(from)?;
    let (image, frames) = reader.image()?;
    let frame = reader.decode(&image, 1, 1)?;
    let volume = reader.decode(&image, 0, frames)?;
    if frame != volume[frame.len()..2 * frame.len()] {
        return Err("frame 1 differs from frame 1 of all".into());
    }
    let writer = Writer::open(to, &image, frames)?;
    writer.encode(frames, &volume)?;
    writer.finish()?;
    let version = text(unsafe { dicube_version() });
    println!("libdicube {version}: {frames} frames of {} x {}", image.rows, image.columns);
    let patch = DecodeOptions { row: 8, column: 5, rows: 3, columns: 4, ..Default::default() };
    println!("patch {}", reader.part(1, &patch)?);
    println!("level {}", reader.part(1, &DecodeOptions { level: 1, ..Default::default() })?);
    Ok(())
}
