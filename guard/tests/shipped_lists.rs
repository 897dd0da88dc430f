//! The lists of the shipped rules against an office's ordinary day: messages, answers and tables with the fields that the
//! interfaces of offices carry pass, and fields that say a position do not, however empty of survey words they look.

use std::io::Cursor;

use guard::{FileFacts, Judgement, Moment, Parcel, Question, ReadSeek, Rules, inspect};
use protocol::{Name, Suite};

struct One(FileFacts, Vec<u8>);

impl Parcel for One {
    fn name(&self) -> &str {
        &self.0.path
    }
    fn files(&self) -> &[FileFacts] {
        std::slice::from_ref(&self.0)
    }
    fn open(&self, _: usize) -> std::io::Result<Box<dyn ReadSeek + '_>> {
        Ok(Box::new(Cursor::new(&self.1)))
    }
}

/// The verdict, or the reason with what is named as not listed.
fn asked(crossing: &str, as_type: &str, file: &str, content: &str) -> String {
    let path = format!("{}/../config/rules/{crossing}.toml", env!("CARGO_MANIFEST_DIR"));
    let rules = Rules::parse(&std::fs::read_to_string(path).expect("shipped")).expect("loads");
    let types = [Name::new(as_type).expect("a name")];
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    let facts = FileFacts { path: file.to_owned(), size: content.len() as u64 };
    match inspect(&question, One(facts, content.as_bytes().to_vec())) {
        Judgement::Released(_) => "passes".to_owned(),
        Judgement::Strip { .. } => "strip".to_owned(),
        Judgement::Quarantine { reason, .. } => format!("held {reason}"),
        Judgement::Refused { reason, findings, .. } => {
            let named: Vec<&str> = findings.iter().map(|f| f.sample.as_str()).collect();
            format!("{reason} {}", named.join(" "))
        }
    }
}

const DOWN: [&str; 2] = ["intranet-extranet", "extranet-internet"];

const HEAD: &str = "<Head><BizMsgID>652901261121000002</BizMsgID><ASID>AS100</ASID><AreaCode>652901</AreaCode>\
    <RecType>1000402</RecType><RightType>4</RightType><RegType>100</RegType><CreateDate>2026-11-22T10:27:11</CreateDate>\
    <RecFlowID>202611220017</RecFlowID><RegOrgID>某县不动产登记中心</RegOrgID><ParcelID>652901001001GB00018</ParcelID>\
    <EstateNum>652901001001GB00018F00010001</EstateNum><PreEstateNum/><PreCertID/><CertCount>1</CertCount>\
    <ProofCount>0</ProofCount><DigitalSign>c2lnbmVkIGJ5IHRoZSBvZmZpY2U=</DigitalSign></Head>";

fn message(data: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Message>{HEAD}<Data>{data}</Data></Message>")
}

