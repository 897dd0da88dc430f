//! A picture painted anew: decoded to its pixels, turned the right way up, and encoded again. No byte of the old file
//! comes along: no metadata, no colour profile, no thumbnail, nothing behind the end.
//!
//! JPEG stays JPEG and loses a little, PNG stays PNG and loses nothing. Other kinds are not painted. Pixels themselves are
//! not read: a table that was photographed is still there, and so is what hides in the lowest bits of a PNG.

use std::io::Cursor;

use jpeg_encoder::{ColorType, Encoder};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::kind::Kind;

/// Pixels of a picture: A3 at 600 dots an inch is 70 million. A progressive one of so many takes 650 MB to decode, and a
/// worker has 1 GiB.
const PIXELS_MAX: usize = 72_000_000;
/// Bytes of the pixels of a PNG, which may take eight each.
const PIXEL_BYTES_MAX: usize = 288 << 20;
/// Scans of a progressive JPEG; cameras write about ten, and a thousand are an attack on time.
const SCANS_MAX: usize = 100;

/// The picture anew, if it can be decoded within bounds.
pub(crate) fn repaint(kind: Kind, bytes: &[u8], quality: u8) -> Option<Vec<u8>> {
    match kind {
        Kind::Jpeg => jpeg(bytes, quality),
        Kind::Png => png(bytes),
        _ => None,
    }
}

fn jpeg(bytes: &[u8], quality: u8) -> Option<Vec<u8>> {
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX))
        .jpeg_set_max_scans(SCANS_MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().ok()?;
    let (width, height) = decoder.dimensions()?;
    if width == 0 || height == 0 || width.checked_mul(height)? > PIXELS_MAX {
        return None;
    }
    let (space, color, depth) = match decoder.input_colorspace()? {
        ColorSpace::Luma => (ColorSpace::Luma, ColorType::Luma, 1),
        _ => (ColorSpace::RGB, ColorType::Rgb, 3),
    };
    decoder.set_options(options.jpeg_set_out_colorspace(space));
    let pixels = decoder.decode().ok()?;
    let turn = decoder.exif().and_then(|exif| crate::strip::orientation(exif)).unwrap_or(1);
    let picture = Picture { width, height, depth, pixels };
    if picture.pixels.len() != width * height * depth {
        return None;
    }
    let upright = picture.turned(turn);
    let mut out = Vec::new();
    let (width, height) = (u16::try_from(upright.width).ok()?, u16::try_from(upright.height).ok()?);
    Encoder::new(&mut out, quality).encode(&upright.pixels, width, height, color).ok()?;
    Some(out)
}

struct Picture {
    width: usize,
    height: usize,
    /// Bytes of a pixel.
    depth: usize,
    pixels: Vec<u8>,
}

impl Picture {
    /// As an EXIF orientation says it is to be shown.
    fn turned(self, turn: u8) -> Picture {
        let (w, h) = (self.width, self.height);
        let (width, height) = if turn >= 5 { (h, w) } else { (w, h) };
        let source = |x: usize, y: usize| match turn {
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (y, h - 1 - x),
            7 => (w - 1 - y, h - 1 - x),
            _ => (w - 1 - y, x),
        };
        if !(2..=8).contains(&turn) {
            return self;
        }
        let mut pixels = Vec::with_capacity(self.pixels.len());
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = source(x, y);
                let at = (from_y * w + from_x) * self.depth;
                pixels.extend_from_slice(self.pixels.get(at..at + self.depth).unwrap_or_default());
            }
        }
        Picture { width, height, depth: self.depth, pixels }
    }
}

