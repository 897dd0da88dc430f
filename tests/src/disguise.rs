//! The metamorphic generator: one positive in many disguises. A disguise changes how a file looks and never what it
//! says, so what is stopped bare must be stopped disguised.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::papers::{pdf_of, zip_of};

/// A name and bytes, where the disguise applies.
type Worn = Option<(String, Vec<u8>)>;

/// One disguise: its name, and what it makes of a file; `None` where it does not apply (a picture has no other
/// encoding).
pub struct Disguise {
    /// The word for it in reports.
    pub name: &'static str,
    wear: fn(&str, &[u8]) -> Worn,
}

impl Disguise {
    /// The file in this disguise, under its new name.
    #[must_use]
    pub fn wear(&self, name: &str, bytes: &[u8]) -> Option<(String, Vec<u8>)> {
        (self.wear)(name, bytes)
    }
}

/// Every disguise. The order is the order of the report.
pub const ALL: &[Disguise] = &[
    Disguise { name: "zip", wear: |name, bytes| Some(("a.zip".into(), zip_of(&[(name, bytes)], false))) },
    Disguise { name: "stored zip", wear: |name, bytes| Some(("a.zip".into(), zip_of(&[(name, bytes)], true))) },
    Disguise { name: "renamed", wear: |_, bytes| Some(("身份证正面.jpg".into(), bytes.to_vec())) },
    Disguise { name: "without ending", wear: |_, bytes| Some(("附件".into(), bytes.to_vec())) },
    Disguise { name: "gz", wear: |_, bytes| Some(("a.gz".into(), gz(bytes))) },
    Disguise { name: "tar.gz", wear: |name, bytes| Some(("a.tar.gz".into(), gz(&tar(name, bytes)))) },
    Disguise {
        name: "zip in tar.gz in zip",
        wear: |name, bytes| {
            let inner = gz(&tar("b.zip", &zip_of(&[(name, bytes)], false)));
            Some(("a.zip".into(), zip_of(&[("材料/a.tar.gz", &inner)], false)))
        },
    },
    Disguise {
        name: "base64 in JSON",
        wear: |_, bytes| {
            Some(("a.json".into(), format!("{{\"ywh\": \"1\", \"fj\": \"{}\"}}", base64(bytes)).into_bytes()))
        },
    },
    Disguise {
        name: "hex in JSON",
        wear: |_, bytes| {
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            Some(("a.json".into(), format!("{{\"fj\": \"{hex}\"}}").into_bytes()))
        },
    },
    Disguise {
        name: "base64 in XML",
        wear: |_, bytes| {
            let text = format!(
                "<?xml version=\"1.0\"?><Message><FJ_F_100><FJNR>{}</FJNR></FJ_F_100></Message>",
                base64(bytes)
            );
            Some(("a.xml".into(), text.into_bytes()))
        },
    },
    Disguise { name: "mail", wear: |name, bytes| Some(("a.eml".into(), mail(name, bytes))) },
    Disguise {
        name: "object in docx",
        wear: |_, bytes| Some(("a.docx".into(), docx("<w:p><w:r><w:t>说明</w:t></w:r></w:p>", Some(bytes)))),
    },
    Disguise { name: "attachment of a pdf", wear: |name, bytes| Some(("a.pdf".into(), attached(name, bytes))) },
    Disguise { name: "OFD", wear: |name, bytes| Some(("a.ofd".into(), ofd(name, bytes))) },
    Disguise {
        name: "GB18030",
        wear: |name, bytes| {
            let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_ascii())?;
            Some((name.to_owned(), gb18030(text)?))
        },
    },
    Disguise {
        name: "UTF-16",
        wear: |name, bytes| {
            let text = plain(bytes)?.replace("encoding=\"UTF-8\"", "encoding=\"UTF-16\"");
            Some((
                name.to_owned(),
                [0xFEFF].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
            ))
        },
    },
    Disguise {
        name: "UTF-16, big end first, no mark",
        wear: |name, bytes| {
            let text = plain(bytes)?;
            Some((name.to_owned(), text.encode_utf16().flat_map(u16::to_be_bytes).collect()))
        },
    },
    Disguise {
        name: "lines end in CR LF",
        wear: |name, bytes| Some((name.to_owned(), plain(bytes)?.replace('\n', "\r\n").into_bytes())),
    },
    Disguise {
        name: "paragraphs of a docx",
        wear: |_, bytes| {
            let text = short(bytes)?;
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
            let body: String = escaped
                .lines()
                .map(|line| format!("<w:p><w:r><w:t xml:space=\"preserve\">{line}</w:t></w:r></w:p>"))
                .collect();
            Some(("a.docx".into(), docx(&body, None)))
        },
    },
    Disguise {
        name: "page of a pdf",
        wear: |_, bytes| {
            let text = short(bytes).filter(|text| text.is_ascii())?;
            let lines: String = text
                .lines()
                .map(|line| {
                    format!("({}) Tj 0 -12 Td\n", line.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)"))
                })
                .collect();
            let page = format!("BT /F1 9 Tf 30 800 Td\n{lines}ET");
            Some((
                "a.pdf".into(),
                pdf_of(&[b"<</Type/Catalog>>".to_vec(), stream("/Filter/FlateDecode", &zlib(page.as_bytes()))]),
            ))
        },
    },
    Disguise {
        name: "page of HTML",
        wear: |_, bytes| {
            let text = short(bytes)?.replace('&', "&amp;").replace('<', "&lt;");
            Some(("a.html".into(), format!("<!DOCTYPE html><html><body><pre>{text}</pre></body></html>").into_bytes()))
        },
    },
    Disguise {
        name: "value of a JSON text",
        wear: |_, bytes| Some(("a.json".into(), serde_json::json!({ "bz": short(bytes)? }).to_string().into_bytes())),
    },
];

