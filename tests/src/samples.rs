//! The office's day on paper: the documents that must pass, each on its route, and each once more with one boundary
//! point in it, which must not. The same bytes in every run; the clean ones are committed under
//! `config/profiles/sample-office/samples/`.

use md5::{Digest, Md5};

use crate::disguise::{base64, docx, stream, zlib};
use crate::papers::{self, Noise, pdf_of, pdf_with, zip_of};

/// One document, and where it belongs.
pub struct Sample {
    /// The route it is dropped on.
    pub route: &'static str,
    /// The node whose inlet that is.
    pub node: &'static str,
    /// Its file name; some routes go by it.
    pub name: &'static str,
    build: fn(Option<&str>) -> Vec<u8>,
}

impl Sample {
    /// The document as it is.
    #[must_use]
    pub fn clean(&self) -> Vec<u8> {
        (self.build)(None)
    }

    /// With one boundary point in it.
    #[must_use]
    pub fn spiked(&self) -> Vec<u8> {
        (self.build)(Some(POINT))
    }
}

/// One corner, to the millimetre, as a surveyor writes it.
pub const POINT: &str = "J1 4563112.347 40512233.118";
/// Its two numbers.
const NORTH: &str = "4563112.347";
const EAST: &str = "40512233.118";

const UNIT: &str = "652901001001GB00018F00030501";

macro_rules! samples {
    ($($node:literal $route:literal { $($name:literal => $build:expr),+ $(,)? })+) => {
        /// Every document of the day.
        pub const ALL: &[Sample] = &[
            $($(Sample { node: $node, route: $route, name: $name, build: $build },)+)+
        ];
    };
}

