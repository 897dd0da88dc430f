//! Every spelling of a position that a survey, a receiver, a map or a table uses; and the numbers of an office that look
//! like one. Each line is its own story, told by its first word.

use guard::{DetectVerdict, detect};

fn found(text: &str) -> bool {
    detect("a.txt", text.as_bytes()).verdict == DetectVerdict::Coordinates
}

#[test]
fn positions_are_found_in_every_spelling() {
    for (story, text) in [
        ("DMS N/E suffix", "113°19'0.51\"E 23°07'55.53\"N"),
        ("DMS deg only min", "北纬23°07.9255′ 东经113°19.0085′"),
        ("DMS letters", "23d07m55.53s N, 113d19m00.51s E"),
        ("DMS hyphen", "N23-07-55.53 E113-19-00.51"),
        ("DMS spaces no sign", "23 07 55.53 N 113 19 00.51 E"),
        ("DMS prime ascii", "23° 7' 55.53\", 113° 19' 0.51\""),
        ("DMS packed one", "界址点 B=230755.53 L=1131900.51\nB=230756.10 L=1131901.20\nB=230757.33 L=1131902.40"),
        ("DMS du fen miao no sec", "东经113度19.0085分，北纬23度7.9255分"),
        ("DMS json", "{\"lat\":\"23°7′55.53″\",\"lng\":\"113°19′0.51″\"}"),
        ("NMEA RMC", "$GPRMC,021500.00,A,2513.7993,N,11020.1137,E,0.1,,221126,,,A"),
        ("NMEA no talker", "2513.7993,N,11020.1137,E"),
        ("NMEA GLL", "$BDGLL,2513.7993,N,11020.1137,E,021500,A"),
        (
            "transposed",
            "X,5066306.570,5066268.616,5066256.538,5066249.100\nY,42550639.538,42550627.972,42550634.383,42550640.221",
        ),
        (
            "transposed 2dec",
            "X 5066306.57 5066268.61 5066256.53 5066249.10\nY 42550639.53 42550627.97 42550634.38 42550640.22",
        ),
        (
            "transposed noprefix",
            "5066306.570\t5066268.616\t5066256.538\t5066249.100\n550639.538\t550627.972\t550634.383\t550640.221",
        ),
        (
            "split int/frac",
            "点,X整,X小数,Y整,Y小数\n1,5066306,570,42550639,538\n2,5066268,616,42550627,972\n3,5066256,538,42550634,383\n4,5066249,100,42550640,221",
        ),
        (
            "mm ints",
            "1,5066306570,42550639538\n2,5066268616,42550627972\n3,5066256538,42550634383\n4,5066249100,42550640221",
        ),
        (
            "mm ints noprefix",
            "1,5066306570,550639538\n2,5066268616,550627972\n3,5066256538,550634383\n4,5066249100,550640221",
        ),
        ("cm ints", "1,506630657,4255063953\n2,506626861,4255062797\n3,506625653,4255063438\n4,506624910,4255064022"),
        ("1e7 degrees", "[{\"latE7\":231395638,\"lngE7\":1133477760},{\"latE7\":231394802,\"lngE7\":1133467349}]"),
        ("micro degrees", "lon,lat\n113347776,23139564\n113346735,23139480\n113346111,23138802"),
        ("base+offset", "{\"base\":[4851490.419,29546865.276],\"offsets\":[[0,0],[-132.8,-81.3],[-200.1,3.4]]}"),
        ("base+offset zh", "基点 X0=4851490.4 Y0=29546865.3; 各点 dx,dy: 0,0; -132.806,-81.347; -200.113,3.402"),
        ("WKT", "SRID=4490;POLYGON((113.34 23.13,113.35 23.13,113.35 23.14,113.34 23.13))"),
        ("WKT lower z", "point z(113.347 23.139 5)"),
        (
            "topojson arcs",
            "{\"type\":\"Topology\",\"arcs\":[[[4000,1000],[12,-3],[4,9]]],\"transform\":{\"scale\":[0.0001,0.0001],\"translate\":[113,23]}}",
        ),
        (
            "echarts",
            "{\"features\":[{\"geometry\":{\"encodeOffsets\":[[115000,23000]],\"coordinates\":[\"@@AB\"]}}],\"UTF8Encoding\":true}",
        ),
        (
            "local grid header",
            "点号,X,Y\nJ1,34512.417,51203.882\nJ2,34498.120,51233.004\nJ3,34477.871,51228.690\nJ4,34491.020,51199.417",
        ),
        (
            "local grid zh header",
            "界址点号,纵坐标,横坐标,边长\nJ1,34512.417,51203.882,32.4\nJ2,34498.120,51233.004,20.7\nJ3,34477.871,51228.690,31.1",
        ),
        (
            "local grid zh header m",
            "界址点号\tX(m)\tY(m)\nJ1\t3451.41\t5120.88\nJ2\t3449.12\t5123.00\nJ3\t3447.87\t5122.69",
        ),
        ("local grid xzb", "dh,xzb,yzb\n1,34512.41,51203.88\n2,34498.12,51233.00\n3,34477.87,51228.69"),
        (
            "local json",
            "[{\"x\":34512.417,\"y\":51203.882},{\"x\":34498.120,\"y\":51233.004},{\"x\":34477.871,\"y\":51228.690}]",
        ),
        ("lonlat header list", "名称,经度,纬度\n甲,113.34,23.13\n乙,116.40,39.90\n丙,121.47,31.23"),
        ("lon lat en header", "name,lon,lat\nA,113.34,23.13\nB,116.40,39.90\nC,121.47,31.23"),
        ("gcj", "{\"gcj02\":\"113.347776,23.139564\"}"),
        ("chinese numerals", "纵坐标四八五一四九零点四一九 横坐标二九五四六八六五点二七六"),
        (
            "fullwidth",
            "Ｘ＝４８５１４９０．４１９，Ｙ＝２９５４６８６５．２７６；Ｘ＝４８５１３５７．６１３，Ｙ＝２９５４６７８３．９２９",
        ),
        ("kmz text", "J1 4851.490419km 29546.865276km\nJ2 4851.357613km 29546.783929km"),
        (
            "km columns",
            "点,X(km),Y(km)\n1,4851.490419,29546.865276\n2,4851.357613,29546.783929\n3,4851.300001,29546.701122",
        ),
        ("sci", "4.851490419e6 2.9546865276e7 4.851357613e6 2.9546783929e7"),
        ("comma decimal", "4851490,419;29546865,276\n4851357,613;29546783,929\n4851300,100;29546700,200"),
        ("geohash", "geohash: ws0edg9qj"),
        ("url", "https://uri.amap.com/marker?position=113.347776,23.139564&name=x"),
        ("baidu url", "http://api.map.baidu.com/marker?location=23.139564,113.347776"),
        ("sheet no", "<A TFH=\"51.50-46.25\"/>"),
        ("sheet no csv", "宗地,图幅号\n1,51.50-46.25\n2,51.75-46.25"),
        ("zh comma", "界址点坐标：4851490.419，29546865.276；4851357.613，29546783.929"),
        ("noprefix seq", "3287121.33 606857.92, 3287144.10 606837.74, 3287163.55 606705.70, 3287023.23 606643.64"),
        ("6deg prefix", "4851490.419,20546865.276\n4851357.613,20546783.929"),
        ("yaml", "points:\n  - x: 4851490.419\n    y: 29546865.276\n  - x: 4851357.613\n    y: 29546783.929"),
        ("local transposed", "X,34512.417,34498.120,34477.871\nY,51203.882,51233.004,51228.690"),
        (
            "local zh transposed",
            "点号 J1 J2 J3\n纵坐标 34512.417 34498.120 34477.871\n横坐标 51203.882 51233.004 51228.690",
        ),
        (
            "local md",
            "| 点 | X | Y |\n|---|---|---|\n| J1 | 34512.417 | 51203.882 |\n| J2 | 34498.120 | 51233.004 |\n| J3 | 34477.871 | 51228.690 |",
        ),
        ("thousands csv", "点号,X坐标,Y坐标\nJ1,\"4,851,490.419\",\"546,865.276\""),
        (
            "thousands csv without header",
            "0,\"3,790,806.016\",\"36,584,539.176\"\n1,\"3,790,794.162\",\"36,584,430.997\"\n",
        ),
        ("thousands local csv", "点号,纵坐标,横坐标\nJ1,\"34,512.417\",\"51,203.882\""),
        ("thousands tab", "点号\tX坐标\tY坐标\nJ1\t4,851,490.419\t546,865.276"),
        ("thousands json", "{\"X\":\"4,851,490.419\",\"Y\":\"546,865.276\"}"),
        ("groups of spaces", "J1  4 851 490.419, 29 546 865.276"),
        ("groups of thin spaces", "J1  4\u{2009}851\u{2009}490.419, 29\u{2009}546\u{2009}865.276"),
        ("groups of high commas", "J1  4'851'490.419, 29'546'865.276"),
        ("groups of wide commas", "J1  4，851，490.419； 29，546，865.276"),
        ("letters and numbers in one", "N4851490.419E29546865.276;N4851357.613E29546783.929;"),
        ("key and number in one", "XZB4851490.419 YZB29546865.276"),
        ("noughts in front", "J1 00004851490.419 00029546865.276"),
        ("zero width", "4851\u{200b}490.419, 29546\u{200b}865.276"),
        ("soft hyphen", "4851\u{ad}490.419, 29546\u{ad}865.276"),
        ("mathematical digits", "𝟒𝟖𝟓𝟏𝟒𝟗𝟎.𝟒𝟏𝟗, 𝟐𝟗𝟓𝟒𝟔𝟖𝟔𝟓.𝟐𝟕𝟔"),
        ("dashes under a header", "点号,经度,纬度\nA,113-20-51.99,23-08-22.43"),
        ("dashes under keys", "{\"lon\":\"113-20-51.99\",\"lat\":\"23-08-22.43\"}"),
        ("city grid under keys", "<P XZB=\"3451.41\" YZB=\"5120.88\"/>"),
        ("wide commas between keys", "XZB=34512.417，YZB=27881.335"),
        ("wide commas between letters", "X=3389512.417，Y=512844.231"),
        ("wide brackets around keys", "该点（lng=114.1337，lat=30.6254）"),
        ("wide quotes around keys", "“XZB”：“34512.417”；“YZB”：“27881.335”"),
        ("wide equals", "XZB＝34512.417、YZB＝27881.335"),
        ("a dash between keys", "XZB=34512.417—YZB=27881.335"),
        ("WKT behind characters", "范围：POLYGON((34512.417 27881.335,34548.902 27888.874))"),
        ("WKT right behind characters", "范围MULTIPOLYGON(((34512.417 27881.335,34548.902 27888.874)))"),
        ("a key right behind characters", "界址点XZB=34512.417,界址点YZB=27881.335"),
        ("a middle dot for a point", "XZB=34512·417，YZB=27881·335"),
        ("a full stop for a point", "XZB=34512。417，YZB=27881。335"),
        ("a point between blanks", "XZB=34512 . 417，YZB=27881 . 335"),
        ("sheet behind a wide colon", "图幅号：51.50-46.25"),
        ("geohash behind a wide colon", "geohash：wt3mb2k8u"),
        ("hemispheres before degrees", "E114.1337，N30.6254"),
        ("hemispheres behind degrees", "30.6254°N, 114.1337°E"),
        ("is", "纵坐标为3389512.417米，横坐标为512844.231米"),
        ("is, on a city grid", "J1点纵坐标为34512.417米，横坐标为27881.335米"),
        ("is about", "经度约114.1337"),
        ("equals, roughly", "X等于3389512.417，Y大约为512844.231"),
        ("letters behind characters", "界址点X=3389512.417, 界址点Y=512844.231"),
        ("a hemisphere within the key", "经度（E）：114.1337；纬度（N）：30.6254"),
        ("a system within the key", "X（CGCS2000）=3389512.417，Y（CGCS2000）=512844.231"),
        ("a blank within the key", "X 坐标：34512.417 Y 坐标：27881.335"),
        ("blanks within the key", "纵 坐 标：34512.417 横 坐 标：27881.335"),
        ("two keys, two numbers", "坐标（X，Y）：（3389512.417，512844.231）"),
        ("two keys of a city grid", "（XZB、YZB）：（34512.417，27881.335）"),
        ("a pair behind is", "坐标为（3389512.417，512844.231）"),
        (
            "name and value",
            "{\"fields\":[{\"name\":\"XZB\",\"value\":\"34512.417\"},{\"name\":\"YZB\",\"value\":\"27881.335\"}]}",
        ),
        (
            "name, type and value",
            "[{\"name\":\"x\",\"type\":\"double\",\"value\":3389512.417},{\"name\":\"y\",\"type\":\"double\",\"value\":512844.231}]",
        ),
        ("a value within its key", "{\"x\":{\"v\":3389512.417},\"y\":{\"v\":512844.231}}"),
        ("whole metres under keys", "{\"x\":3389512,\"y\":512844}"),
        ("bounds", "{\"xmin\":512844.2,\"ymin\":3389512.4,\"xmax\":512899.0,\"ymax\":3389548.9}"),
        (
            "web map without keys",
            "12705312.21,3583412.11 12705330.40,3583431.92 12705351.77,3583422.08 12705342.15,3583398.40 12705320.02,3583391.37 12705312.80,3583410.05",
        ),
        ("sansha", "X=1890512.334 Y=37456120.221; X=1890533.011 Y=37456099.870; X=1890500.3 Y=37456101.1"),
    ] {
        assert!(found(text), "{story}: {text}");
    }
}