fn plain(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// Text that a person would paste somewhere.
fn short(bytes: &[u8]) -> Option<&str> {
    plain(bytes).filter(|text| text.len() <= 256 << 10 && !text.trim_start().starts_with('<'))
}

fn gb18030(text: &str) -> Option<Vec<u8>> {
    let (bytes, _, lossy) = encoding_rs::GB18030.encode(text);
    (!lossy).then(|| bytes.into_owned())
}

/// Gzip.
#[must_use]
pub fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// Zlib, as PDF packs it.
#[must_use]
pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

fn tar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, bytes).expect("memory takes it");
    builder.into_inner().expect("memory takes it")
}

/// Base64 with padding, on one line.
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for n in 0..4 {
            let letter = LETTERS[usize::try_from(word >> (18 - 6 * n) & 63).expect("six bits")];
            out.push(if n <= group.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

fn mail(name: &str, bytes: &[u8]) -> Vec<u8> {
    let folded: String =
        base64(bytes).as_bytes().chunks(76).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
    format!(
        "From: window@example.cn\r\nTo: review@example.cn\r\nSubject: =?utf-8?B?5p2Q5paZ?=\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"x1\"\r\n\r\n--x1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x1\r\n\
         Content-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{folded}--x1--\r\n"
    )
    .into_bytes()
}

/// A letter with a body and perhaps an object in it.
#[must_use]
pub fn docx(body: &str, object: Option<&[u8]>) -> Vec<u8> {
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><w:document xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\"><w:body>{body}</w:body></w:document>"
    );
    let types = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>";
    let mut parts: Vec<(&str, &[u8])> =
        vec![("[Content_Types].xml", types.as_bytes()), ("word/document.xml", document.as_bytes())];
    parts.extend(object.map(|object| ("word/embeddings/object1.bin", object)));
    zip_of(&parts, false)
}

/// One stream object of a PDF.
#[must_use]
pub fn stream(dictionary: &str, content: &[u8]) -> Vec<u8> {
    let mut out = format!("<<{dictionary}/Length {}>>\nstream\n", content.len()).into_bytes();
    out.extend_from_slice(content);
    out.extend_from_slice(b"\nendstream");
    out
}

fn attached(name: &str, bytes: &[u8]) -> Vec<u8> {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    pdf_of(&[
        b"<</Type/Catalog/Names<</EmbeddedFiles<</Names[(a)2 0 R]>>>>>>".to_vec(),
        format!("<</Type/Filespec/F({name})/EF<</F 3 0 R>>>>").into_bytes(),
        stream("/Type/EmbeddedFile/Filter/FlateDecode", &zlib(bytes)),
    ])
}

fn ofd(name: &str, bytes: &[u8]) -> Vec<u8> {
    let place = format!("Doc_0/Attachs/{name}");
    let root = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ofd:OFD xmlns:ofd=\"http://www.ofdspec.org/2016\" DocType=\"OFD\" Version=\"1.0\"><ofd:DocBody><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>";
    zip_of(&[("OFD.xml", root.as_bytes()), (&place, bytes)], false)
}

/// What the project's own set begins with: positives of many kinds, made here.
#[must_use]
pub fn parents() -> Vec<(&'static str, Vec<u8>)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let mut parents = vec![
        ("业务报文.xml", crate::papers::review_result(1).into_bytes()),
        ("宗地.shp", crate::papers::shapefile()),
        ("letter.docx", crate::papers::letter_with_hidden_shapefile()),
        (
            "points.csv",
            text(
                "序号,点号,X,Y,边长\n1,J1,5066306.570,42550639.538,26.30\n2,J2,5066268.616,42550627.972,50.96\n3,J3,5066256.538,42550634.383,51.29\n",
            ),
        ),
        (
            "plain.txt",
            text(
                "J1 3287121.334 606857.921\nJ2 3287144.102 606837.744\nJ3 3287163.553 606705.701\nJ4 3287023.230 606643.640\n",
            ),
        ),
        ("local.csv", text("点号,X,Y\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690\n")),
        (
            "勘测.txt",
            text(
                "[属性描述]\n坐标系=2000国家大地坐标系\n几度分带=3\n带号=38\n[地块坐标]\nJ1,1,2542110.113,38434567.220\nJ2,1,2542133.920,38434588.017\n",
            ),
        ),
        (
            "geo.json",
            text(
                "{\"type\":\"FeatureCollection\",\"features\":[{\"type\":\"Feature\",\"geometry\":{\"type\":\"Polygon\",\"coordinates\":[[[113.3477760,23.1395638],[113.3467349,23.1394802],[113.3466110,23.1388020],[113.3477760,23.1395638]]]},\"properties\":{\"名称\":\"宗地\"}}]}",
            ),
        ),
        ("place.json", text("{\"ywh\":\"1\",\"lng\":113.3477760,\"lat\":23.1395638}")),
        (
            "wkt.sql",
            text(
                "INSERT INTO zd VALUES ('1', 'SRID=4490;POLYGON((113.3477 23.1395,113.3467 23.1394,113.3466 23.1388,113.3477 23.1395))');\n",
            ),
        ),
        (
            "dms.txt",
            text(
                "界址点一：东经113度19分0.51秒，北纬23度7分55.53秒；界址点二：东经113度19分1.20秒，北纬23度7分56.10秒。\n",
            ),
        ),
        (
            "nmea.log",
            text(
                "$GPGGA,021500.00,2513.7993,N,11020.1137,E,1,08,1.0,10.0,M,,M,,*5A\n$GPGGA,021501.00,2513.7994,N,11020.1138,E,1,08,1.0,10.0,M,,M,,*5B\n",
            ),
        ),
        (
            "track.gpx",
            text(
                "<?xml version=\"1.0\"?><gpx version=\"1.1\"><trk><trkseg><trkpt lat=\"23.1395638\" lon=\"113.3477760\"/></trkseg></trk></gpx>",
            ),
        ),
        (
            "place.kml",
            text(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?><kml><Placemark><Point><coordinates>113.3477760,23.1395638,0</coordinates></Point></Placemark></kml>",
            ),
        ),
        ("draw.dxf", text("0\nSECTION\n2\nENTITIES\n0\nPOINT\n10\n42550639.538\n20\n5066306.570\n0\nENDSEC\n0\nEOF\n")),
        (
            "mm.csv",
            text(
                "1,5066306570,42550639538\n2,5066268616,42550627972\n3,5066256538,42550634383\n4,5066249100,42550640221\n",
            ),
        ),
        ("vct.vct", text("HeadBegin\nDataMark:CNSDTF-VCT\nVersion:3.0\nHeadEnd\n")),
        (
            "points.dat",
            text("1,,42550639.538,5066306.570,3.1\n2,,42550627.972,5066268.616,3.2\n3,,42550634.383,5066256.538,3.3\n"),
        ),
    ];
    parents.push(("photo.jpg", crate::papers::photo_with_place()));
    parents.push(("film.mp4", crate::papers::film(Some("+23.1395+113.3477/"))));
    parents
}

/// How one disguise did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Score {
    /// Files that were made.
    pub made: u32,
    /// Of them, not called clean.
    pub stopped: u32,
}

/// Puts every disguise on a file that is stopped when bare, and tells each result.
pub fn each(name: &str, bytes: &[u8], mut told: impl FnMut(usize, bool)) {
    for (index, disguise) in ALL.iter().enumerate() {
        if let Some((name, bytes)) = disguise.wear(name, bytes) {
            told(index, guard::detect(&name, &bytes).verdict != guard::DetectVerdict::Clean);
        }
    }
}