samples! {
    "internet" "application" {
        "申请表.json" => |p| json(&[("ywlx", "转移登记"), ("sqr", "张三"), ("zjh", "11010119900307721X"), ("dh", "13800138000")], p),
        "申请表.xml" => |p| xml("Application", "<Applicant Name=\"张三\" IDNumber=\"11010119900307721X\" Phone=\"13800138000\"/>", p),
        "身份证正面.jpg" => |p| photo(11, p),
        "身份证背面.jpg" => |p| photo(12, p),
        "购房合同扫描.jpg" => |p| photo(13, p),
        "户口簿.png" => png,
        "现场照片.jpg" => |p| photo(14, p),
        "完税凭证.pdf" => |p| locked_pdf(&["Tax ticket 652901261100042", "Amount 86,500.00 yuan", "2026-11-21"], p),
        "契税缴款书.pdf" => |p| page_pdf(&["Deed tax 12,450.00", "Unit 652901001001GB00018F00030501"], p),
        "电子合同.pdf" => |p| packed_pdf(&["Contract 20261121-0042", "Price 865,000.00", "Area 112.38"], p),
        "电子发票.ofd" => |p| ofd(&["发票代码 065002600111", "金额 865000.00", "税额 25950.00"], false, p),
        "委托书.docx" => |p| letter(&["委托书", "本人张三委托李四办理不动产转移登记。", "2026年11月21日"], p),
        "补正说明.docx" => |p| letter(&["关于补正材料的说明", "建筑面积 112.38 平方米，套内面积 96.20 平方米。"], p),
        "视频双录.mp4" => film,
        "声音.m4a" => film,
        "房屋清单.csv" => |p| table(&["房号,建筑面积,单价,总价", "101,112.38,7697.10,865000.08", "102,98.20,7700.00,756140.00"], p),
        "情况说明.txt" => |p| text(&["情况说明", "本户坐落文化路18号3栋2单元501室，四至：东至人民路，西至围墙。"], p),
        "共有人.xlsx" => |p| workbook(&[&["姓名", "份额", "证件号"], &["张三", "50", "11010119900307721X"], &["李四", "50", "110101199003077213"]], p),
    }
    "extranet" "window" {
        "Biz652901261121000001.xml" => |p| message(1, p),
        "Biz652901261121000002.xml" => |p| message(2, p),
        "Biz652901261121000003.xml" => |p| message_with_attachment(3, &photo(15, p)),
        "Biz652901261121000005.xml" => |p| message_with_attachment(5, &packed_pdf(&["Contract 20261121-0043", "Price 912,000.00"], p)),
        "楼盘表.csv" => |p| house_table(p),
        "楼盘表.xlsx" => |p| workbook(&[&["幢号", "房号", "建筑面积", "套内面积"], &["3", "501", "112.38", "96.20"], &["3", "502", "98.20", "84.10"]], p),
        "单元号清单.txt" => unit_codes,
        "单元号清单.csv" => |p| table(&["序号,不动产单元号,宗地代码", "1,652901001001GB00018F00030501,652901001001GB00018", "2,652901001001GB00018F00030502,652901001001GB00018"], p),
        "抵押清单.csv" => |p| table(&["不动产单元号,抵押金额,起,止", "652901001001GB00018F00030501,600000.00,2026-11-21,2046-11-20"], p),
        "窗口申请.json" => |p| json(&[("ywlx", "抵押登记"), ("dyje", "600000.00"), ("bdcdyh", UNIT)], p),
    }
    "intranet" "review" {
        "权籍审核结果.xml" => |p| xml("Message", "<Head><BizMsgID>652901261121000011</BizMsgID></Head><Data><KTT_ZDJBXX ZDDM=\"652901001001GB00018\" ZDMJ=\"2846.50\" DJ=\"5\" SHYJ=\"合格\"/></Data>", p),
        "权籍审核结果.json" => |p| json(&[("ywh", "2026112100011"), ("shjg", "合格"), ("zdmj", "2846.50")], p),
        "成果表.csv" => |p| table(&["宗地代码,宗地面积,用途,审核意见", "652901001001GB00018,2846.50,071,合格"], p),
        "响应报文.xml" => |p| xml("RespondMsg", "<BizMsgID>652901261121000001</BizMsgID><SuccessFlag>1</SuccessFlag><ResponseCode>0000</ResponseCode><ResponseInfo>接收成功</ResponseInfo>", p),
        "响应报文二.json" => |p| json(&[("BizMsgID", "652901261121000002"), ("SuccessFlag", "0"), ("ResponseInfo", "字段 FWJG 不合规范")], p),
        "登簿结果.xml" => |p| message(4, p),
        "数据导出-权利人.csv" => |p| table(&["不动产单元号,权利人,证号,登簿时间", "652901001001GB00018F00030501,王五,新(2026)阿克苏市不动产权第0000042号,2026-11-21 10:15:00"], p),
        "数据导出-房屋.csv" => |p| house_table(p),
    }
    "intranet" "result" {
        "办理进度.json" => |p| json(&[("ywh", "2026112100042"), ("jd", "登簿"), ("sj", "2026-11-21 10:15:00")], p),
        "办理进度.xml" => |p| xml("Progress", "<ywh>2026112100042</ywh><zt>缮证</zt><sj>2026-11-21T10:15:00</sj>", p),
        "收件回执.pdf" => |p| page_pdf(&["Receipt 2026112100042", "Documents 7, pages 23"], p),
        "收件回执.ofd" => |p| ofd(&["收件回执", "业务号 2026112100042", "材料 7 件 23 页"], false, p),
        "电子证照.ofd" => |p| ofd(&["不动产权证书", "新(2026)阿克苏市不动产权第0000042号", "面积 112.38"], true, p),
        "电子证明.ofd" => |p| ofd(&["不动产登记证明", "抵押金额 600000.00", "单元号 652901001001GB00018F00030501"], true, p),
        "电子证照.pdf" => |p| signed_pdf(&["Certificate 0000042", "Area 112.38"], p),
    }
    "extranet" "notice" {
        "领证通知.json" => |p| json(&[("ywh", "2026112100042"), ("tz", "请于三个工作日内领证")], p),
        "补件通知.xml" => |p| xml("Notice", "<ywh>2026112100043</ywh><nr>请补交契税完税凭证</nr>", p),
        "缴费通知.pdf" => |p| page_pdf(&["Fee notice 2026112100042", "Registration fee 80.00"], p),
    }
}

fn text(lines: &[&str], point: Option<&str>) -> Vec<u8> {
    let mut out: String = lines.iter().map(|line| format!("{line}\n")).collect();
    out.extend(point.map(|point| format!("界址点 {point}\n")));
    out.into_bytes()
}

fn table(rows: &[&str], point: Option<&str>) -> Vec<u8> {
    let mut out: String = rows.iter().map(|row| format!("{row}\r\n")).collect();
    out.extend(point.map(|_| format!("J1,{NORTH},{EAST},1\r\n")));
    out.into_bytes()
}

