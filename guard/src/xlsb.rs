//! Binary parts of an xlsb workbook: records of a sheet's cells, read as a person would see them.
//!
//! ```text
//! record: type(1-2, seven bits a byte) size(1-4, seven bits a byte) body
//! cell: column(4) style(4), then RK(4) or a double(8)
//! ```

use crate::look::Look;
use crate::octets::{f64_le, head, slice, u32_le};

/// Records of one part; a full sheet of a million rows and sixteen columns is not sent to anybody.
const RECORDS_MAX: usize = 20_000_000;

const ROW: u32 = 0;
const CELL_RK: u32 = 2;
const CELL_REAL: u32 = 5;
const FORMULA_NUMBER: u32 = 9;
/// Records that open a part: sheet, book, shared strings, styles, table, comments, external link, index of rows, order
/// of calculation and others.
const OPENERS: [u32; 17] = [40, 42, 277, 332, 129, 131, 159, 278, 343, 179, 353, 360, 386, 503, 528, 628, 564];

struct Record<'a> {
    kind: u32,
    body: &'a [u8],
    next: usize,
}

fn record(bytes: &[u8], at: usize) -> Option<Record<'_>> {
    let (kind, used) = varint(bytes, at, 2)?;
    let (size, width) = varint(bytes, at + used, 4)?;
    let start = at + used + width;
    let size = usize::try_from(size).ok()?;
    Some(Record { kind, body: slice(bytes, start, size)?, next: start + size })
}

fn varint(bytes: &[u8], at: usize, width_max: usize) -> Option<(u32, usize)> {
    let mut value = 0;
    for n in 0..width_max {
        let byte = *bytes.get(at + n)?;
        value |= u32::from(byte & 0x7F) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, n + 1));
        }
    }
    None
}

/// Records from the first byte to the last, beginning with one that opens a part.
pub(crate) fn is_part(bytes: &[u8]) -> bool {
    let Some(first) = record(bytes, 0) else { return false };
    if !OPENERS.contains(&first.kind) || head(bytes, 2).len() < 2 {
        return false;
    }
    let mut at = 0;
    for _ in 0..RECORDS_MAX {
        if at == bytes.len() {
            return true;
        }
        match record(bytes, at) {
            Some(record) => at = record.next,
            None => return false,
        }
    }
    false
}

/// Reads the numbers cell by cell, and every string.
pub(crate) fn look(look: &mut Look, bytes: &[u8], at: &str) {
    let mut cells = String::new();
    let mut position = 0;
    while let Some(record) = record(bytes, position) {
        let value = match record.kind {
            ROW => {
                cells.push('\n');
                None
            }
            CELL_RK => u32_le(record.body, 8).map(crate::ole::rk_value),
            CELL_REAL | FORMULA_NUMBER => f64_le(record.body, 8),
            _ => None,
        };
        if let Some(value) = value {
            crate::geodata::print_number(value, &mut cells);
            cells.push('\t');
        }
        position = record.next;
    }
    look.scan_text(&cells, &format!("{at} (cells)"));
    look.strings(bytes, at);
}
