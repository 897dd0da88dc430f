//! `ferry verify` over a folder of many small bundles, and what a signature of each suite costs by itself.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use protocol::Suite;
use protocol::keys::SigningKey;

use super::{children_cpu_s, own_cpu_s};
use crate::papers::Noise;
use crate::seals::{Content, Seals};

const BUNDLES: u64 = 10_000;
const BUNDLE_BYTES: usize = 50 * 1024;
const SIGNATURES: u32 = 2_000;

/// Prints the rows.
pub fn run(root: &Path) -> io::Result<()> {
    let ferry = std::env::current_exe()?.with_file_name("ferry");
    for suite in Suite::ALL {
        let (sign_us, verify_us) = signatures(suite)?;
        println!("| one signature, `{suite}` | made in {sign_us:.0} us, verified in {verify_us:.0} us of CPU | |");
        let (bundles, trust) = (root.join("bundles"), root.join("trust"));
        make(suite, &bundles, &trust)?;
        let (began, before) = (Instant::now(), children_cpu_s());
        let mut verify = Command::new(&ferry);
        verify.args(["verify", "--brief", "--trust"]).arg(&trust).arg(&bundles).stdout(Stdio::null());
        if !verify.status()?.success() {
            return Err(io::Error::other("ferry verify did not accept what was just sealed"));
        }
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), children_cpu_s() - before);
        let signatures = 3.0 * BUNDLES as f64 * verify_us / 1e6;
        println!(
            "| `ferry verify` of {BUNDLES} bundles of 50 KiB, `{suite}` | {seconds:.1} s, {cpu:.1} CPU s | their three signatures each: {signatures:.1} CPU s |"
        );
        fs::remove_dir_all(root)?;
    }
    Ok(())
}

fn make(suite: Suite, bundles: &Path, trust: &Path) -> io::Result<()> {
    fs::create_dir_all(bundles)?;
    fs::create_dir_all(trust)?;
    let seals = Seals::new(suite)?;
    fs::write(trust.join("internet.pub.pem"), seals.card())?;
    let mut noise = Noise::new(5);
    for number in 0..BUNDLES {
        let content = noise.bytes(BUNDLE_BYTES);
        let facts = Content::inspect(suite, &mut content.as_slice())?;
        let mut bundle = Vec::with_capacity(BUNDLE_BYTES + 8 * 1024);
        seals.seal(number, facts, content.as_slice(), &mut bundle)?;
        fs::write(bundles.join(format!("{number}.bundle")), bundle)?;
    }
    Ok(())
}

/// Microseconds of CPU to make one and to verify one.
fn signatures(suite: Suite) -> io::Result<(f64, f64)> {
    let key = SigningKey::generate(suite);
    let public = key.public();
    let each = |before: f64| (own_cpu_s() - before) / f64::from(SIGNATURES) * 1e6;
    let before = own_cpu_s();
    let made: Vec<Vec<u8>> = (0..SIGNATURES).map(|number| key.sign(&number.to_be_bytes())).collect();
    let sign_us = each(before);
    let before = own_cpu_s();
    for (number, signature) in (0..SIGNATURES).zip(&made) {
        public.verify(&number.to_be_bytes(), signature).map_err(io::Error::other)?;
    }
    Ok((sign_us, each(before)))
}