/// GB18030, as every older system of an office exports it.
fn house_table(point: Option<&str>) -> Vec<u8> {
    let mut noise = Noise::new(42);
    let mut rows = String::from("不动产单元号,幢号,房号,层,建筑面积,套内面积,规划用途\r\n");
    for room in 1..=60_u64 {
        let (floor, area) = (room.div_ceil(4), 8_000 + noise.below(6_000));
        rows.push_str(&format!(
            "652901001001GB00018F0003{room:04},3,{floor}{:02},{floor},{}.{:02},{}.{:02},住宅\r\n",
            room % 4 + 1,
            area / 100,
            area % 100,
            area * 85 / 10_000,
            area * 85 / 100 % 100
        ));
    }
    rows.extend(point.map(|_| format!("J1,{NORTH},{EAST},,,,\r\n")));
    encoding_rs::GB18030.encode(&rows).0.into_owned()
}

fn unit_codes(point: Option<&str>) -> Vec<u8> {
    let mut out: String = (1..=400).map(|n| format!("652901001001GB00018F0003{n:04}\n")).collect();
    out.extend(point.map(|point| format!("{point}\n")));
    out.into_bytes()
}

fn json(fields: &[(&str, &str)], point: Option<&str>) -> Vec<u8> {
    let mut rows: Vec<String> = fields.iter().map(|(key, value)| format!("  \"{key}\": \"{value}\"")).collect();
    rows.extend(point.map(|_| format!("  \"jzd\": [{NORTH}, {EAST}]")));
    format!("{{\n{}\n}}\n", rows.join(",\n")).into_bytes()
}

fn xml(root: &str, inside: &str, point: Option<&str>) -> Vec<u8> {
    let point =
        point.map(|_| format!("<KTT_GY_JZD JZDH=\"J1\" XZBZ=\"{NORTH}\" YZBZ=\"{EAST}\"/>")).unwrap_or_default();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root}>{inside}{point}</{root}>\n").into_bytes()
}

fn message(number: u32, point: Option<&str>) -> Vec<u8> {
    let message = papers::registration_message(number);
    match point {
        Some(point) => message.replace("</Data>", &format!("<FJ FJ=\"{point}\"/></Data>")).into_bytes(),
        None => message.into_bytes(),
    }
}

/// FJ_F_100 with a scan or a document in base64; the point stands in that.
fn message_with_attachment(number: u32, file: &[u8]) -> Vec<u8> {
    let attachment = format!("<FJ_F_100 YWH=\"20261121{number:05}\"><FJNR>{}</FJNR></FJ_F_100></Data>", base64(file));
    papers::registration_message(number).replace("</Data>", &attachment).into_bytes()
}

/// A scan; the point stands in its comment.
fn photo(seed: u64, point: Option<&str>) -> Vec<u8> {
    let page = papers::scanned_page(seed, 96, 72);
    let Some(point) = point else { return page };
    let size = u16::try_from(point.len() + 2).expect("a short comment").to_be_bytes();
    [&page[..2], &[0xFF, 0xFE], &size, point.as_bytes(), &page[2..]].concat()
}

fn png(point: Option<&str>) -> Vec<u8> {
    let chunk = |kind: &[u8; 4], body: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(body);
        let size = u32::try_from(body.len()).expect("a small chunk").to_be_bytes();
        [&size[..], kind, body, &crc.sum().to_be_bytes()].concat()
    };
    let rows: Vec<u8> = (0..24_u8).flat_map(|y| [vec![0], vec![200 + y; 32]].concat()).collect();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    out.extend(chunk(b"IHDR", &[0, 0, 0, 32, 0, 0, 0, 24, 8, 0, 0, 0, 0]));
    out.extend(point.map(|point| chunk(b"tEXt", format!("Comment\0{point}").as_bytes())).unwrap_or_default());
    out.extend(chunk(b"IDAT", &zlib(&rows)));
    out.extend(chunk(b"IEND", b""));
    out
}

fn film(point: Option<&str>) -> Vec<u8> {
    papers::film(point.map(|_| "+41.2034+080.2651/"))
}

fn page_of(lines: &[&str], point: Option<&str>) -> String {
    let drawn: String = lines.iter().copied().chain(point).map(|line| format!("({line}) Tj 0 -14 Td\n")).collect();
    format!("BT /F1 11 Tf 60 780 Td\n{drawn}ET")
}

fn skeleton(content: Vec<u8>) -> Vec<Vec<u8>> {
    vec![
        b"<</Type/Catalog/Pages 2 0 R>>".to_vec(),
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>".to_vec(),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>".to_vec(),
        content,
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>".to_vec(),
    ]
}