/// The data sets of a registration that the requirements name, with fields as software writes them.
const SETS: [&str; 24] = [
    "<KTT_ZDJBXX YSDM=\"6001010000\" BSM=\"31\" ZDDM=\"652901001001GB00018\" BDCDYH=\"652901001001GB00018W00000000\" ZDTZM=\"GB\" ZL=\"某县人民路1号\" ZDMJ=\"2846.50\" MJDW=\"1\" YT=\"071\" DJ=\"三级\" JG=\"7301721.5\" QLLX=\"3\" QLXZ=\"101\" QLSDFS=\"1\" RJL=\"1.2\" JZMD=\"21.2\" JZXG=\"18\" ZDSZD=\"东至人民路\" ZDSZN=\"南至河道\" ZDSZX=\"西至张三宅\" ZDSZB=\"北至李四宅\" ZDT=\"\" TFH=\"H50G005010\" DJH=\"\" DAH=\"448\" QXDM=\"652901\" ZT=\"1\" DBR=\"王五\" DJSJ=\"2026-11-21\" BZ=\"\"/>",
    "<KTT_FW_ZRZ BDCDYH=\"652901001001GB00018F00010001\" ZDDM=\"652901001001GB00018\" ZRZH=\"0001\" XMMC=\"幸福小区\" JZWMC=\"1幢\" JGRQ=\"2019-05-01\" JZWGD=\"18.5\" ZZDMJ=\"620.1\" ZYDMJ=\"600.2\" YCJZMJ=\"\" SCJZMJ=\"4120.77\" ZCS=\"6\" DSCS=\"6\" DXCS=\"0\" DXSD=\"0\" GHYT=\"10\" FWJG=\"3\" ZTS=\"24\" JZWJBYT=\"住宅\" DAH=\"1\" ZT=\"1\"/>",
    "<KTT_FW_LJZ LJZH=\"1\" ZRZH=\"0001\" MPH=\"1号\" SCJZMJ=\"4120.77\" SCDXMJ=\"0\" SCQTMJ=\"0\" JGRQ=\"2019-05-01\" FWJG1=\"3\" JZWZT=\"1\" FWYT1=\"10\" ZCS=\"6\"/>",
    "<KTT_FW_C CH=\"2\" ZRZH=\"0001\" SJC=\"2\" MYC=\"2\" CJZMJ=\"680.1\" CTNJZMJ=\"600.4\" CFTJZMJ=\"79.7\" CG=\"3\"/>",
    "<KTT_FW_H BDCDYH=\"652901001001GB00018F00010001\" FWBM=\"1\" HH=\"201\" SHBW=\"201\" SJCS=\"2\" HX=\"2\" HXJG=\"1\" SCJZMJ=\"96.12\" SCTNJZMJ=\"80.01\" SCFTJZMJ=\"16.11\" SCFTXS=\"0.2\" FTTDMJ=\"12.3\" FWLX=\"1\" FWXZ=\"0\" FCFHT=\"\"/>",
    "<KTT_GZW BDCDYH=\"652901001001GB00018F00020001\" ZDZHDM=\"652901001001GB00018\" GZWMC=\"水塔\" MJ=\"31.4\"/>",
    "<KTF_QT_DZDZW DZWMC=\"古树\" DZDZWLX=\"1\"/><KTF_QT_XZDZW DZWMC=\"堤坝\" XZDZWLX=\"1\"/><KTF_QT_MZDZW DZWMC=\"林\" MZDZWLX=\"1\" MJ=\"800\"/>",
    "<KTT_ZHJBXX ZHDM=\"370602001001HY00018\" ZHTZM=\"HY\" XMMC=\"养殖\" YHZMJ=\"30\" ZHMJ=\"30\" DB=\"2\" YHLXA=\"1\" YHLXB=\"11\" HDMC=\"\"/><KTF_ZH_YHZK YHFS=\"11\" YHMJ=\"30\" JTYT=\"养殖\" SYJSE=\"1\"/>",
    "<QLF_QL_TDSYQ QLLX=\"1\" NYDMJ=\"10\" GDMJ=\"8\" LDMJ=\"1\" CDMJ=\"1\" QTNYDMJ=\"0\" JSYDMJ=\"2\" WLYDMJ=\"0\"/>",
    "<QLF_QL_JSYDSYQ YWH=\"202611220017\" SYQMJ=\"2846.50\" SYQQSSJ=\"2020-01-01\" SYQJSSJ=\"2090-01-01\" QDJG=\"71\" BDCQZH=\"某(2026)某县不动产权第0000017号\" DJJG=\"某县不动产登记中心\" QSZT=\"1\" FJ=\"\"/>",
    "<QLF_QL_NYDSYQ FBFDM=\"1\" FBFMC=\"某村\" CBMJ=\"8.2\" CBQSSJ=\"2020-01-01\" CBJSSJ=\"2050-01-01\" TDSYQXZ=\"1\" SYZCL=\"5\"/>",
    "<QLT_FW_FDCQ_YZ YSDM=\"6002020101\" BDCDYH=\"652901001001GB00018F00010001\" YWH=\"202611220017\" QLLX=\"4\" DJLX=\"100\" FDZL=\"某县幸福小区1幢201室\" TDSYQR=\"张三\" DYTDMJ=\"11.8\" FTTDMJ=\"12.3\" FDCJYJG=\"428\" GHYT=\"10\" FWXZ=\"0\" FWJG=\"3\" SZC=\"2\" ZCS=\"6\" JZMJ=\"96.12\" ZYJZMJ=\"80.01\" FTJZMJ=\"16.11\" JGSJ=\"2019-05-01\" QXDM=\"652901\" DJSJ=\"2026-11-21\" DBR=\"王五\"/>",
    "<QLF_FW_FDCQ_YZ YWH=\"1\"/><QLT_FW_FDCQ_DZ FDCJYJG=\"1\"/><QLF_FW_FDCQ_DZ_XM XMMC=\"幸福小区\" ZH=\"1\" ZTS=\"24\"/><QLF_FW_FDCQ_QFSYQ JGZWBH=\"1\" JGZWMC=\"物业用房\" JGZWSL=\"1\" JGZWMJ=\"80\"/>",
    "<QLT_QL_LQ FBFMC=\"某村\" LDSYQXZ=\"1\" SLLMSYQR1=\"张三\" ZYSZ=\"松\" ZS=\"400\" LZ=\"1\" QY=\"1\" ZLND=\"1998\" LB=\"3\" XB=\"12\" XDM=\"后山\"/>",
    "<QLF_QL_DYIQ XYDZL=\"甲路1号\" XYDQLR=\"甲\" GYDZL=\"乙路2号\" GYDQLR=\"乙\" DYQNR=\"通行\" QLQSSJ=\"2026-01-01\" QLJSSJ=\"2036-01-01\"/>",
    "<QLF_QL_DYAQ><YWH>1</YWH><DYBDCLX>1</DYBDCLX><DYR>张三</DYR><DYFS>1</DYFS><BDBZZQSE>80</BDBZZQSE><ZWLXQSSJ>2026-01-01</ZWLXQSSJ><ZWLXJSSJ>2046-01-01</ZWLXJSSJ><BDCDJZMH>第17号</BDCDJZMH></QLF_QL_DYAQ>",
    "<QLF_QL_YGDJ YGDJZL=\"1\" YWR=\"某公司\" YWRZJZL=\"7\" BDCZL=\"1幢201室\"/><QLF_QL_YYDJ YYSX=\"权属\" ZXYYYY=\"\"/><QLF_QL_GZDJ DJYY=\"笔误\"/>",
    "<QLF_QL_CFDJ CFJG=\"某县人民法院\" CFLX=\"1\" CFWJ=\"裁定\" CFWH=\"(2026)执1号\" CFQSSJ=\"2026-01-01\" CFFW=\"全部\" JFYWH=\"\"/><QLF_QL_ZXDJ ZXYWH=\"2\" ZXSJ=\"2026-11-20\"/>",
    "<ZTT_GY_QLR YSDM=\"6003000000\" SXH=\"1\" QLRMC=\"张三\" BDCQZH=\"第17号\" QZYSXLH=\"196\" SFCZR=\"1\" ZJZL=\"1\" ZJH=\"652901198001010017\" FZJG=\"某县公安局\" SSHY=\"\" DH=\"13900000000\" DZ=\"解放路4号\" YB=\"843000\" XB=\"1\" QLRLX=\"1\" QLMJ=\"96.12\" QLBL=\"100%\" GYFS=\"0\" GYQK=\"单独所有\" DLRMC=\"\"/>",
    "<DJT_DJ_SLSQ YWH=\"1\" DJDL=\"100\" DJXL=\"1\" SQZSBS=\"0\" SQFBCZ=\"0\" SLRY=\"李四\" SLSJ=\"2026-11-20\" TZRXM=\"张三\" TZRDH=\"13900000000\" AJZT=\"1\" BZ=\"\"/>",
    "<DJF_DJ_SQR QLRMC=\"张三\" QLRZJH=\"652901198001010017\" QLRTXDZ=\"解放路4号\" QLRYB=\"843000\" YWRMC=\"某公司\"/><DJF_DJ_SJ SJMC=\"申请书\" SJSL=\"1\" SFSJSY=\"1\" YS=\"2\"/>",
    "<DJF_DJ_SF JFRY=\"张三\" JFRQ=\"2026-11-20\" SFKMMC=\"登记费\" SFEWSF=\"0\" SFJS=\"80\" SFLX=\"1\" YSJE=\"80\" ZKHYSJE=\"80\" SFRY=\"李四\" SSJE=\"80\" SFDW=\"元\"/>",
    "<DJF_DJ_SH JDMC=\"初审\" SXH=\"1\" SHRYXM=\"王五\" SHKSSJ=\"2026-11-20\" SHJSSJ=\"2026-11-20\" SHYJ=\"同意\" CZJG=\"1\"/><DJF_DJ_SZ SZMC=\"证书\" SZZH=\"1\" YSXLH=\"2\" SZRY=\"李四\"/>",
    "<DJF_DJ_FZ FZRY=\"李四\" FZSJ=\"2026-11-22\" FZMC=\"证书\" FZSL=\"1\" LZRXM=\"张三\" LZRZJLB=\"1\" LZRDH=\"13900000000\"/><DJF_DJ_GD GDRY=\"李四\" GDRQ=\"2026-11-22\" WJJS=\"1\" ZYS=\"12\"/><FJ_F_100 FJMC=\"说明\" FJLX=\"1\" FJNR=\"\"/>",
];

