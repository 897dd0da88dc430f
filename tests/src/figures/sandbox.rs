//! What the guard's worker processes cost: one parcel judged in this process, by a worker that is kept, and by one that
//! is started for it, as toward a lower zone.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Instant;

use guard::{Judgement, Moment, Question, Rules};
use protocol::{Crossing, Name, Suite};
use station::config::NameEncoding;
use station::drop::{self, Drop};
use station::sandbox::{Sandbox, Start};

use crate::papers;

/// Each row is the best of so many turns: whatever else the machine does only adds.
const TURNS: u32 = 5;

/// Prints the rows.
pub fn run(root: &Path) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let mut form = papers::application_form(1).into_bytes();
    form.resize(10 * 1024, b' ');
    let large: Vec<u8> = "业务 0001 已受理，材料齐全，请于三个工作日内领取。\n".repeat(1 << 16).into_bytes();
    let program = std::env::current_exe()?.with_file_name("intranet-node");
    let kept = Sandbox::started_by(Start { program: program.clone(), ..Start::default() });
    let began = Instant::now();
    let layers = kept.layers()?;
    println!(
        "| a worker, from nothing to its greeting | {:.1} ms; {} | |",
        began.elapsed().as_secs_f64() * 1e3,
        layers.map(|layers| layers.to_string()).unwrap_or_default()
    );
    for (what, name, bytes, parcels) in
        [("a form of 10 KiB", "form.json", form, 400), ("a text of some MiB", "text.txt", large, 4)]
    {
        let place = root.join(name);
        fs::write(&place, &bytes)?;
        let here = best(&Sandbox::in_process(), Crossing::InternetToExtranet, &place, parcels)?;
        let pooled = best(&kept, Crossing::InternetToExtranet, &place, parcels)?;
        let fresh = best(&kept, Crossing::ExtranetToInternet, &place, parcels)?;
        println!(
            "| {what} ({} bytes) read and judged, one thread | by a kept worker {pooled:.0} us, by a fresh one {fresh:.0} us | in this process {here:.0} us |",
            bytes.len()
        );
    }
    fs::remove_dir_all(root)
}

/// Microseconds a parcel.
fn best(sandbox: &Sandbox, crossing: Crossing, place: &Path, parcels: u32) -> io::Result<f64> {
    let text =
        format!("crossing = \"{crossing}\"\nversion = \"1\"\n[[type]]\nname = \"t\"\nkinds = [\"json\", \"txt\"]\n");
    let rules = Rules::parse(&text).map_err(io::Error::other)?;
    let types = [Name::new("t").map_err(io::Error::other)?];
    let question =
        Question { rules: &rules, suite: Suite::Std, moment: Moment::Intake, types: &types, stripped: false };
    let mut best = f64::MAX;
    for _ in 0..TURNS {
        let began = Instant::now();
        for _ in 0..parcels {
            let drop = Drop::read(place, NameEncoding::Utf8).map_err(io::Error::other)?;
            match drop::inspect(sandbox, None, &question, &[], drop).map_err(io::Error::other)? {
                Judgement::Released(_) => {}
                Judgement::Refused { reason, .. } => return Err(io::Error::other(format!("refused: {reason}"))),
                _ => return Err(io::Error::other("held")),
            }
        }
        best = best.min(began.elapsed().as_secs_f64() * 1e6 / f64::from(parcels));
    }
    Ok(best)
}
