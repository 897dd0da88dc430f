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
    let mut out = b"%PDF-1.4\n".to_vec();
    let mut places = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        places.push(out.len());
        out.extend(format!("{} 0 obj\n{object}\nendobj\n", index + 1).into_bytes());
    }
    let table = out.len();
    out.extend(format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1).into_bytes());
    for place in places {
        out.extend(format!("{place:010} 00000 n \n").into_bytes());
    }
    out.extend(
        format!("trailer\n<< /Size {} /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n", objects.len() + 1).into_bytes(),
    );
    out
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
