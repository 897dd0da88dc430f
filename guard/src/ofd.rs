//! Pages of an OFD as a person sees them: every word at its place, laid out line by line.
//!
//! Many converters place each character or each cell by itself, in any order; read one below another they are lone
//! digits and columns without a header. Knows nothing of fonts: widths are those of the steps between characters, or
//! half the height for a letter and all of it for an ideograph.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

use crate::look::Look;

/// Words of one page; a page of ten thousand characters that stand alone has as many.
const WORDS_MAX: usize = 1_000_000;
/// Two words stand in one line if their feet are no further apart than this part of their height.
const LINE_HEIGHT: f64 = 0.5;
/// A gap from this part of the height on divides two words.
const SPACE_WIDTH: f64 = 0.4;
/// The height of characters where nobody says it, in millimetres: about eleven points.
const SIZE: f64 = 4.0;

/// Characters that touch each other, and where they begin.
struct Word {
    /// Degrees by which its line is turned.
    turn: i32,
    along: f64,
    across: f64,
    length: f64,
    size: f64,
    text: String,
}

/// What a text object says of all its characters.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    top: f64,
    matrix: [f64; 6],
    size: f64,
}

/// The characters between two tags, and the steps between them.
#[derive(Default)]
struct Code {
    x: f64,
    y: f64,
    right: Vec<f64>,
    down: Vec<f64>,
    text: String,
}

/// Lays out what stands in a part of the document, and looks at that.
pub(crate) fn look(look: &mut Look, part: &str, at: &str, depth: u8) {
    if memchr::memmem::find(part.as_bytes(), b"TextCode").is_none() {
        return;
    }
    let Some(words) = words(part) else { return look.obstacle("too-many-members", at) };
    look.text(&lines(words), &format!("{at} (laid out)"), depth);
}