#[test]
fn a_column_is_known_by_its_heading_however_it_is_written() {
    let found_under = |headings: &str, rows: &str| found(&format!("点号,{headings}\n{rows}"));
    let grid = "J1,34512.417,27881.335\nJ2,34548.902,27888.874\nJ3,34541.336,27936.018\n";
    for headings in [
        "X 坐标,Y 坐标",
        "纵 坐 标,横 坐 标",
        "X座标,Y座标",
        "X（CGCS2000）,Y（CGCS2000）",
        "X值(m),Y值(m)",
        "X_2000,Y_2000",
        "X80,Y80",
        "X轴,Y轴",
        "界址点X,界址点Y",
        "centroid_x,centroid_y",
        "geometry_x,geometry_y",
        "coordinateX,coordinateY",
        "location.x,location.y",
        "QDXZB,QDYZB",
        "xmin,ymin",
        "X1,Y1",
        "x0,y0",
        "xpos,ypos",
        "XX,YY",
        "X-COORD,Y-COORD",
        "XZB1,YZB1",
    ] {
        assert!(found_under(headings, grid), "{headings}");
    }
    for headings in
        ["point.lng,point.lat", "lng84,lat84", "wgsLon,wgsLat", "LONGITUD,LATITUDE", "lng_gcj02,lat_gcj02", "经,纬"]
    {
        assert!(found_under(headings, "甲,113.34,23.13\n乙,116.40,39.90\n"), "{headings}");
    }
    assert!(found_under("纬度B,经度L", "甲,23.13,113.34\n乙,39.90,116.40\n"));
    assert!(found_under("X,Y", "J1,3389512,512844\nJ2,3389548,512851\nJ3,3389541,512899\n"), "to the metre");
    for headings in ["XMJ,YMJ", "本期X型,上期Y型", "x-ray,y-ray2", "MAX1,PAY1"] {
        assert!(!found_under(headings, "1,1200.55,15000.25\n2,1213.65,15211.55\n3,1226.75,15422.85\n"), "{headings}");
    }
    assert!(!found_under("X,Y", "1,3000000,500000\n2,2400000,350000\n"), "round amounts");
}

