//! The detector over files and folders: one JSON object a line on stdout, the speed on stderr.

use std::path::{Path, PathBuf};
use std::time::Instant;

fn main() -> std::io::Result<()> {
    let mut files = Vec::new();
    for argument in std::env::args_os().skip(1) {
        collect(Path::new(&argument), &mut files)?;
    }
    let mut bytes_total = 0_usize;
    let mut spent = std::time::Duration::ZERO;
    for path in files {
        let bytes = std::fs::read(&path)?;
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let start = Instant::now();
        let detection = guard::detect(&name, &bytes);
        let took = start.elapsed();
        spent += took;
        bytes_total += bytes.len();
        if took.as_millis() > 200 {
            eprintln!("slow: {} {} ms {} bytes", path.display(), took.as_millis(), bytes.len());
        }
        let findings: Vec<_> = detection
            .findings
            .iter()
            .map(|f| serde_json::json!({"rule": f.rule, "class": f.class.name(), "at": f.at, "sample": f.sample}))
            .collect();
        let path = path.to_string_lossy();
        println!("{}", serde_json::json!({"path": path, "verdict": detection.verdict.name(), "findings": findings}));
    }
    let megabytes = f64::from(u32::try_from(bytes_total / 1024).unwrap_or(u32::MAX)) / 1024.0;
    eprintln!("{megabytes:.1} MiB in {:.2} s: {:.0} MiB/s", spent.as_secs_f64(), megabytes / spent.as_secs_f64());
    Ok(())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            std::fs::read_dir(path)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
        entries.sort();
        for entry in entries {
            collect(&entry, files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}