/// `None`: more words than any page has.
fn words(part: &str) -> Option<Vec<Word>> {
    let mut reader = Reader::from_str(part);
    let mut words = Vec::new();
    let mut frame = Frame { left: 0.0, top: 0.0, matrix: [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], size: SIZE };
    let mut code: Option<Code> = None;
    let (mut x, mut y) = (0.0, 0.0);
    while let Ok(event) = reader.read_event() {
        match event {
            Event::Start(start) if start.local_name().as_ref() == "TextObject" => {
                frame = framed(&start);
                (x, y) = (0.0, 0.0);
            }
            Event::Start(start) if start.local_name().as_ref() == "TextCode" => {
                let numbers = |key| numbers(&start, key);
                // What is left out stays as it was in the code before.
                (x, y) = (numbers("X").first().copied().unwrap_or(x), numbers("Y").first().copied().unwrap_or(y));
                code = Some(Code { x, y, right: numbers("DeltaX"), down: numbers("DeltaY"), text: String::new() });
            }
            Event::Text(text) => append(&mut code, &text),
            Event::CData(text) => append(&mut code, &text),
            Event::GeneralRef(reference) => {
                if let (Some(code), Ok(Some(c))) = (&mut code, reference.resolve_char_ref()) {
                    code.text.push(c);
                }
            }
            Event::End(end) if end.local_name().as_ref() == "TextCode" => {
                if let Some(code) = code.take() {
                    place(&frame, &code, &mut words);
                }
                if words.len() > WORDS_MAX {
                    return None;
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    Some(words)
}

fn append(code: &mut Option<Code>, text: &str) {
    if let Some(code) = code {
        code.text.push_str(text);
    }
}

fn framed(start: &BytesStart<'_>) -> Frame {
    let boundary = numbers(start, "Boundary");
    let matrix = <[f64; 6]>::try_from(numbers(start, "CTM")).unwrap_or([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
    let size = numbers(start, "Size").first().copied().filter(|size| *size > 0.0).unwrap_or(SIZE);
    let of = |n: usize| boundary.get(n).copied().unwrap_or(0.0);
    Frame { left: of(0), top: of(1), matrix, size }
}

/// Numbers of an attribute; `g 10 1.7` stands for ten times the same.
fn numbers(start: &BytesStart<'_>, key: &str) -> Vec<f64> {
    /// Steps of one code; a line of text has hundreds.
    const STEPS_MAX: usize = 65_536;
    let Some(attribute) = start.try_get_attribute(key).ok().flatten() else { return Vec::new() };
    let mut out = Vec::new();
    let mut parts = attribute.value.split_ascii_whitespace();
    while let Some(part) = parts.next() {
        let (times, value) = if part == "g" {
            (parts.next().and_then(|n| n.parse().ok()).unwrap_or(0), parts.next().unwrap_or(""))
        } else {
            (1_usize, part)
        };
        let value = value.parse::<f64>().ok().filter(|value| value.is_finite()).unwrap_or(0.0);
        out.extend(std::iter::repeat_n(value, times.min(STEPS_MAX.saturating_sub(out.len()))));
    }
    out
}

/// How wide a character is where nobody says it, in parts of its height.
fn width(c: char) -> f64 {
    if c.is_ascii() { 0.5 } else { 1.0 }
}

/// Cuts the characters of a code where the pen jumps, and puts each piece at its place on the page.
fn place(frame: &Frame, code: &Code, words: &mut Vec<Word>) {
    let [a, b, c, d, e, f] = frame.matrix;
    let scale = a.hypot(b);
    let (cos, sin) = if scale.is_finite() && scale > 0.0 { (a / scale, b / scale) } else { (1.0, 0.0) };
    let scale = if scale.is_finite() && scale > 0.0 { scale } else { 1.0 };
    #[expect(clippy::cast_possible_truncation, reason = "an angle in degrees")]
    let turn = sin.atan2(cos).to_degrees().round() as i32;
    let begin = |x: f64, y: f64| {
        let (px, py) = (a * x + c * y + e + frame.left, b * x + d * y + f + frame.top);
        let (along, across) = (px * cos + py * sin, py * cos - px * sin);
        Word { turn, along, across, length: 0.0, size: frame.size * scale, text: String::new() }
    };
    let (mut x, mut y) = (code.x, code.y);
    let mut word = begin(x, y);
    for (n, c) in code.text.chars().filter(|c| !matches!(c, '\r' | '\n')).enumerate() {
        word.text.push(c);
        let own = width(c) * frame.size;
        let right = code.right.get(n).copied();
        let down = code.down.get(n).copied().unwrap_or(0.0);
        let step = right.unwrap_or(if down == 0.0 { own } else { 0.0 });
        (x, y) = (x + step, y + down);
        let jumps = step < -own || step > own + frame.size * SPACE_WIDTH || down.abs() > frame.size * LINE_HEIGHT;
        word.length += if jumps { own } else { step } * scale;
        if jumps {
            words.push(std::mem::replace(&mut word, begin(x, y)));
        }
    }
    if !word.text.is_empty() {
        words.push(word);
    }
}

/// Words in lines, from the top, and from the left in each.
fn lines(mut words: Vec<Word>) -> String {
    words.sort_by(|a, b| a.turn.cmp(&b.turn).then(a.across.total_cmp(&b.across)));
    let mut out = String::new();
    let mut rest = words.as_mut_slice();
    while let Some(first) = rest.first() {
        let (turn, reach) = (first.turn, first.across + first.size * LINE_HEIGHT);
        let count = rest.iter().take_while(|word| word.turn == turn && word.across <= reach).count().max(1);
        let (line, below) = rest.split_at_mut(count);
        line.sort_by(|a, b| a.along.total_cmp(&b.along));
        line_of(line, &mut out);
        rest = below;
    }
    out
}

fn line_of(line: &[Word], out: &mut String) {
    let mut before: Option<&Word> = None;
    for word in line {
        if let Some(before) = before {
            let gap = word.along - before.along - before.length;
            let alone = before.text.chars().nth(1).is_none() || word.text.chars().nth(1).is_none();
            // Words over each other are two words; characters over each other were never measured.
            let over = gap < -before.size && !alone;
            if over || gap > before.size * SPACE_WIDTH {
                out.push('\t');
            }
        }
        out.push_str(&word.text);
        before = Some(word);
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laid_out(objects: &str) -> String {
        lines(words(&format!("<p>{objects}</p>")).expect("few"))
    }

    #[test]
    fn steps_are_read_and_gaps_divide() {
        let object = |steps: &str| {
            format!(
                "<TextObject Boundary=\"1 2 9 9\" Size=\"4\"><TextCode X=\"0\" Y=\"3\" DeltaX=\"{steps}\">4851</TextCode></TextObject>"
            )
        };
        assert_eq!(laid_out(&object("g 3 2")), "4851\n");
        assert_eq!(laid_out(&object("2 9 2")), "48\t51\n");
        assert_eq!(laid_out(&object("g 99999999999 2 x g")), "4851\n");
    }

    #[test]
    fn words_stand_in_the_order_of_their_places() {
        let object = |x: f64, y: f64, text: &str| {
            format!("<TextObject Boundary=\"{x} {y} 9 9\" Size=\"4\"><TextCode>{text}</TextCode></TextObject>")
        };
        let page = [object(50.0, 20.3, "b"), object(2.0, 40.0, "c"), object(2.0, 20.0, "a")].concat();
        assert_eq!(laid_out(&page), "a\tb\nc\n");
        assert_eq!(laid_out(&[object(2.0, 2.0, "4"), object(4.0, 2.0, "8")].concat()), "48\n");
    }

    #[test]
    fn what_is_broken_is_read_as_far_as_it_goes() {
        for broken in ["<TextObject", "<TextObject><TextCode X=\"nan\" DeltaX=\"g\">1", "<TextCode>1</TextCode></p>"] {
            let _ = laid_out(broken);
        }
    }
}
