//! Documents of an office's day, made from nothing: an application with scans, a registration message, a survey
//! review result with boundary points, and a shapefile that somebody hid.

use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;

/// A small repeatable stream of bytes (xorshift64*), so that a document is the same in every run.
pub struct Noise(u64);

impl Noise {
    /// From a seed; 0 is made 1.
    #[must_use]
    pub fn new(seed: u64) -> Noise {
        Noise(seed.max(1))
    }

    /// The next 64 bits.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator to loop over")]
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// So many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).collect();
        bytes.truncate(count);
        bytes
    }
}

/// A citizen's application form.
#[must_use]
pub fn application_form(number: u32) -> String {
    format!(
        "{{\n  \"ywh\": \"20261121{number:05}\",\n  \"ywlx\": \"转移登记\",\n  \"sqr\": [{{\"xm\": \"张三\", \"zjlx\": \"身份证\", \"zjh\": \"11010119900307721X\"}}],\n  \
         \"zl\": \"文化路 18 号 3 栋 2 单元 501 室\",\n  \"bdcdyh\": \"652901001001GB00018F00030501\",\n  \"jzmj\": 112.38,\n  \"je\": 865000.00\n}}\n"
    )
}

/// What the upper level answers to a registration message.
#[must_use]
pub fn answer(number: u32) -> String {
    format!(
        "{{\n  \"BizMsgID\": \"652901261121{number:06}\",\n  \"SuccessFlag\": \"1\",\n  \"ResponseCode\": \"0000\",\n  \
         \"ResponseInfo\": \"接收成功\"\n}}\n"
    )
}

/// The same, padded until its bundle shares a segment with no other.
#[must_use]
pub fn large_answer(number: u32) -> Vec<u8> {
    let mut bytes = answer(number).into_bytes();
    bytes.resize(spool::SMALL_BYTES_MAX + 1, b'\n');
    bytes
}

/// A page as a scanner gives it: grey paper, dark lines, noise.
#[must_use]
pub fn scanned_page(seed: u64, width: u16, height: u16) -> Vec<u8> {
    let mut noise = Noise::new(seed);
    let mut pixels = Vec::with_capacity(usize::from(width) * usize::from(height));
    for y in 0..height {
        for x in 0..width {
            let line = y % 40 < 3 && x > 80 && x < width - 80;
            let paper = 225 + u8::try_from(noise.below(20)).unwrap_or(0);
            pixels.push(if line { paper / 4 } else { paper });
        }
    }
    let mut out = Vec::new();
    jpeg_encoder::Encoder::new(&mut out, 80)
        .encode(&pixels, width, height, jpeg_encoder::ColorType::Luma)
        .expect("the pixels fill the page");
    out
}

/// A one-page PDF with a line of text and a correct cross-reference table.
#[must_use]
pub fn tax_ticket() -> Vec<u8> {
    let content = "BT /F1 18 Tf 72 720 Td (Tax ticket 0042, paid in full) Tj ET";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>".to_owned(),
    ];
    pdf_of(&objects.map(String::into_bytes))
}

/// A PDF of these objects, the first its root, with a correct cross-reference table.
#[must_use]
pub fn pdf_of(objects: &[Vec<u8>]) -> Vec<u8> {
    pdf_with(objects, "")
}

/// The same, with more entries in its trailer.
#[must_use]
pub fn pdf_with(objects: &[Vec<u8>], trailer: &str) -> Vec<u8> {
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(out.len());
        out.extend(format!("{} 0 obj\n", index + 1).into_bytes());
        out.extend(object);
        out.extend(b"\nendobj\n");
    }
    let table = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    for place in places {
        out.extend(format!("{place:010} 00000 n \n").into_bytes());
    }
    let size = objects.len() + 1;
    out.extend(format!("trailer\n<< /Size {size} /Root 1 0 R {trailer}>>\nstartxref\n{table}\n%%EOF\n").into_bytes());
    out
}

