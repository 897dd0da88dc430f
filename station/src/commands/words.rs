//! Where sentences leave the program: two languages, text or JSON, the same everywhere.

use serde_json::{Value, json};

/// The language of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Lang {
    /// From `--lang`, else from the environment.
    #[must_use]
    pub fn choose(asked: Option<&str>) -> Lang {
        let word = asked
            .map(str::to_owned)
            .or_else(|| std::env::var("LC_ALL").ok().filter(|v| !v.is_empty()))
            .or_else(|| std::env::var("LANG").ok());
        if word.is_some_and(|word| word.starts_with("zh")) { Lang::Zh } else { Lang::En }
    }
}

/// The program's voice.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    lang: Lang,
    json: bool,
}

impl Words {
    /// A voice.
    #[must_use]
    pub fn new(lang: Lang, json: bool) -> Words {
        Words { lang, json }
    }

    /// Is JSON asked for?
    #[must_use]
    pub fn json(&self) -> bool {
        self.json
    }

    /// The words of the language.
    #[must_use]
    pub fn pick<'a>(&self, en: &'a str, zh: &'a str) -> &'a str {
        match self.lang {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// A line for a person; with `--json` nothing, the result says it.
    #[expect(clippy::print_stdout, reason = "this is the program's voice")]
    pub fn say(&self, en: &str, zh: &str) {
        if !self.json {
            println!("{}", self.pick(en, zh));
        }
    }

    /// The result, as JSON or as text made by the caller.
    #[expect(clippy::print_stdout, reason = "this is the program's voice")]
    pub fn result(&self, value: &Value, text: impl FnOnce() -> String) {
        if self.json {
            println!("{value}");
        } else {
            println!("{}", text());
        }
    }

    /// What is wrong, with the evidence, and what to do.
    #[expect(clippy::print_stderr, reason = "this is the program's voice")]
    pub fn error(&self, what: &str, remedy_en: &str, remedy_zh: &str) {
        let remedy = self.pick(remedy_en, remedy_zh);
        if self.json {
            eprintln!("{}", json!({ "error": what, "remedy": remedy }));
        } else {
            eprintln!("{}: {what}\n  {}: {remedy}", self.pick("error", "错误"), self.pick("what to do", "处理办法"));
        }
    }
}