#[test]
fn a_sign_between_two_whole_numbers_is_no_point() {
    let corners = ["3389512 38512844", "3389548 38512851", "3389541 38512899", "3389507 38512890", "3389498 38512861"];
    for sign in ["·", "。", " . "] {
        assert!(found(&corners.map(|corner| corner.replace(' ', sign)).join("\n")), "{sign}");
        assert!(
            found(&format!("北坐标 3389512{sign}417 东坐标 38512844{sign}231")),
            "{sign}: a point of a picture's reader"
        );
    }
}

/// Lines of a boundary: where each begins and where it ends.
fn lines(corners: &[(f64, f64)], decimals: usize) -> String {
    let ends = corners.iter().zip(corners.iter().cycle().skip(1));
    ends.map(|((n, e), (m, f))| format!("{n:.decimals$} {e:.decimals$} {m:.decimals$} {f:.decimals$}; ")).collect()
}

#[test]
fn corners_that_are_written_twice_are_corners() {
    let corners = [
        (3_389_512.42, 512_844.23),
        (3_389_548.90, 512_851.77),
        (3_389_541.34, 512_899.02),
        (3_389_507.11, 512_890.65),
    ];
    for decimals in [2, 3] {
        let text = lines(&corners, decimals);
        assert!(found(&format!("{{\"ywh\":\"1\",\"shyj\":\"{text}\"}}")), "{text}");
        assert!(found(&format!("建筑面积,套内面积\n{}", text.replace("; ", "\n").replace(' ', ","))), "{text}");
    }
    let twice: String = corners.iter().map(|(n, e)| format!("{n:.2},{e:.2}\n{n:.2},{e:.2}\n")).collect();
    assert!(found(&format!("建筑面积,套内面积\n{twice}")), "{twice}");
}

