//! Numbers of map sheets, 图幅号. A sheet of a city's large-scale map is named by its corner in kilometres, `51.50-46.25`:
//! at 1:500 that is a coordinate to 250 m, and the parcel lies beside it. A sheet of the national series names the square of
//! its map: at 1:2,000 and larger a kilometre or less, at 1:5,000 and smaller two kilometres and more, which says no more
//! than the parcel's address.

/// Sheets that one parcel lies on at most; what lists more is no field of a parcel.
const SHEETS_MAX: usize = 8;

/// A field that holds such a number.
pub(crate) fn is_key(name: &str) -> bool {
    name == "TFH" || name.ends_with("图幅号")
}

/// Does it name a place to a kilometre or better?
pub(crate) fn is_large_scale(value: &str) -> bool {
    is_corner(value) || is_large_national(value.trim())
}

/// `50.25-30.75`.
fn is_corner(value: &str) -> bool {
    let part = |p: &str| {
        p.split_once('.').is_some_and(|(a, b)| {
            !a.is_empty() && !b.is_empty() && (a.to_owned() + b).bytes().all(|c| c.is_ascii_digit())
        })
    };
    value.trim().split_once('-').is_some_and(|(a, b)| part(a) && part(b))
}

/// `J50K01230456`: 1:2,000 (I), 1:1,000 (J) and 1:500 (K), by row and column within the sheet of 1:1,000,000.
fn is_large_national(value: &str) -> bool {
    let Some((series, scale, rest)) = national(value) else { return false };
    let digits = match scale {
        'I' => 6,
        'J' | 'K' => 8,
        _ => return false,
    };
    is_series(series) && rest.len() == digits && is_number(rest)
}

/// Is it nothing but sheets of 1:5,000 or smaller, empty, or a word that says so?
pub(crate) fn is_coarse(value: &str) -> bool {
    const NOTHING: [&str; 13] = ["", "-", "--", "—", "——", "/", "无", "暂无", "空", "未知", "不详", "null", "NULL"];
    let narrow = |c: char| match u32::from(c).checked_sub(0xFF01) {
        Some(above) if above < 0x5E => char::from_u32(0x21 + above).unwrap_or(c),
        _ => c,
    };
    // Blanks stand between sheets, and in them: H50 G 005010.
    let listed = |between: &[char]| {
        let plain: String = value.chars().map(narrow).map(|c| c.to_ascii_uppercase()).collect();
        let sheets: Vec<String> = plain
            .split(|c: char| matches!(c, ',' | '、' | ';' | '/') || between.contains(&c))
            .map(|sheet| sheet.chars().filter(|c| !c.is_whitespace()).collect())
            .filter(|sheet: &String| !sheet.is_empty())
            .collect();
        sheets.len() <= SHEETS_MAX && sheets.iter().all(|sheet| is_coarse_national(sheet) || is_coarse_of_old(sheet))
    };
    NOTHING.contains(&value.trim()) || listed(&[' ']) || listed(&[])
}

/// `J50`, `J50G005010`: each scale has so many rows and columns, and no other number is one.
fn is_coarse_national(sheet: &str) -> bool {
    if is_series(sheet) {
        return true;
    }
    let Some((series, scale, rest)) = national(sheet) else { return false };
    let rows = match scale {
        'B' => 2,
        'C' => 4,
        'D' => 12,
        'E' => 24,
        'F' => 48,
        'G' => 96,
        'H' => 192,
        _ => return false,
    };
    let fits = |nth: &str| nth.len() == 3 && is_within(nth, rows);
    is_series(series) && rest.split_at_checked(3).is_some_and(|(row, column)| fits(row) && fits(column))
}

/// `J-50-5-(10)-a`: as sheets were numbered before 1993, and are still on file.
fn is_coarse_of_old(sheet: &str) -> bool {
    let parts: Vec<&str> = sheet.split('-').collect();
    let [letter, belt, rest @ ..] = parts.as_slice() else { return false };
    let in_brackets = |part: &str, open: char, close: char, most: u32| {
        part.strip_prefix(open).and_then(|p| p.strip_suffix(close)).is_some_and(|nth| is_within(nth, most))
    };
    let quarter = |part: &str| matches!(part, "A" | "B" | "C" | "D");
    let below = match rest {
        [] => true,
        [one] => quarter(one) || in_brackets(one, '[', ']', 16) || is_within(one, 144),
        [hundred, one] => is_within(hundred, 144) && (quarter(one) || in_brackets(one, '(', ')', 64)),
        [hundred, ten, one] => {
            is_within(hundred, 144)
                && ((quarter(ten) && is_within(one, 4)) || (in_brackets(ten, '(', ')', 64) && quarter(one)))
        }
        _ => false,
    };
    is_row(letter) && is_within(belt, 60) && below
}

/// The sheet of 1:1,000,000, the letter of a scale, and what stands behind it.
fn national(value: &str) -> Option<(&str, char, &str)> {
    let (series, rest) = value.split_at_checked(3)?;
    let mut chars = rest.chars();
    Some((series, chars.next()?, chars.as_str()))
}

/// `J50`.
fn is_series(sheet: &str) -> bool {
    sheet.split_at_checked(1).is_some_and(|(row, belt)| is_row(row) && belt.len() == 2 && is_within(belt, 60))
}

/// Rows of four degrees from the equator to the pole.
fn is_row(letter: &str) -> bool {
    matches!(letter.as_bytes(), [b'A'..=b'V'])
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

fn is_within(nth: &str, most: u32) -> bool {
    nth.len() <= 3 && is_number(nth) && nth.parse().is_ok_and(|nth: u32| (1..=most).contains(&nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_of_two_kilometres_is_no_place_and_one_of_a_kilometre_is() {
        for coarse in [
            "",
            "无",
            "J50",
            "J50B001002",
            "H50G005010",
            "H50H192192",
            "H50G005010、H50G005011",
            "J-50",
            "J-50-A",
            "J-50-[12]",
            "J-50-144",
            "J-50-144-B-4",
            "J-50-5-(64)-a",
            "-",
            "—",
            "暂无",
            "NULL",
            "h50g005010",
            "H50 G 005010",
            "Ｈ５０Ｇ００５０１０，H50G005011 H50G005012",
            "H-50-5-（10）",
        ] {
            assert!(is_coarse(coarse) && !is_large_scale(coarse), "{coarse}");
        }
        for large in ["51.50-46.25", " 3389.50-512.25 ", "J50I123456", "J50J01230456", "J50K01230456"] {
            assert!(is_large_scale(large) && !is_coarse(large), "{large}");
        }
        for neither in [
            "某处",
            "34512.417",
            "51-46",
            "H50H193001",
            "H50G5010",
            "H50G0050100",
            "H61G005010",
            "W50G005010",
            "J50L01230456",
            "J-50-145",
            "J-50-5-(65)",
            "J-50-5-(10)-a-34512",
            "34512-51203",
            "J50\u{7532}",
        ] {
            assert!(!is_large_scale(neither) && !is_coarse(neither), "{neither}");
        }
        assert!(!is_coarse(&["H50G005010"; 9].join(",")), "a list of sheets is a line on a map");
    }
}