/// A phone's photograph: the maker, the way up, and where it was taken.
#[must_use]
pub fn photo_with_place() -> Vec<u8> {
    let page = scanned_page(7, 160, 120);
    let rational = |values: [(u32, u32); 3]| {
        values.iter().flat_map(|(a, b)| [a.to_le_bytes(), b.to_le_bytes()].concat()).collect::<Vec<u8>>()
    };
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    // Two entries and the GPS directory behind them; its rationals follow.
    let mut tiff = b"II*\0\x08\0\0\0\x02\0".to_vec();
    tiff.extend(entry(0x0112, 3, 1, 6));
    tiff.extend(entry(0x8825, 4, 1, 38));
    tiff.extend(0_u32.to_le_bytes());
    tiff.extend(4_u16.to_le_bytes());
    tiff.extend(entry(1, 2, 2, u32::from(b'N')));
    tiff.extend(entry(2, 5, 3, 92));
    tiff.extend(entry(3, 2, 2, u32::from(b'E')));
    tiff.extend(entry(4, 5, 3, 116));
    tiff.extend(0_u32.to_le_bytes());
    tiff.extend(rational([(23, 1), (7, 1), (5553, 100)]));
    tiff.extend(rational([(113, 1), (19, 1), (51, 100)]));
    let mut out = page[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend(u16::try_from(tiff.len() + 8).expect("a small segment").to_be_bytes());
    out.extend(b"Exif\0\0");
    out.extend(tiff);
    out.extend(&page[2..]);
    out
}

/// One box of a film.
#[must_use]
pub fn media_box(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).expect("a small box").to_be_bytes();
    [&size[..], kind, body].concat()
}

/// A recorded interview of one second without a picture, perhaps with the place of the camera.
#[must_use]
pub fn film(place: Option<&str>) -> Vec<u8> {
    let data = Noise::new(3).bytes(600);
    let brand = media_box(b"ftyp", b"isom\0\0\x02\0isommp42");
    let mut header = vec![0; 100];
    header[12..20].copy_from_slice(&[0, 0, 3, 232, 0, 0, 3, 232]);
    let mut inside = media_box(b"mvhd", &header);
    // One track whose only chunk stands in the data box behind.
    let chunk = |at: u32| [&[0, 0, 0, 0, 0, 0, 0, 1][..], &at.to_be_bytes()].concat();
    let user = place.map(|place| {
        let length = u16::try_from(place.len()).expect("short").to_be_bytes();
        media_box(b"udta", &media_box(b"\xA9xyz", &[&length[..], &[0x15, 0xC7], place.as_bytes()].concat()))
    });
    let track = |at: u32| {
        let table = media_box(b"stbl", &media_box(b"stco", &chunk(at)));
        media_box(b"trak", &media_box(b"mdia", &media_box(b"minf", &table)))
    };
    let size = brand.len() + 8 + inside.len() + track(0).len() + user.as_ref().map_or(0, Vec::len) + 8;
    inside.extend(track(u32::try_from(size).expect("a small film")));
    inside.extend(user.unwrap_or_default());
    [brand, media_box(b"moov", &inside), media_box(b"mdat", &data)].concat()
}

/// 业务报文 of a transfer, without any coordinate node.
#[must_use]
pub fn registration_message(number: u32) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Message>\n  <Head>\n    <BizMsgID>652901261121{number:06}</BizMsgID>\n    <ASID>AS100</ASID>\n    <AreaCode>652901</AreaCode>\n    \
         <RecType>2000402</RecType>\n    <RightType>4</RightType>\n    <RegType>200</RegType>\n    <CreateDate>2026-11-21T10:15:00</CreateDate>\n  </Head>\n  <Data>\n    \
         <KTT_FW_H BDCDYH=\"652901001001GB00018F00030501\" FWBM=\"0001\" HH=\"5\" ZL=\"文化路 18 号 3 栋 2 单元 501 室\" SCJZMJ=\"112.38\"/>\n    \
         <QLF_FW_FDCQ_YZ BDCDYH=\"652901001001GB00018F00030501\" YWH=\"20261121{number:05}\" QLLX=\"4\" DJLX=\"200\" FDCJYJG=\"86.5\" DBR=\"王五\" DJSJ=\"2026-11-21\"/>\n  </Data>\n</Message>\n"
    )
}