#[test]
fn stakes_in_even_steps_are_found_and_amounts_in_even_steps_are_not() {
    let rows = |decimals: usize, steps: (f64, f64)| -> String {
        let row = |n: i32| (3_389_512.4 + steps.0 * f64::from(n), 512_844.8 + steps.1 * f64::from(n));
        (0..20).map(row).map(|(n, e)| format!("{n:.decimals$},{e:.decimals$}\n")).collect()
    };
    assert!(found(&format!("建筑面积,套内面积\n{}", rows(3, (7.2, 9.6)))));
    assert!(found(&format!("{{\"shyj\":\"{}\"}}", rows(3, (10.0, 0.25)).replace('\n', "; "))));
    assert!(found(&rows(3, (7.2, 9.6)).replace(",512", "\n面积 112.5 512")), "one axis after the other");
    assert!(!found(&format!("建筑面积,套内面积\n{}", rows(2, (7.2, 9.6)))));
}

#[test]
fn numbers_of_an_office_are_left_alone() {
    for (story, text) in [
        ("weak xy small", "x,y\n12.345,22.331\n13.221,21.001\n14.555,20.1\n"),
        ("lon lat empty", "名称,经度,纬度\n甲,,\n乙,,\n"),
        ("range", "面积段 90.50-120.25 户数 3"),
        ("table z", "序号,X射线,Y射线\n1,3451.22,5120.33\n2,3449.12,5123.00\n3,3447.87,5122.69"),
        (
            "ids",
            "订单,用户\n100000001,20000001\n100000002,20000002\n100000003,20000003\n100000004,20000004\n100000005,20000005\n100000006,20000006",
        ),
        (
            "ids10",
            "流水,编号\n5066306570,550639538\n5066306571,550639539\n5066306572,550639540\n5066306573,550639541\n5066306574,550639542\n5066306575,550639543",
        ),
        (
            "price table",
            "房号,单价,总价\n101,12800.50,1523400.00\n102,12790.25,1498765.50\n103,13120.75,1610233.20\n104,12999.10,1577120.90",
        ),
        ("area table", "房号,建筑面积,套内面积\n101,120.35,98.21\n102,119.80,97.60\n103,88.12,70.03"),
        ("unit codes", "440106024056GB81906F00010001\n440106024056GB81906F00010002\n440106024056GB81906F00010003"),
        ("x y as house", "x,y\n1,2\n3,4\n5,6"),
        ("chart", "{\"x\":[1.5,2.5,3.5],\"y\":[10.1,20.2,30.3]}"),
        ("meter readings", "户号,X月,Y月\n100231,34512.41,51203.88\n100232,21344.10,39998.22\n100233,8812.33,12001.01"),
        ("time", "12:30:45 23:07:55 11:19:00"),
        ("ip", "113.34.77.60, 23.13.95.64"),
        ("date list", "2024-07-04,2024-07-05"),
        ("phone", "13800138000 02083331234"),
        (
            "amounts 7 digits",
            "合同金额 3580000.00 元，税款 419535.29 元；合同金额 3571200.00 元，税款 418535.29 元；合同金额 3560100.00 元，税款 417535.20 元",
        ),
        ("temperature", "北纬路30°C 东经路45°C"),
        ("xy pixels", "<text x=\"34512.417\" y=\"51203.882\"/>"),
        ("lab", "样品,N,E\n1,23.1,113.2\n2,24.2,110.1"),
        ("cadastre count", "地籍区,地籍子区,宗地数\n440106024,440106024056,81906"),
        ("floor coords", "层高 3.000 面宽 12.600 进深 9.900"),
        ("tax and money", "{\"ywh\":\"2024-1\",\"tax\":418535.29,\"money\":2866334.61}"),
        ("a loan", "期,max,pay\n1,3503.12,5198.66\n2,3506.12,5196.66\n3,3509.12,5194.66"),
        ("progress and temperature", "{\"jd\":100.0,\"wd\":36.65}"),
        ("price and part", "{\"DJ\":93.125,\"BW\":12.5}"),
        ("shares", "份额 33.333333 83.333333"),
        ("counted rings", "{\"rings\": 3, \"coordinates\": 3}"),
        ("a seat", "<?xml version=\"1.0\"?><m><pos>3 12</pos></m>"),
        ("amounts in groups", "单价,总价\n\"12,800.50\",\"1,523,400.00\"\n\"12,790.25\",\"1,498,765.50\""),
        ("list marks", "① 120.35 m² ② 98.21 m²"),
        (
            "fields that nobody filled",
            "{\"x\":0.0,\"y\":0.0,\"XZB\":\"0.000\",\"YZB\":\"0.000\",\"lng\":0.0000,\"lat\":0.0000}",
        ),
        (
            "a balance and a loan",
            "日期,余额,贷款\n1,3100000.00,450000.00\n2,3100313.37,450121.11\n3,3100626.74,450242.22\n4,3100940.11,450363.33\n5,3101253.48,450484.44\n6,3101566.85,450605.55",
        ),
        ("a box on a page", "<a:off x=\"2466109\" y=\"512844\"/><a:ext cx=\"2466109\" cy=\"512844\"/>"),
        ("a name with a middle dot", "买买提·艾力 2024·07·04 共12·5"),
        ("a sentence in Chinese signs", "面积（平方米）：120.35；单价（元）：12800.50，总价（元）：1540480.18。"),
        ("points of the compass", "东至人民路113号，北至30号楼，E座1203，N区30.5米"),
        ("a province", "我市位于北纬30度，东经114度附近，面积8569.15平方公里。"),
        ("grade DJ", "<A DJ=\"5\" JG=\"7301721.5267\"/>"),
    ] {
        assert!(!found(text), "{story}: {text}");
    }
}

#[test]
fn a_spelling_cut_anywhere_is_no_panic() {
    let text = "N23-07-55.53 E113-19-00.51 113°19′0.51″ 23度7.9255分 2513.7993,N,11020.1137,E\nX,Y\n34512.417,51203.882\nTFH=51.50-46.25";
    for (at, _) in text.char_indices() {
        let _ = detect("a.txt", &text.as_bytes()[..at]);
        let _ = detect("a.txt", &text.as_bytes()[at..]);
    }
}