#[test]
fn the_data_sets_of_a_registration_pass_as_an_office_writes_them() {
    for set in SETS.iter().copied().chain([SETS.concat().as_str()]) {
        assert_eq!(asked("intranet-extranet", "registration-message", "a.xml", &message(set)), "passes", "{set}");
    }
    for crossing in DOWN {
        let units = SETS.get(..8).expect("the units").concat();
        assert_eq!(asked(crossing, "review-result", "a.xml", &message(&units)), "passes");
        let signed = message(&units).replace(
            "</Message>",
            "<Signature><SignedInfo><SignatureMethod Algorithm=\"SM2\"/></SignedInfo><SignatureValue>c2lnbmVk</SignatureValue></Signature></Message>",
        );
        assert_eq!(asked(crossing, "review-result", "a.xml", &signed), "passes");
        let styled = message("<!-- 审核结果 --><KTT_ZDJBXX YT=\"071\"/>").replace(
            "<Message>",
            "<Message xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:noNamespaceSchemaLocation=\"m.xsd\">",
        );
        assert_eq!(asked(crossing, "review-result", "a.xml", &styled), "passes");
    }
}

#[test]
fn a_field_that_says_a_position_is_on_no_list() {
    for field in [
        "TFH",
        "XZBZ",
        "YZBZ",
        "XZB",
        "YZB",
        "ZDT",
        "FCFHT",
        "YHWZMS",
        "YDFW",
        "HDWZ",
        "JD",
        "WD",
        "四至坐标",
        "图幅号",
    ] {
        for crossing in DOWN {
            let as_attribute = message(&format!("<KTT_ZDJBXX {field}=\"某处\"/>"));
            let as_element = message(&format!("<KTT_ZDJBXX><{field}>某处</{field}></KTT_ZDJBXX>"));
            for content in [as_attribute, as_element] {
                let told = asked(crossing, "review-result", "a.xml", &content);
                assert!(told != "passes", "{field} on {crossing}: {told}");
            }
            let told = asked(crossing, "review-result", "a.json", &format!("{{\"ywh\":\"1\",\"{field}\":\"某处\"}}"));
            assert!(told != "passes", "{field} on {crossing}: {told}");
        }
        let told = asked("intranet-extranet", "table-export", "a.csv", &format!("业务号,{field}\n1,某处\n"));
        assert!(told != "passes", "{field}: {told}");
    }
}