/// 权籍审核结果: what the survey review found, with the boundary points that must not leave.
#[must_use]
pub fn review_result(number: u32) -> String {
    let mut points = String::new();
    for (index, (x, y)) in [
        (4_563_112.347, 40_512_233.118),
        (4_563_118.902, 40_512_287.455),
        (4_563_071.226, 40_512_293.871),
        (4_563_064.673, 40_512_239.534),
    ]
    .into_iter()
    .enumerate()
    {
        points.push_str(&format!("    <KTT_GY_JZD ZDZHDM=\"652901001001GB00018\" JZDH=\"J{0}\" SXH=\"{0}\" XZBZ=\"{x:.3}\" YZBZ=\"{y:.3}\"/>\n", index + 1));
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Message>\n  <Head>\n    <BizMsgID>652901261121{number:06}</BizMsgID>\n    <AreaCode>652901</AreaCode>\n  </Head>\n  <Data>\n    \
         <KTT_ZDJBXX ZDDM=\"652901001001GB00018\" BDCDYH=\"652901001001GB00018W00000000\" ZDMJ=\"2846.50\" YT=\"071\" SHYJ=\"合格\"/>\n{points}  </Data>\n</Message>\n"
    )
}

/// The same without its boundary points: what is left of it outside.
#[must_use]
pub fn review_result_without_points(number: u32) -> String {
    review_result(number).lines().filter(|line| !line.contains("KTT_GY_JZD")).map(|line| format!("{line}\n")).collect()
}

/// A polygon shapefile (ESRI white paper, 1998): header and one ring.
#[must_use]
pub fn shapefile() -> Vec<u8> {
    let ring = [
        (512_233.118_f64, 4_563_112.347_f64),
        (512_287.455, 4_563_118.902),
        (512_293.871, 4_563_071.226),
        (512_233.118, 4_563_112.347),
    ];
    let mut content = Vec::new();
    content.extend(5_i32.to_le_bytes());
    let bounds = [512_233.118_f64, 4_563_071.226, 512_293.871, 4_563_118.902];
    bounds.iter().for_each(|value| content.extend(value.to_le_bytes()));
    content.extend(1_i32.to_le_bytes());
    content.extend(4_i32.to_le_bytes());
    content.extend(0_i32.to_le_bytes());
    ring.iter().for_each(|(x, y)| content.extend([x.to_le_bytes(), y.to_le_bytes()].concat()));
    let words = |bytes: usize| i32::try_from(bytes / 2).unwrap_or(i32::MAX).to_be_bytes();
    let mut out = Vec::new();
    out.extend(9994_i32.to_be_bytes());
    out.extend([0; 20]);
    out.extend(words(100 + 8 + content.len()));
    out.extend(1000_i32.to_le_bytes());
    out.extend(5_i32.to_le_bytes());
    bounds.iter().for_each(|value| out.extend(value.to_le_bytes()));
    out.extend([0; 32]);
    out.extend(1_i32.to_be_bytes());
    out.extend(words(content.len()));
    out.extend(content);
    out
}

/// A zip of named files.
#[must_use]
pub fn zip_of(files: &[(&str, &[u8])], stored: bool) -> Vec<u8> {
    let method = if stored { zip::CompressionMethod::Stored } else { zip::CompressionMethod::Deflated };
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("a new member");
        writer.write_all(bytes).expect("memory takes it");
    }
    writer.finish().expect("memory takes it").into_inner()
}

/// A letter with a zip inside, and in the zip a shapefile.
#[must_use]
pub fn letter_with_hidden_shapefile() -> Vec<u8> {
    let inner = zip_of(&[("holiday/pictures.bin", &shapefile())], false);
    zip_of(
        &[
            (
                "[Content_Types].xml",
                br#"<?xml version="1.0" encoding="UTF-8"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>"#,
            ),
            (
                "_rels/.rels",
                br#"<?xml version="1.0" encoding="UTF-8"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>"#,
            ),
            (
                "word/document.xml",
                r#"<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>情况说明</w:t></w:r></w:p></w:body></w:document>"#.as_bytes(),
            ),
            ("word/embeddings/package1.zip", &inner),
        ],
        false,
    )
}

/// An archive of about so many bytes that cannot be compressed.
#[must_use]
pub fn archive(bytes: usize, seed: u64) -> Vec<u8> {
    zip_of(&[("volume-1.bin", &Noise::new(seed).bytes(bytes))], true)
}
