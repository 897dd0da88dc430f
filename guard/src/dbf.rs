//! dBASE tables: a header with field names, then rows of text. The rows are read as text; names decide nothing.

use crate::octets::{slice, tail, u16_le, u32_le};

/// A version byte, a date, and lengths that fit the file.
pub(crate) fn looks_like(bytes: &[u8]) -> bool {
    layout(bytes).is_some()
}

fn layout(bytes: &[u8]) -> Option<(usize, usize, usize)> {
    let version = *bytes.first()?;
    if !matches!(version, 0x02..=0x05 | 0x30..=0x32 | 0x43 | 0x63 | 0x83 | 0x8B | 0x8C | 0xCB | 0xF5 | 0xFB) {
        return None;
    }
    let [month, day] = slice(bytes, 2, 2)? else { return None };
    let rows = usize::try_from(u32_le(bytes, 4)?).ok()?;
    let header = usize::from(u16_le(bytes, 8)?);
    let row = usize::from(u16_le(bytes, 10)?);
    let fits =
        header >= 65 && row > 0 && *month <= 12 && *day <= 31 && header + rows.checked_mul(row)? <= bytes.len() + 2;
    let named = slice(bytes, if version == 0x8C { 68 } else { 32 }, 11)?
        .iter()
        .take_while(|b| **b != 0)
        .all(|b| b.is_ascii_graphic() || *b >= 0x80 || *b == b' ');
    (fits && named).then_some((rows, header, row))
}

/// Names of fields on the first line, then one line a row with tabs between fields.
pub(crate) fn text(bytes: &[u8]) -> Option<Vec<u8>> {
    let (rows, header, row) = layout(bytes)?;
    let mut fields = Vec::new();
    let mut out = Vec::new();
    // dBASE 7 has longer names.
    let (mut at, descriptor, name, kind, width) =
        if bytes.first() == Some(&0x8C) { (68, 48, 32, 32, 33) } else { (32, 32, 11, 11, 16) };
    while at + descriptor <= header && bytes.get(at).is_some_and(|b| *b != 0x0D) {
        let field = slice(bytes, at, descriptor)?;
        out.extend(field.iter().take(name).take_while(|b| **b != 0));
        out.push(b'\t');
        fields.push((field.get(kind).copied()?, usize::from(field.get(width).copied()?)));
        at += descriptor;
    }
    out.push(b'\n');
    let mut rest = tail(bytes, header);
    for _ in 0..rows {
        let mut cells = tail(rest, 1);
        for (kind, width) in &fields {
            let cell = slice(cells, 0, *width).unwrap_or_default();
            match (kind, <[u8; 8]>::try_from(cell)) {
                // Visual FoxPro keeps doubles as they are.
                (b'B' | b'O', Ok(raw)) => {
                    let mut printed = String::new();
                    crate::geodata::print_number(f64::from_le_bytes(raw), &mut printed);
                    out.extend_from_slice(printed.as_bytes());
                }
                _ => out.extend(cell.iter().map(|b| if *b == 0 { b' ' } else { *b })),
            }
            out.push(b'\t');
            cells = tail(cells, *width);
        }
        out.push(b'\n');
        rest = tail(rest, row);
    }
    Some(out)
}
