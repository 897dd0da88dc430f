//! A page that fetches nothing: what the pages of a node have in common.

const STYLE: &str = "body{font:14px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1a202c}h1{font-size:1.5em}h2{font-size:1.1em;margin-top:2em}\
table{border-collapse:collapse}td,th{border:1px solid #cbd5e0;padding:.2em .6em;text-align:left;overflow-wrap:anywhere}td.n{text-align:right}.open{border:2px solid #c53030;padding:.5em 1em}.calm{border:2px solid #2f855a;padding:.5em 1em}\
svg{display:block;margin:.5em 0}svg text{font:11px sans-serif;fill:#4a5568}";

/// Text as XML and HTML both read it. Control characters, and those that turn a line around, are shown and not done.
pub(crate) fn text(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for c in words.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() && c != '\n' => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The head of a page, up to where its body begins. The title is text.
pub(crate) fn head(title: &str) -> String {
    let title = text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"zh\"><head><meta charset=\"utf-8\"/><title>{title}</title><style>{STYLE}</style></head><body>"
    )
}

/// The foot of a page.
pub(crate) const FOOT: &str = "</body></html>";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_leaves_its_place() {
        assert_eq!(text("<b a=\"1\">&"), "&lt;b a=&quot;1&quot;&gt;&amp;");
        assert_eq!(text("a\u{202e}b\u{1b}c\n"), "a\\u{202e}b\\u{1b}c\n");
        assert!(head("</title><script>").contains("<title>&lt;/title&gt;&lt;script&gt;</title>"));
    }
}