/// The same pixels in the same form of colour, to the bit.
fn png(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = png::Decoder::new_with_limits(Cursor::new(bytes), png::Limits { bytes: PIXEL_BYTES_MAX });
    decoder.set_transformations(png::Transformations::IDENTITY);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().ok()?;
    let info = reader.info();
    let (width, height, color, depth) = (info.width, info.height, info.color_type, info.bit_depth);
    let (palette, transparent) = (info.palette.clone(), info.trns.clone());
    let area = usize::try_from(width).ok()?.checked_mul(usize::try_from(height).ok()?)?;
    // Only the first frame of an animation would be left.
    if info.is_animated() || area > PIXELS_MAX {
        return None;
    }
    let size = reader.output_buffer_size().filter(|size| *size <= PIXEL_BYTES_MAX)?;
    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).ok()?;
    let pixels = pixels.get(..frame.buffer_size())?;
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if let Some(palette) = palette {
        encoder.set_palette(palette);
    }
    if let Some(transparent) = transparent {
        encoder.set_trns(transparent);
    }
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(pixels).ok()?;
    writer.finish().ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded_png(bytes: &[u8]) -> Vec<u8> {
        let mut reader = png::Decoder::new(Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("small")];
        reader.next_frame(&mut pixels).expect("its pixels");
        pixels
    }

    #[test]
    fn a_png_of_every_form_keeps_its_pixels_to_the_bit_and_nothing_else() {
        use png::{BitDepth, ColorType};
        for (color, depth, row) in [
            (ColorType::Grayscale, BitDepth::One, 1),
            (ColorType::Grayscale, BitDepth::Sixteen, 16),
            (ColorType::Rgb, BitDepth::Eight, 24),
            (ColorType::Rgba, BitDepth::Sixteen, 64),
            (ColorType::Indexed, BitDepth::Four, 4),
        ] {
            let pixels: Vec<u8> = (0..row * 8_usize).map(|n| u8::try_from(n * 37 % 251).expect("small")).collect();
            let mut file = Vec::new();
            let mut encoder = png::Encoder::new(&mut file, 8, 8);
            encoder.set_color(color);
            encoder.set_depth(depth);
            if color == ColorType::Indexed {
                encoder.set_palette((0..48).collect::<Vec<u8>>());
                encoder.set_trns(vec![0, 128]);
            }
            encoder.add_text_chunk("Comment".into(), "4563112.347 40512233.118".into()).expect("a text");
            let mut writer = encoder.write_header().expect("a header");
            writer.write_image_data(&pixels).expect("pixels");
            writer.finish().expect("an end");
            file.extend_from_slice(b"behind the end");
            let new = repaint(Kind::Png, &file, 90).expect("it is painted");
            assert_eq!(decoded_png(&new), decoded_png(&file), "{color:?}");
            for word in [&b"tEXt"[..], b"Comment", b"behind"] {
                assert!(memchr::memmem::find(&new, word).is_none());
            }
        }
    }

    /// Dark above, light below.
    fn halves(width: u16, height: u16) -> Vec<u8> {
        let pixels: Vec<u8> = (0..height)
            .flat_map(|y| std::iter::repeat_n(if y < height / 2 { 20 } else { 230 }, usize::from(width)))
            .collect();
        let mut out = Vec::new();
        Encoder::new(&mut out, 95).encode(&pixels, width, height, ColorType::Luma).expect("a JPEG");
        out
    }

    fn gray(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
        let options = DecoderOptions::new_safe().jpeg_set_out_colorspace(ColorSpace::Luma);
        let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
        let pixels = decoder.decode().expect("a JPEG");
        let (width, height) = decoder.dimensions().expect("decoded");
        (width, height, pixels)
    }

    #[test]
    fn a_jpeg_is_painted_upright_and_stays_near_what_it_was() {
        let photo = halves(32, 16);
        let (_, _, before) = gray(&photo);
        let (width, height, after) = gray(&repaint(Kind::Jpeg, &photo, 90).expect("it is painted"));
        assert_eq!((width, height), (32, 16));
        assert!(before.iter().zip(&after).all(|(a, b)| a.abs_diff(*b) <= 6), "no pixel moves by more than six of 255");
        // Orientation 6: shown a quarter turn to the right, so what was above is on the right.
        let exif = b"\xFF\xE1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let turned = [&photo[..2], exif, &photo[2..], b"behind the end"].concat();
        let new = repaint(Kind::Jpeg, &turned, 90).expect("it is painted");
        let (width, height, pixels) = gray(&new);
        assert_eq!((width, height), (16, 32));
        assert!(pixels.first().is_some_and(|left| *left > 200) && pixels.get(15).is_some_and(|right| *right < 60));
        for word in [&b"Exif"[..], b"behind"] {
            assert!(memchr::memmem::find(&new, word).is_none());
        }
    }

    #[test]
    fn what_is_broken_or_too_large_is_not_painted() {
        let photo = halves(32, 16);
        assert!(repaint(Kind::Jpeg, photo.get(..photo.len() / 3).unwrap_or_default(), 90).is_none());
        for bytes in [&b""[..], b"\xFF\xD8\xFF\xD9", b"\x89PNG\r\n\x1a\n"] {
            assert!(repaint(Kind::Jpeg, bytes, 90).is_none() && repaint(Kind::Png, bytes, 90).is_none());
        }
        assert!(repaint(Kind::Gif, b"GIF89a", 90).is_none());
        // A header that promises four thousand million pixels.
        let at = memchr::memmem::find(&photo, b"\xFF\xC0").expect("a frame header");
        let mut huge = photo.clone();
        huge.get_mut(at + 5..at + 9).expect("its size").fill(0xFF);
        assert!(repaint(Kind::Jpeg, &huge, 90).is_none());
        let mut frame = b"IHDR\xFF\xFF\xFF\0\xFF\xFF\xFF\0\x08\x06\0\0\0".to_vec();
        let mut crc = flate2::Crc::new();
        crc.update(&frame);
        frame.extend_from_slice(&crc.sum().to_be_bytes());
        assert!(repaint(Kind::Png, &[&b"\x89PNG\r\n\x1a\n\0\0\0\x0d"[..], &frame].concat(), 90).is_none());
    }
}
