//! What a file is, by its content. The name is only asked whether it agrees.

use serde::{Deserialize, Serialize};

use crate::finding::{Word, known_word};
use crate::geodata;
use crate::octets::{Set, head, slice, u32_be};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Kind {
    Empty,
    Json,
    Xml,
    Html,
    Svg,
    Csv,
    Text,
    Rtf,
    Mail,
    Pdf,
    Jpeg,
    Png,
    Gif,
    Bmp,
    Tiff,
    Webp,
    Heic,
    Docx,
    Xlsx,
    Pptx,
    Ofd,
    Odf,
    Zip,
    /// Compound file: doc, xls, ppt, msg and relatives.
    Ole,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
    SevenZip,
    Tar,
    /// ISO media: mp4, mov, m4a.
    Media,
    Audio,
    Font,
    Dbf,
    Metafile,
    /// DER from end to end.
    Signature,
    /// A binary part of an xlsb workbook.
    XlsbPart,
    /// Refused outward for what it is.
    Geodata(#[serde(deserialize_with = "known_word")] Word),
    /// Known, and no parser here looks into it.
    Opaque(#[serde(deserialize_with = "known_word")] Word),
    /// An encrypted envelope by its header.
    Encrypted(#[serde(deserialize_with = "known_word")] Word),
    Unknown,
}

impl Kind {
    /// Something that a schema can be held against.
    pub(crate) const fn is_message(self) -> bool {
        matches!(self, Kind::Xml | Kind::Json)
    }

    /// The code word used in `kinds` of a rule file.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Empty => "empty",
            Kind::Json => "json",
            Kind::Xml => "xml",
            Kind::Html => "html",
            Kind::Svg => "svg",
            Kind::Csv => "csv",
            Kind::Text => "txt",
            Kind::Rtf => "rtf",
            Kind::Mail => "eml",
            Kind::Pdf => "pdf",
            Kind::Jpeg => "jpeg",
            Kind::Png => "png",
            Kind::Gif => "gif",
            Kind::Bmp => "bmp",
            Kind::Tiff => "tiff",
            Kind::Webp => "webp",
            Kind::Heic => "heic",
            Kind::Docx => "docx",
            Kind::Xlsx => "xlsx",
            Kind::Pptx => "pptx",
            Kind::Ofd => "ofd",
            Kind::Odf => "odf",
            Kind::Zip => "zip",
            Kind::Ole => "ole",
            Kind::Gzip => "gz",
            Kind::Bzip2 => "bz2",
            Kind::Xz => "xz",
            Kind::Zstd => "zst",
            Kind::SevenZip => "7z",
            Kind::Tar => "tar",
            Kind::Media => "mp4",
            Kind::Audio => "audio",
            Kind::Font => "font",
            Kind::Dbf => "dbf",
            Kind::Metafile => "metafile",
            Kind::Signature => "signature",
            Kind::XlsbPart => "xlsb-part",
            Kind::Geodata(_) => "geodata",
            Kind::Opaque(_) => "opaque",
            Kind::Encrypted(_) => "encrypted",
            Kind::Unknown => "unknown",
        }
    }

    /// Something that people make by itself and put into other documents, or that holds such.
    pub(crate) const fn is_document(self) -> bool {
        matches!(
            self,
            Kind::Pdf
                | Kind::Docx
                | Kind::Xlsx
                | Kind::Pptx
                | Kind::Ofd
                | Kind::Odf
                | Kind::Ole
                | Kind::Rtf
                | Kind::Mail
                | Kind::Media
                | Kind::Zip
                | Kind::Tar
                | Kind::Gzip
                | Kind::Bzip2
                | Kind::Xz
                | Kind::Zstd
                | Kind::SevenZip
        )
    }

    /// What a message itself is written in.
    pub(crate) const fn is_words(self) -> bool {
        matches!(self, Kind::Text | Kind::Html | Kind::Mail)
    }

    /// What documents are made of beside other documents: texts, pictures, sounds, fonts, seals, and what is only theirs.
    /// Anything else in one is a file of its own.
    pub(crate) const fn is_ingredient(self) -> bool {
        self.is_picture()
            || matches!(
                self,
                Kind::Empty
                    | Kind::Xml
                    | Kind::Text
                    | Kind::Svg
                    | Kind::Metafile
                    | Kind::Audio
                    | Kind::Font
                    | Kind::Signature
                    | Kind::XlsbPart
                    | Kind::Unknown
            )
    }

    /// A picture by itself.
    pub(crate) const fn is_picture(self) -> bool {
        matches!(self, Kind::Jpeg | Kind::Png | Kind::Gif | Kind::Bmp | Kind::Tiff | Kind::Webp | Kind::Heic)
    }

    /// Most of its bytes are pixels, outlines or sounds, which nobody here reads.
    pub(crate) const fn is_passed_over(self) -> bool {
        matches!(
            self,
            Kind::Jpeg
                | Kind::Png
                | Kind::Gif
                | Kind::Bmp
                | Kind::Tiff
                | Kind::Webp
                | Kind::Heic
                | Kind::Media
                | Kind::Audio
                | Kind::Font
                | Kind::Metafile
        )
    }

    /// Every word that a rule file may list.
    pub(crate) const WORDS: [&'static str; 38] = [
        "empty",
        "json",
        "xml",
        "html",
        "svg",
        "csv",
        "txt",
        "rtf",
        "eml",
        "pdf",
        "jpeg",
        "png",
        "gif",
        "bmp",
        "tiff",
        "webp",
        "heic",
        "docx",
        "xlsx",
        "pptx",
        "ofd",
        "odf",
        "zip",
        "ole",
        "gz",
        "bz2",
        "xz",
        "zst",
        "7z",
        "tar",
        "mp4",
        "audio",
        "font",
        "dbf",
        "metafile",
        "signature",
        "geodata",
        "any",
    ];

    /// The kind that a magic number or a structure shows; `None` means: perhaps text.
    pub(crate) fn of_magic(bytes: &[u8]) -> Option<Kind> {
        if bytes.is_empty() {
            return Some(Kind::Empty);
        }
        if let Some(what) = geodata::magic(bytes) {
            return Some(Kind::Geodata(what));
        }
        if bytes.first().is_some_and(|first| FIRSTS.has(*first)) {
            for (magic, kind) in MAGICS {
                if bytes.starts_with(magic) && (*kind != Kind::Font || crate::font::looks_like(bytes)) {
                    return Some(*kind);
                }
            }
        }
        // Size of the file, then four reserved bytes of zero: "BM" alone opens many a sentence.
        if bytes.starts_with(b"BM") && slice(bytes, 6, 4) == Some(&[0; 4]) {
            return Some(Kind::Bmp);
        }
        if signature_whole(bytes) {
            return Some(Kind::Signature);
        }
        if crate::xlsb::is_part(bytes) {
            return Some(Kind::XlsbPart);
        }
        if let Some(kind) = iso_media(bytes).or_else(|| riff(bytes)) {
            return Some(kind);
        }
        // Before PDF, which may begin late: the first member of an archive begins at 512.
        if slice(bytes, 257, 5) == Some(b"ustar") || crate::tar::looks_like(bytes) {
            return Some(Kind::Tar);
        }
        if memchr::memmem::find(head(bytes, 1024), b"%PDF-").is_some() {
            return Some(Kind::Pdf);
        }
        if crate::dbf::looks_like(bytes) {
            return Some(Kind::Dbf);
        }
        None
    }
}

/// Magic numbers of four bytes and more first; the two-byte ones are backed by a parser that may still say no.
const MAGICS: &[(&[u8], Kind)] = &[
    (b"PK\x03\x04", Kind::Zip),
    (b"PK\x05\x06", Kind::Zip),
    (b"\xFF\xD8\xFF", Kind::Jpeg),
    (b"\x89PNG\r\n\x1a\n", Kind::Png),
    (b"GIF87a", Kind::Gif),
    (b"GIF89a", Kind::Gif),
    (b"II*\0", Kind::Tiff),
    (b"MM\0*", Kind::Tiff),
    (b"II+\0", Kind::Tiff),
    (b"MM\0+", Kind::Tiff),
    (b"BPG\xFB", Kind::Opaque("bpg")),
    (b"\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", Kind::Ole),
    (b"\x1F\x8B\x08", Kind::Gzip),
    (b"{\\rtf", Kind::Rtf),
    (b"7z\xBC\xAF\x27\x1C", Kind::SevenZip),
    (b"Rar!\x1A\x07", Kind::Opaque("rar")),
    (b"MSCF\0\0\0\0", Kind::Opaque("cab")),
    (b"BZh", Kind::Bzip2),
    (b"\xFD7zXZ\0", Kind::Xz),
    (b"\x28\xB5\x2F\xFD", Kind::Zstd),
    (b"\x04\x22\x4D\x18", Kind::Opaque("lz4")),
    (b"\x50\x2A\x4D\x18", Kind::Opaque("zstd-skippable")),
    (b"LZIP", Kind::Opaque("lzip")),
    (b"\x5D\0\0\x80\0", Kind::Opaque("lzma")),
    (b"ITSF", Kind::Opaque("chm")),
    (b"\x1F\x9D", Kind::Opaque("compress")),
    (b"!<arch>\n", Kind::Opaque("ar")),
    (b"\x7FELF", Kind::Opaque("program")),
    (b"\0\x01\0\0Standard Jet DB", Kind::Opaque("mdb")),
    (b"\0\x01\0\0Standard ACE DB", Kind::Opaque("accdb")),
    (b"Salted__", Kind::Encrypted("openssl")),
    (b"age-encryption.org/", Kind::Encrypted("age")),
    (b"-----BEGIN AGE ENCRYPTED FILE", Kind::Encrypted("age")),
    (b"-----BEGIN PGP MESSAGE", Kind::Encrypted("pgp")),
    (b"LUKS\xBA\xBE", Kind::Encrypted("luks")),
    (b"\0\x01\0\0\0", Kind::Font),
    (b"OTTO", Kind::Font),
    (b"true\0", Kind::Font),
    (b"ttcf\0", Kind::Font),
    (b"wOFF", Kind::Font),
    (b"wOF2", Kind::Opaque("woff2")),
    (b"ID3\x02", Kind::Audio),
    (b"ID3\x03", Kind::Audio),
    (b"ID3\x04", Kind::Audio),
    (b"\xFF\xFB", Kind::Audio),
    (b"\xFF\xF3", Kind::Audio),
    (b"fLaC", Kind::Audio),
    (b"OggS", Kind::Audio),
    (b"\xD7\xCD\xC6\x9A", Kind::Metafile),
    (b"\x01\0\x09\0\0\x03", Kind::Metafile),
    (b"VCLMTF", Kind::Metafile),
];

/// What they begin with.
const FIRSTS: Set = Set::of_firsts(MAGICS);

/// The words of all that are named by their first bytes.
#[cfg(test)]
pub(crate) fn magic_words() -> impl Iterator<Item = &'static str> {
    MAGICS.iter().filter_map(|(_, kind)| match kind {
        Kind::Opaque(word) | Kind::Encrypted(word) => Some(*word),
        _ => None,
    })
}