#[test]
fn what_is_written_between_the_names_is_no_place_either() {
    for (crossing, as_type) in [
        ("intranet-extranet", "review-result"),
        ("intranet-extranet", "registration-message"),
        ("extranet-internet", "review-result"),
    ] {
        let told = |content: &str| asked(crossing, as_type, "a.xml", content);
        let clean = message("<KTT_ZDJBXX YT=\"071\"/>");
        assert_eq!(told(&clean), "passes", "{crossing} {as_type}");
        for bad in [
            clean.replace("<Head>", "<Head>J1 34512.417 51203.882 J2 34498.120 51233.004"),
            clean.replace("<Data>", "<Data>J1 34512.417 51203.882"),
            clean.replace("<KTT_ZDJBXX YT=\"071\"/>", "<KTT_ZDJBXX>34512.417 51203.882</KTT_ZDJBXX>"),
            clean.replace("<Message>", "<Message xmlns:p4851490_419_29546865_276=\"urn:x\">"),
            clean.replace("<Message>", "<Message xmlns:p=\"urn:34512.417:51203.882\">"),
            clean.replace("<ASID>AS100</ASID>", "<p4851490_419:ASID>AS100</p4851490_419:ASID>"),
        ] {
            let said = told(&bad);
            assert!(said.starts_with("schema-mismatch"), "{crossing} {as_type} {said}: {bad}");
        }
    }
}