fn page_pdf(lines: &[&str], point: Option<&str>) -> Vec<u8> {
    pdf_of(&skeleton(stream("", page_of(lines, point).as_bytes())))
}

fn packed_pdf(lines: &[&str], point: Option<&str>) -> Vec<u8> {
    pdf_of(&skeleton(stream("/Filter/FlateDecode", &zlib(page_of(lines, point).as_bytes()))))
}

fn signed_pdf(lines: &[&str], point: Option<&str>) -> Vec<u8> {
    let mut objects = skeleton(stream("", page_of(lines, point).as_bytes()));
    let seal: String = der(80).iter().map(|b| format!("{b:02x}")).collect();
    objects.push(
        format!("<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/adbe.pkcs7.detached/ByteRange[0 900 1100 400]/Contents<{seal}{}>>>", "00".repeat(40)).into_bytes(),
    );
    pdf_of(&objects)
}

/// Locked by its owner, open to every reader: RC4 of 40 bits under the empty user password, as older tax systems write.
fn locked_pdf(lines: &[&str], point: Option<&str>) -> Vec<u8> {
    let lock = OwnerLock::new();
    let content = lock.seal(4, page_of(lines, point).as_bytes());
    let mut objects = skeleton(stream("", &content));
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    objects.push(
        format!("<</Filter/Standard/V 1/R 2/P -44/O<{}>/U<{}>>>", hex(&OwnerLock::OWNER), hex(&lock.user)).into_bytes(),
    );
    pdf_with(&objects, &format!("/Encrypt 6 0 R /ID[<{0}><{0}>] ", hex(&OwnerLock::ID)))
}

/// The 40-bit standard lock of PDF with an empty user password.
struct OwnerLock {
    key: [u8; 5],
    user: Vec<u8>,
}

impl OwnerLock {
    const OWNER: [u8; 32] = *b"owner entry of the sample office";
    const PADDING: [u8; 32] = [
        0x28, 0xBF, 0x4E, 0x5E, 0x4E, 0x75, 0x8A, 0x41, 0x64, 0x00, 0x4E, 0x56, 0xFF, 0xFA, 0x01, 0x08, 0x2E, 0x2E,
        0x00, 0xB6, 0xD0, 0x68, 0x3E, 0x80, 0x2F, 0x0C, 0xA9, 0xFE, 0x64, 0x53, 0x69, 0x7A,
    ];
    const ID: [u8; 16] =
        [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];

    fn new() -> OwnerLock {
        let digest = Md5::new()
            .chain_update(Self::PADDING)
            .chain_update(Self::OWNER)
            .chain_update((-44_i32).to_le_bytes())
            .chain_update(Self::ID)
            .finalize();
        let key: [u8; 5] = digest[..5].try_into().expect("five of sixteen");
        OwnerLock { key, user: rc4(&key, &Self::PADDING) }
    }

    fn seal(&self, object: u32, content: &[u8]) -> Vec<u8> {
        let number = object.to_le_bytes();
        let digest = Md5::new().chain_update(self.key).chain_update(&number[..3]).chain_update([0, 0]).finalize();
        rc4(&digest[..10], content)
    }
}

fn rc4(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let mut state: Vec<u8> = (0..=255).collect();
    let mut j = 0_u8;
    for i in 0..256 {
        j = j.wrapping_add(state[i]).wrapping_add(key[i % key.len()]);
        state.swap(i, usize::from(j));
    }
    let (mut i, mut j) = (0_u8, 0_u8);
    let one = |byte: &u8| {
        i = i.wrapping_add(1);
        j = j.wrapping_add(state[usize::from(i)]);
        state.swap(usize::from(i), usize::from(j));
        byte ^ state[usize::from(state[usize::from(i)].wrapping_add(state[usize::from(j)]))]
    };
    bytes.iter().map(one).collect()
}

/// Something that is DER from end to end, as a signed value is: a sequence of a version and an octet string.
fn der(bytes: u8) -> Vec<u8> {
    let body = Noise::new(9).bytes(usize::from(bytes) - 5);
    [&[0x30, bytes, 0x02, 0x01, 0x01, 0x04, bytes - 5][..], &body].concat()
}

