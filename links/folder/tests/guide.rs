//! The tables of docs/folder-gate.md are what the code has, in both languages, and every trouble has its page.

use std::fs;
use std::path::Path;

use folder_link::{Settings, Trouble};

fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)).expect("the guide")
}

#[test]
fn the_guide_has_every_alarm_and_every_default_that_the_code_has() {
    let defaults = Settings::between(None, None);
    let rows = [
        format!("| `suffix` | `\"{}\"` |", defaults.suffix),
        format!("| `any_name` | `{}` |", defaults.any_name),
        format!("| `bytes_max` | `{}` |", defaults.bytes_max),
        format!("| `scan_ms` | `{}` |", defaults.scan_ms),
        format!("| `round_every_s` | `{}` |", defaults.round_every_s),
        format!("| `beacon_every_s` | `{}` |", defaults.beacon_every_s),
    ];
    let manual = page("operations.md");
    for name in ["folder-gate.md", "folder-gate.zh-CN.md"] {
        let text = page(name);
        for row in &rows {
            assert!(text.contains(row.as_str()), "{name} does not say {row}");
        }
        let told = text.lines().filter_map(|line| line.strip_prefix("| [`")?.split('`').next()).collect::<Vec<_>>();
        let codes: Vec<&str> = Trouble::ALL.iter().map(|trouble| trouble.code()).chain(["gaps"]).collect();
        assert_eq!(told, codes, "{name}");
    }
    for trouble in Trouble::ALL {
        let code = trouble.code();
        assert!(manual.contains(&format!("\n### {code}\n")), "no page for {code}");
    }
}