#[test]
fn a_map_sheet_passes_where_it_is_no_place_and_goes_where_it_is_one() {
    let with = |sheet: &str| message(&format!("<KTT_ZDJBXX TFH=\"{sheet}\" YT=\"071\"/>"));
    for (sheet, down, further) in [
        ("H50G005010", "passes", "passes"),
        ("H50H192001", "passes", "passes"),
        ("512.25-3389.50", "strip", "coordinates"),
        ("J50K01230456", "strip", "coordinates"),
        ("51-46", "schema-mismatch", "schema-mismatch"),
    ] {
        for as_type in ["review-result", "registration-message"] {
            let said = asked("intranet-extranet", as_type, "a.xml", &with(sheet));
            assert!(said.starts_with(down), "{as_type} {sheet}: {said}");
        }
        let said = asked("extranet-internet", "review-result", "a.xml", &with(sheet));
        assert!(said.starts_with(further), "{sheet}: {said}");
    }
}

#[test]
fn the_daily_log_passes_with_its_counts() {
    let entry = "<Register><BizMsgID>1</BizMsgID><YWH>2</YWH><BDCDYH>652901001001GB00018F00010001</BDCDYH><RecType>1000402</RecType><DJSJ>2026-11-22 08:30:00</DJSJ><CGBS>1</CGBS></Register>";
    for counts in [
        "<Total>5</Total><First>1</First><Transfer>2</Transfer><Easement>0</Easement><Mortgage>2</Mortgage>",
        "<总数>5</总数><首次>1</首次><转移>2</转移><变更>0</变更><注销>0</注销><更正>0</更正><异议>0</异议><预告>0</预告><地役权>0</地役权><抵押>2</抵押>",
        "<ZS>5</ZS><SCDJ>1</SCDJ><ZYDJ>2</ZYDJ><DYAQ>2</DYAQ>",
    ] {
        let log = format!(
            "<AccessLog><AreaCode>652901</AreaCode><AreaName>某县</AreaName><AccessDate>2026-11-22</AccessDate><Remark>无</Remark><备注>无</备注><RegisterInfo>{counts}{entry}</RegisterInfo><AccessInfo>{counts}</AccessInfo></AccessLog>"
        );
        assert_eq!(asked("intranet-extranet", "registration-log", "a.xml", &log), "passes", "{counts}");
    }
}