fn ofd(lines: &[&str], signed: bool, point: Option<&str>) -> Vec<u8> {
    let name = "xmlns:ofd=\"http://www.ofdspec.org/2016\"";
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>";
    let root = format!(
        "{head}<ofd:OFD {name} DocType=\"OFD\" Version=\"1.0\"><ofd:DocBody><ofd:DocInfo><ofd:DocID>1f2e3d</ofd:DocID></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>"
    );
    let document = format!(
        "{head}<ofd:Document {name}><ofd:Pages><ofd:Page ID=\"1\" BaseLoc=\"Pages/Page_0/Content.xml\"/></ofd:Pages></ofd:Document>"
    );
    let objects: String = lines
        .iter()
        .copied()
        .chain(point)
        .enumerate()
        .map(|(n, line)| {
            format!("<ofd:TextObject ID=\"{}\" Boundary=\"20 {} 160 6\" Font=\"2\" Size=\"4.2333\"><ofd:TextCode X=\"0\" Y=\"4.2\" DeltaX=\"g 8 4.2\">{line}</ofd:TextCode></ofd:TextObject>", n + 10, 20 + n * 8)
        })
        .collect();
    let page = format!(
        "{head}<ofd:Page {name}><ofd:Content><ofd:Layer ID=\"3\">{objects}</ofd:Layer></ofd:Content></ofd:Page>"
    );
    let signatures = format!(
        "{head}<ofd:Signatures {name}><ofd:Signature ID=\"1\" Type=\"Seal\" BaseLoc=\"Sign_0/Signature.xml\"/></ofd:Signatures>"
    );
    let signature = format!(
        "{head}<ofd:Signature {name}><ofd:SignedInfo><ofd:References><ofd:Reference FileRef=\"/OFD.xml\"><ofd:CheckValue>q83vEjRWeJA=</ofd:CheckValue></ofd:Reference></ofd:References></ofd:SignedInfo><ofd:SignedValue>SignedValue.dat</ofd:SignedValue></ofd:Signature>"
    );
    let value = der(90);
    let mut parts: Vec<(&str, &[u8])> = vec![
        ("OFD.xml", root.as_bytes()),
        ("Doc_0/Document.xml", document.as_bytes()),
        ("Doc_0/Pages/Page_0/Content.xml", page.as_bytes()),
    ];
    if signed {
        parts.push(("Doc_0/Signs/Signatures.xml", signatures.as_bytes()));
        parts.push(("Doc_0/Signs/Sign_0/Signature.xml", signature.as_bytes()));
        parts.push(("Doc_0/Signs/Sign_0/SignedValue.dat", &value));
    }
    zip_of(&parts, false)
}

fn letter(lines: &[&str], point: Option<&str>) -> Vec<u8> {
    let body: String =
        lines.iter().copied().chain(point).map(|line| format!("<w:p><w:r><w:t>{line}</w:t></w:r></w:p>")).collect();
    docx(&body, None)
}

fn workbook(rows: &[&[&str]], point: Option<&str>) -> Vec<u8> {
    let mut rows: Vec<Vec<&str>> = rows.iter().map(|row| row.to_vec()).collect();
    rows.extend(point.map(|_| vec!["J1", NORTH, EAST]));
    let mut strings: Vec<&str> = Vec::new();
    let mut sheet = String::new();
    for (n, row) in rows.iter().enumerate() {
        sheet.push_str(&format!("<row r=\"{}\">", n + 1));
        for (value, column) in row.iter().zip('A'..) {
            let place = format!("{column}{}", n + 1);
            if value.len() < 15 && value.parse::<f64>().is_ok() {
                sheet.push_str(&format!("<c r=\"{place}\"><v>{value}</v></c>"));
            } else {
                sheet.push_str(&format!("<c r=\"{place}\" t=\"s\"><v>{}</v></c>", strings.len()));
                strings.push(value);
            }
        }
        sheet.push_str("</row>");
    }
    let strings: String = strings.iter().map(|s| format!("<si><t>{s}</t></si>")).collect();
    let main = "xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\"";
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>";
    zip_of(
        &[
            ("[Content_Types].xml", format!("{head}<Types xmlns=\"http://schemas.openxmlformats.org/package/2006/content-types\"><Default Extension=\"xml\" ContentType=\"application/xml\"/></Types>").as_bytes()),
            ("xl/workbook.xml", format!("{head}<workbook {main}><sheets><sheet name=\"Sheet1\" sheetId=\"1\"/></sheets></workbook>").as_bytes()),
            ("xl/sharedStrings.xml", format!("{head}<sst {main}>{strings}</sst>").as_bytes()),
            ("xl/worksheets/sheet1.xml", format!("{head}<worksheet {main}><sheetData>{sheet}</sheetData></worksheet>").as_bytes()),
        ],
        false,
    )
}