/// One DER sequence from the first byte to the last: certificates, signed values, seals.
fn signature_whole(bytes: &[u8]) -> bool {
    let (Some(0x30), Some(first)) = (bytes.first(), bytes.get(1)) else { return false };
    let (header, size) = match first {
        0..=0x7F => (2, usize::from(*first)),
        // Indefinite length, as old mail programs write it, ends in two zeros.
        0x80 => return bytes.len() > 32 && bytes.ends_with(&[0, 0]) && bytes.get(2) == Some(&0x06),
        0x81..=0x84 => {
            let width = usize::from(first - 0x80);
            let Some(field) = slice(bytes, 2, width) else { return false };
            (2 + width, field.iter().fold(0_usize, |n, b| n << 8 | usize::from(*b)))
        }
        _ => return false,
    };
    // A printed "0" followed by text is no sequence: its length would have to be right.
    size >= 16
        && header + size == bytes.len()
        && bytes.get(header).is_some_and(|b| matches!(b, 0x02 | 0x06 | 0x30 | 0x31 | 0xA0))
}

fn iso_media(bytes: &[u8]) -> Option<Kind> {
    // size(4) 'ftyp'(4) brand(4); old QuickTime starts with moov, mdat, wide or free.
    let size = u32_be(bytes, 0)?;
    let box_type = slice(bytes, 4, 4)?;
    if box_type == b"ftyp" {
        let brand = slice(bytes, 8, 4)?;
        let heif: [&[u8]; 10] =
            [b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis"];
        return Some(if heif.contains(&brand) { Kind::Heic } else { Kind::Media });
    }
    let known: [&[u8]; 4] = [b"moov", b"mdat", b"wide", b"free"];
    (known.contains(&box_type) && size >= 8).then_some(Kind::Media)
}

fn riff(bytes: &[u8]) -> Option<Kind> {
    if bytes.starts_with(b"RIFF") {
        return match slice(bytes, 8, 4)? {
            b"WEBP" => Some(Kind::Webp),
            b"WAVE" => Some(Kind::Audio),
            _ => Some(Kind::Opaque("riff")),
        };
    }
    // An enhanced metafile: record type 1 and " EMF" at 40.
    if bytes.starts_with(b"\x01\0\0\0") && slice(bytes, 40, 4) == Some(b" EMF") {
        return Some(Kind::Metafile);
    }
    None
}

/// Does the name's ending promise another kind than the content shows? An ending nobody knows promises nothing.
pub(crate) fn name_disagrees(name: &str, kind: Kind) -> bool {
    let Some((_, ending)) = name.rsplit_once('.') else { return false };
    let ending = ending.to_ascii_lowercase();
    let promised: &[&str] = match ending.as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => &["jpeg"],
        "png" => &["png"],
        "gif" => &["gif"],
        "bmp" => &["bmp"],
        "tif" | "tiff" => &["tiff"],
        "webp" => &["webp"],
        "heic" | "heif" => &["heic"],
        "pdf" => &["pdf"],
        "xml" => &["xml", "svg"],
        "svg" => &["svg"],
        "json" => &["json"],
        // A piece of a page is a text.
        "html" | "htm" => &["html", "xml", "txt"],
        "csv" | "tsv" | "txt" | "log" | "md" => &["csv", "txt", "json", "xml", "html"],
        "docx" | "docm" | "dotx" => &["docx"],
        "xlsx" | "xlsm" | "xlsb" | "xltx" => &["xlsx"],
        "pptx" | "ppsx" => &["pptx"],
        "ofd" => &["ofd"],
        "odt" | "ods" | "odp" => &["odf"],
        "zip" => &["zip"],
        "gz" | "tgz" => &["gz"],
        "bz2" | "tbz" => &["bz2"],
        "xz" | "txz" => &["xz"],
        "zst" => &["zst"],
        "7z" => &["7z"],
        "tar" => &["tar"],
        "doc" | "xls" | "ppt" | "wps" | "et" | "dps" => &["ole"],
        "mp4" | "mov" | "m4a" | "m4v" | "3gp" => &["mp4"],
        "dbf" => &["dbf"],
        "rtf" => &["rtf"],
        _ => return false,
    };
    !promised.contains(&kind.name()) && kind != Kind::Empty
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jpeg_called_pdf_disagrees() {
        assert!(name_disagrees("a/b.PDF", Kind::Jpeg));
        assert!(!name_disagrees("a/b.pdf", Kind::Pdf));
        assert!(!name_disagrees("a/b.unknown", Kind::Pdf));
    }
}