#[test]
fn answers_pass_as_the_interfaces_carry_them() {
    for (as_type, content) in [
        ("progress", r#"{"ywh":"202611220017","zt":"已受理","sj":"2026-11-22 08:30:00","slr":"李四"}"#),
        ("progress", r#"{"ywh":"202611220017","jd":2,"sj":1795336200,"bz":""}"#),
        (
            "progress",
            r#"[{"ywh":"1","hj":"审核","shr":"王五","shsj":"2026-11-22"},{"ywh":"2","hj":"办结","bjr":"王五","bah":"备17"}]"#,
        ),
        (
            "progress",
            r#"{"业务号":"1","环节":"受理","受理人":"李四","受理时间":"2026-11-22","区划编码":"652901","好差评链接地址":"https://example.com/a"}"#,
        ),
        ("progress", r#"{"ywh":"1","预审结果":"不通过","预审不通过原因":"缺合同","电子合同签章地址":null}"#),
        (
            "receipt-slip",
            r#"{"ywh":"1","sqr":["张三","李四"],"ywlx":"转移","cls":4,"ys":"17","sj":"2026-11-22","slr":"王五","bz":""}"#,
        ),
        (
            "response-message",
            r#"{"BizMsgID":"1","SuccessFlag":"1","ResponseCode":"0","sbyy":"重复上报","jssj":"2026-11-22","bz":""}"#,
        ),
        (
            "response-message",
            r#"[{"BizMsgID":"1","SuccessFlag":true,"申请编号":"17","可访问地址":"https://example.com/a"}]"#,
        ),
        ("review-result", r#"{"ywh":"1","shjg":"合格","zddm":null,"bdcdyh":"","zdmj":2846.5,"bz":""}"#),
    ] {
        for crossing in DOWN {
            assert_eq!(asked(crossing, as_type, "a.json", content), "passes", "{crossing} {content}");
        }
    }
    for (as_type, content) in [
        ("progress", "<Progress><ywh>1</ywh><hj>受理</hj><slr>李四</slr><slsj>2026-11-22</slsj><bz/></Progress>"),
        ("receipt-slip", "<Receipt><ywh>1</ywh><sqr>张三</sqr><slr>李四</slr></Receipt>"),
        (
            "response-message",
            "<RespondMsg><BizMsgID>1</BizMsgID><SuccessFlag>0</SuccessFlag><ResponseInfo>缺字段</ResponseInfo><QRCode/></RespondMsg>",
        ),
    ] {
        for crossing in DOWN {
            assert_eq!(asked(crossing, as_type, "a.xml", content), "passes", "{crossing} {content}");
        }
    }
    assert_eq!(
        asked("extranet-internet", "progress", "a.json", r#"{"ywh":"1","sj":34512.417}"#),
        "schema-mismatch /sj",
        "a time is no fraction"
    );
    assert_eq!(asked("extranet-internet", "progress", "a.json", r#"[{"ywh":"1"},{"zb":1}]"#), "schema-mismatch /1/zb");
}

#[test]
fn tables_pass_as_the_interfaces_carry_them() {
    for table in [
        "房屋唯一号,权利人名称,权利证件号码,不动产证书号,合同编号,房屋坐落,房屋面积,房屋类型,房屋性质\n17,张三,652901198001010017,第17号,,人民路1号,96.12,住宅,商品房\n",
        "权利人名称,证件号,手机号码,不动产权证号,房地坐落,不动产单元号,登记簿状态\n张三,652901198001010017,13900000000,第17号,人民路1号,652901001001GB00018F00010001,现势\n",
        "权利人,证件号,不动产权证号,坐落,单元号,面积,价格\n张三,652901198001010017,第17号,人民路1号,652901001001GB00018F00010001,96.12,4280000.50\n",
        "登记类型,件数\n首次,17\n",
        "户号,是否欠费,预审结果,不通过原因,签章地址,办理结果\n90,否,通过,,https://example.com/a,成功\n",
        "某县登记数据导出\n业务号,建筑面积(㎡),套内面积（平方米）,\n1,96.12,80.01,\n",
    ] {
        assert_eq!(asked("intranet-extranet", "table-export", "a.csv", table), "passes", "{table}");
    }
    for (table, told) in [
        ("坐落,坐落,坐落\n1,34512.417,51203.882\n", "schema-mismatch"),
        ("坐落\nJ1\t34512.417\t51203.882\n", "schema-mismatch"),
        ("业务号,周长\n1,71\n", "schema-mismatch 周长"),
        ("序号,建筑面积,套内面积\n1,34512.417,51203.882\n2,34498.120,51233.004\n", "schema-mismatch row 2"),
        (
            "序号,建筑面积,套内面积\n1,51203.882,34512.417\n2,51233.004,34498.120\n3,51228.690,34477.871\n",
            "schema-mismatch row 4",
        ),
    ] {
        let said = asked("intranet-extranet", "table-export", "a.csv", table);
        assert!(said.starts_with(told), "{table}: {said}");
    }
}
