//! Inlets as they are found: names that no program expects, and directories with far more in them than belongs there.
//! Every drop comes to one end that its app is told of, and whatever is in order is taken in good time.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as a test does")]
#![allow(clippy::disallowed_methods, reason = "a test makes and removes files as an app or a person would")]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::office::{Office, OneWay, Wishes};
use tests::papers;
use tests::programs::{programs, repository};
use tests::world::ground;

/// Far above what any step here needs; a machine that is busy must not fail a test.
const STEP: Duration = Duration::from_secs(60);
/// Entries of an inlet that nobody cleans up.
const LITTER: usize = 200_000;
/// Drops in order among them.
const READY: usize = 5;
/// They are taken within this: a look at so many names costs a second or two on a slow machine, and there are a few.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// A node with such an inlet, in KiB.
const RSS_KIB_MAX: u64 = 200 * 1024;
/// Small files that an app drops at once.
const AT_ONCE: usize = 100_000;
const AT_ONCE_WITHIN: Duration = Duration::from_secs(20 * 60);

struct Site {
    office: Office,
    _folder: tempfile::TempDir,
}

impl Site {
    /// Two nodes; `own-files` waits for markers, `applications` takes GB18030 names where asked to.
    fn new(gb18030: bool) -> Site {
        let folder = tempfile::Builder::new().prefix("trilock-inlet-").tempdir_in(ground()).unwrap();
        let wishes = Wishes {
            suite: "std".to_owned(),
            one_way: OneWay::Folder,
            repository: repository(),
            programs: programs().to_owned(),
            round_every_s: 1,
        };
        let office = Office::found(folder.path(), wishes, Ok).unwrap();
        let config = fs::read_to_string(office.config("internet")).unwrap();
        let (before, after) = config.split_once("name = \"own-files\"").unwrap();
        let after = after.replacen("intake = \"rename\"", "intake = \"ready\"", 1);
        let mut config = format!("{before}name = \"own-files\"{after}");
        if gb18030 {
            config = config.replacen("name = \"applications\"", "name = \"applications\"\nnames = \"gb18030\"", 1);
        }
        fs::write(office.config("internet"), config).unwrap();
        Site { office, _folder: folder }
    }

    fn up(&mut self, node: &'static str) {
        let status = self.office.spool(node).join("status/status.json");
        self.office.start(node).unwrap();
        self.wait(&format!("{node} starts"), STEP, |_| status.exists().then_some(()));
    }

    fn wait<T>(&mut self, what: &str, within: Duration, so: impl FnMut(&Office) -> Option<T>) -> T {
        match self.office.await_that(within, so) {
            Some(found) => found,
            None => {
                let log = fs::read_to_string(self.office.root.join("internet/log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(8).collect();
                panic!("{what}: not so; fallen: {:?}; log {last:#?}", self.office.fallen())
            }
        }
    }

    fn drop_in(&self, route: &str, name: &OsStr, bytes: &[u8]) {
        let aside = self.office.root.join("aside");
        fs::write(&aside, bytes).unwrap();
        fs::rename(&aside, self.office.inlet("internet", route).join(name)).unwrap();
    }
}

/// The last state that notices name for a drop, byte for byte.
fn told(office: &Office, name: &OsStr) -> Option<(String, String)> {
    let folder = office.spool("internet").join("notices/applications");
    // What of a long name a notice's own name begins with.
    let head = &name.as_bytes()[..name.len().min(150)];
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let file = entry.file_name();
        let rest = file.as_bytes().strip_prefix(head);
        if rest.is_some_and(|rest| rest.starts_with(b".") || name.len() > 150) {
            let notice: Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
            let word = |key: &str| notice[key].as_str().unwrap_or_default().to_owned();
            return Some((word("state"), word("reason")));
        }
    }
    None
}

/// Drops each name, and a drop in order after them; gives what became of each: the state, and the name it was delivered
/// under.
fn ends(gb18030: bool, names: &[&[u8]]) -> BTreeMap<OsString, (String, Option<OsString>)> {
    let mut site = Site::new(gb18030);
    // All of them wait when the node comes up, so that it meets them at once and in its own order.
    let bytes_of = |number: usize| papers::application_form(u32::try_from(number).unwrap()).into_bytes();
    for (number, name) in names.iter().enumerate() {
        site.drop_in("applications", OsStr::from_bytes(name), &bytes_of(number));
    }
    site.up("internet");
    site.up("extranet");
    let last = OsStr::new("zz-in-order.json");
    site.drop_in("applications", last, &bytes_of(names.len()));
    let ended = |state: &str| ["delivered", "refused", "quarantined"].contains(&state);
    site.wait("a drop in order, behind them, is delivered", STEP, |office| {
        told(office, last).filter(|(state, _)| state == "delivered")
    });
    let mut ends = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        let name = OsStr::from_bytes(name);
        let (state, _) = site.wait(&format!("{name:?} comes to an end"), STEP, |office| {
            told(office, name).filter(|(state, _)| ended(state))
        });
        assert!(!site.office.inlet("internet", "applications").join(name).exists(), "{name:?} has left the inlet");
        let outlet =
            fs::read_dir(site.office.outlet("extranet", "applications")).unwrap().map(|entry| entry.unwrap().path());
        let found: Vec<_> =
            outlet.filter(|path| path.is_file() && fs::read(path).unwrap() == bytes_of(number)).collect();
        assert_eq!(found.len(), usize::from(state == "delivered"), "{name:?} is {state}: {found:?}");
        ends.insert(name.to_owned(), (state, found.first().and_then(|path| path.file_name()).map(OsStr::to_owned)));
    }
    ends
}

