//! How ferry speaks: in one of two languages, to a person or to a script, with a bar for what takes long.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The language of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Language {
    /// English.
    En,
    /// 中文.
    Zh,
}

impl Language {
    /// The language of the session: the first of `LC_ALL`, `LC_MESSAGES`, `LANG` that says anything.
    pub(crate) fn of_session() -> Language {
        let said = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|v| !v.is_empty());
        if said.is_some_and(|v| v.starts_with("zh")) { Language::Zh } else { Language::En }
    }

    /// One of two sentences.
    pub(crate) fn pick<T>(self, en: T, zh: T) -> T {
        match self {
            Language::En => en,
            Language::Zh => zh,
        }
    }
}

/// A sentence in the language of a [`Voice`] or [`Language`]: `say!(language, "{n} files", "{n} 个文件")`.
macro_rules! say {
    ($language:expr, $en:literal, $zh:literal) => {
        match $language {
            $crate::words::Language::En => format!($en),
            $crate::words::Language::Zh => format!($zh),
        }
    };
}
pub(crate) use say;

/// Where the words go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Voice {
    /// In which language.
    pub(crate) language: Language,
    /// To a script: one JSON object a line on standard output, and no sentences.
    pub(crate) json: bool,
}

impl Voice {
    /// A line for people. A reader that went away is not our failure.
    pub(crate) fn line(&self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    /// A line for people that must not be overlooked; to standard error, so that it survives a pipe.
    /// To a script it is an object of its own there.
    pub(crate) fn warn(&self, text: &str) {
        let word = self.language.pick("warning", "警告");
        let _ = match self.json {
            true => writeln!(std::io::stderr(), "{}", serde_json::json!({"warning": text})),
            false => writeln!(std::io::stderr(), "{word}: {text}"),
        };
    }

    /// One object for scripts.
    pub(crate) fn object(&self, value: &serde_json::Value) {
        if self.json {
            let _ = writeln!(std::io::stdout(), "{value}");
        }
    }

    /// A bar over so many bytes; silent for scripts and pipes. Its seconds go on while its bytes stand: what was written is
    /// synced then, or what an earlier command left is looked at.
    pub(crate) fn bar(&self, bytes: u64, what: String) -> ProgressBar {
        self.shown(ProgressBar::new(bytes), BAR, what)
    }

    /// Does what takes long and cannot be counted, and says so with the seconds that went by; silent for scripts and pipes.
    pub(crate) fn during<T>(&self, what: &str, work: impl FnOnce() -> T) -> T {
        let line = self.shown(ProgressBar::new_spinner(), LINE, what.to_owned());
        let done = work();
        line.finish_and_clear();
        done
    }

    /// What is done while the daemon stages, takes in or records: up to half an hour for a full disc.
    pub(crate) fn waiting(&self) -> &'static str {
        self.language.pick("waiting for the node", "等待节点答复")
    }

    fn shown(&self, bar: ProgressBar, template: &str, what: String) -> ProgressBar {
        if self.json || !std::io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        dressed(bar, template, what)
    }
}

/// What is done, how much of it, how fast, for how long, and how long still.
const BAR: &str = "{msg} [{bar:32}] {bytes}/{total_bytes} {bytes_per_sec} {elapsed} {eta}";
/// What is done, and for how long.
const LINE: &str = "{msg} {elapsed}";

fn dressed(bar: ProgressBar, template: &str, what: String) -> ProgressBar {
    // A template that does not parse is our own mistake and costs only the looks.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(TICK);
    bar
}

/// Seconds are shown.
const TICK: Duration = Duration::from_secs(1);

/// A file name or word from outside, safe to print: control characters escaped, length bounded.
pub(crate) fn shown(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().chars().take(SHOWN_CHARS_MAX).flat_map(harmless).collect()
}

/// A line of a terminal and a little more; longer names are cut in messages.
const SHOWN_CHARS_MAX: usize = 160;

fn harmless(c: char) -> Vec<char> {
    // Right-to-left overrides turn "exe.txt" around on the screen.
    if c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
        c.escape_unicode().collect()
    } else {
        vec![c]
    }
}

/// Bytes as people write them.
pub(crate) fn size(bytes: u64) -> String {
    const STEPS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    STEPS.iter().find(|(_, step)| bytes >= *step).map_or_else(
        || format!("{bytes} B"),
        |(unit, step)| {
            let tenths = u128::from(bytes) * 10 / u128::from(*step);
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        },
    )
}

/// A digest in groups that two people can read to each other.
pub(crate) fn groups(digest: &protocol::suite::Digest) -> String {
    protocol::keys::fingerprint(digest)
}

/// The first groups of a key's fingerprint, enough to tell two keys apart in a table.
pub(crate) fn prefix(digest: &protocol::suite::Digest) -> String {
    groups(digest).chars().take(14).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn a_name_from_a_medium_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(shown(OsStr::new("a\u{1b}[2Jb\n")), "a\\u{1b}[2Jb\\u{a}");
        assert_eq!(shown(OsStr::new("\u{202e}txt.exe")), "\\u{202e}txt.exe");
        assert_eq!(shown(OsStr::new("权籍.xml")), "权籍.xml");
    }

    /// A terminal that keeps what is written.
    #[derive(Clone, Debug, Default)]
    struct Screen(std::sync::Arc<std::sync::Mutex<String>>);

    impl Screen {
        fn take(&self) -> String {
            std::mem::take(&mut self.0.lock().unwrap())
        }

        fn keep(&self, text: &str) -> std::io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl indicatif::TermLike for Screen {
        fn width(&self) -> u16 {
            120
        }
        fn move_cursor_up(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> std::io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> std::io::Result<()> {
            self.keep(text)
        }
        fn write_str(&self, text: &str) -> std::io::Result<()> {
            self.keep(text)
        }
        fn clear_line(&self) -> std::io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_shows_seconds_while_no_byte_moves_and_a_line_says_what_is_done() {
        let screen = Screen::default();
        let on_screen = || ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let bar = dressed(ProgressBar::with_draw_target(Some(3 << 20), on_screen()), BAR, "trip 17".to_owned());
        bar.inc(1 << 20);
        // The last one is drawn however soon it comes.
        bar.abandon();
        let said = screen.take();
        for part in ["trip 17 [", "1.00 MiB/3.00 MiB", "/s", " 0s"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        screen.take();
        let line = dressed(ProgressBar::with_draw_target(None, on_screen()), LINE, "waiting for the node".to_owned());
        line.abandon();
        assert!(screen.take().contains("waiting for the node 0s"));
    }

    #[test]
    fn bytes_are_shown_with_one_digit() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(25 << 30), "25.0 GiB");
    }
}