#[test]
fn a_name_that_nobody_expects_comes_to_an_end_and_holds_up_nothing() {
    let long_fits = [&[b'a'; 195][..], b".json"].concat();
    let long = [&[b'b'; 250][..], b".json"].concat();
    let delivered: [&[u8]; 8] = [
        b"-rf.json",
        b"--config=etc.json",
        "\u{2024}\u{2024}.json".as_bytes(),
        "\u{ff0e}\u{ff0e}\u{ff0f}etc.json".as_bytes(),
        b"a..%2f..%2fetc.json",
        b"  spaces  and 'quotes' \"double\" $(id) `id`;&|.json",
        "申请 与 附件.json".as_bytes(),
        &long_fits,
    ];
    let refused: [&[u8]; 9] = [
        // Read from right to left it ends in another suffix than it has.
        "invoice\u{202e}nosj.json".as_bytes(),
        // A device, where its consumer's system is Windows.
        b"CON.json",
        b"line\nbreak.json",
        b"bell\x07.json",
        b"\x1b[2J\x1b[31m.json",
        b"back\\..\\slash.json",
        // GBK on a route whose names are UTF-8, and bytes that are neither.
        b"\xc9\xea\xc7\xeb.json",
        b"\xff\xfe.json",
        &long,
    ];
    let ends = ends(false, &[&delivered[..], &refused[..]].concat());
    for (name, (state, under)) in &ends {
        println!("{name:?}: {state}, {under:?}");
        if delivered.contains(&name.as_bytes()) {
            assert_eq!((state.as_str(), under.as_ref()), ("delivered", Some(name)));
        } else {
            assert!(["refused", "quarantined"].contains(&state.as_str()), "{name:?} is {state}");
        }
    }
}

#[test]
fn gbk_names_are_read_where_the_route_says_so() {
    let (gbk, neither) = (b"\xc9\xea\xc7\xeb\xb1\xed.json".as_slice(), b"\xff\xfe.json".as_slice());
    let ends = ends(true, &[gbk, neither, b"plain.json"]);
    assert_eq!(ends[OsStr::from_bytes(gbk)], ("delivered".to_owned(), Some(OsString::from("申请表.json"))));
    assert_eq!(ends[OsStr::new("plain.json")].0, "delivered");
    assert!(ends[OsStr::from_bytes(neither)].1.is_none());
}

fn litter(folder: &Path, name: impl Fn(usize) -> OsString) {
    for number in 0..LITTER {
        File::create(folder.join(name(number))).unwrap();
    }
}

/// The most memory a daemon has had, in KiB.
fn rss_kib(office: &Office, node: &str) -> u64 {
    let pid = office.nodes[node].pid().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Ready drops among litter, once laid before it and once after it: a directory lists them in either order.
fn taken_among(route: &'static str, litter_name: impl Fn(usize) -> OsString) {
    let mut site = Site::new(false);
    let inlet = site.office.inlet("internet", route);
    let lay = |site: &Site, number: usize| {
        let name = format!("form-{number}.json");
        site.drop_in(route, OsStr::new(&name), papers::application_form(u32::try_from(number).unwrap()).as_bytes());
        if route == "own-files" {
            File::create(inlet.join(format!("{name}.ready"))).unwrap();
        }
        name
    };
    let mut names: Vec<String> = (0..READY).map(|number| lay(&site, number)).collect();
    litter(&inlet, litter_name);
    names.extend((READY..2 * READY).map(|number| lay(&site, number)));
    let began = Instant::now();
    site.up("internet");
    let up = began.elapsed();
    for name in &names {
        site.wait(&format!("{name} on {route} is taken"), TAKEN_WITHIN, |_| (!inlet.join(name).exists()).then_some(()));
    }
    let taken = began.elapsed();
    // And one that is dropped while the node looks through them.
    let began = Instant::now();
    let late = lay(&site, 2 * READY);
    site.wait(&format!("{late} is accepted"), TAKEN_WITHIN, |office| office.notice("internet", route, &late));
    let late = began.elapsed();
    for name in &names {
        site.wait(&format!("{name} on {route} is accepted"), STEP, |office| office.notice("internet", route, name));
    }
    let rss = rss_kib(&site.office, "internet");
    println!(
        "{LITTER} entries on {route}: up after {} ms, {} ready ones taken after {} ms, one more after {} ms; RSS at most {} MB",
        up.as_millis(),
        names.len(),
        taken.as_millis(),
        late.as_millis(),
        rss / 1024
    );
    assert!(rss <= RSS_KIB_MAX, "{rss} KiB");
}

#[test]
fn drops_are_found_among_two_hundred_thousand_files_that_never_become_ready() {
    taken_among("own-files", |number| OsString::from_vec(format!("left-{number:06}.tmp").into_bytes()));
}

#[test]
fn drops_are_found_among_two_hundred_thousand_files_that_are_ignored() {
    taken_among("applications", |number| OsString::from_vec(format!("~$left-{number:06}.docx").into_bytes()));
}

#[test]
fn a_hundred_thousand_small_files_dropped_at_once_are_all_accepted() {
    if std::env::var_os("TRILOCK_SOAK").is_none() {
        println!("SKIPPED: drops a hundred thousand files; set TRILOCK_SOAK=1");
        return;
    }
    let mut site = Site::new(false);
    let inlet = site.office.inlet("internet", "applications");
    for number in 0..AT_ONCE {
        let form = papers::application_form(u32::try_from(number).unwrap());
        fs::write(inlet.join(format!("form-{number:06}.json")), form).unwrap();
    }
    let began = Instant::now();
    site.up("internet");
    // `list` tells by the ledger; a notice a drop would be slower to read than to write.
    let accepted = |office: &Office| -> u64 {
        let status = fs::read(office.spool("internet").join("status/status.json")).unwrap_or_default();
        let status: Value = serde_json::from_slice(&status).unwrap_or_default();
        let rows = status["parcels"].as_array().cloned().unwrap_or_default();
        let of_route = rows.iter().filter(|row| row["route"] == "applications");
        assert!(of_route.clone().all(|row| ["accepted", "sent"].contains(&row["state"].as_str().unwrap())), "{rows:?}");
        of_route.filter_map(|row| row["count"].as_u64()).sum()
    };
    site.wait("all are accepted", AT_ONCE_WITHIN, |office| (accepted(office) == AT_ONCE as u64).then_some(()));
    let took = began.elapsed();
    let left = fs::read_dir(&inlet).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() != ".claimed").count();
    assert_eq!(left, 0);
    let rss = rss_kib(&site.office, "internet");
    println!(
        "{AT_ONCE} files at once: accepted in {:.1} s, {:.0} a second; RSS at most {} MB",
        took.as_secs_f64(),
        AT_ONCE as f64 / took.as_secs_f64(),
        rss / 1024
    );
    assert!(rss <= RSS_KIB_MAX, "{rss} KiB");
}
