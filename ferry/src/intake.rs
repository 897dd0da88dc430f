//! Intake: raw survey files from a medium into an inlet of the internal zone (离线提交权籍成果). Copies bytes and lists their
//! digests; parses nothing, and no file keeps the right to be run. An operator signs the listing, the node puts that on
//! record, and only then the drop appears: built aside in the inlet and renamed, so that the node sees it whole or not at all.
//! The node holds no drop against the listing: what it records is what the operator says.
//!
//! Why it may die anywhere: what was copied lies aside under the id of its request, which stands in the signature beside the
//! listing. Without a signature nobody was asked, and the next intake takes the folder away. With one, the same command goes
//! on: what lies aside is held against the signed listing, the same request is put again (the node records it once), and the
//! rename is the commit. Where nothing lies aside any more and the node's answer says done, the rename was done: the same
//! command holds the medium against what was signed, says so, and puts nothing there a second time. Run from another folder,
//! where none of its papers lie, the command asks anew, and the node knows the listing: what it has on record for this route
//! is not put there, unless the operator signs that it is wanted again.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use protocol::keys::random;
use protocol::parcel::{FILES_MAX, PATH_DEPTH_MAX, check_path};
use protocol::request::Request;
use protocol::suite::Digest;
use protocol::trust::Role;
use protocol::{Name, Signed, Suite, Zone};
use serde_json::json;
use spool::desk::{Answer, answer_name, request_name};
use spool::disk::Disk;

use crate::aside::{self, Aside, Left};
use crate::copying::{CopyError, room, write_error};
use crate::desk::{CARRY_WAIT_MS, DESK_FILE, DESK_FOLDER, Desk, DeskError, Paper, new_request};
use crate::folder::{self, Folder, FolderError, Kind};
use crate::keyfile::{KeyFileError, KeyFrom};
use crate::words::{Voice, say, shown, size};

/// Files are read in pieces of this.
const BUFFER_BYTES: usize = 1 << 20;
/// Files and folders that are looked at: each file of a parcel in a folder of its own. A medium of more is junk, and took
/// hours before that was said.
const SEEN_MAX: usize = 2 * FILES_MAX;
/// A signed request is some 600 bytes; a device's certificate is in none.
const SIGNATURE_BYTES_MAX: usize = 64 << 10;

/// What stops an intake.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    /// The operator's key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The node.
    #[error(transparent)]
    Desk(#[from] DeskError),
    /// A folder or file.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A file on its way.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Something that is not taken in.
    #[error("{} is a {what}; only files and folders are taken in", path.display())]
    NotTaken { path: PathBuf, what: &'static str },
    /// A name that cannot travel.
    #[error("{path} {cause}")]
    BadName { path: String, cause: &'static str },
    /// More than a parcel holds.
    #[error("{} holds more than {FILES_MAX} files, the most of one parcel, or more than {SEEN_MAX} files and folders", path.display())]
    TooMany { path: PathBuf },
    /// No inlet there.
    #[error("there is no inlet at {}", path.display())]
    NoInlet { path: PathBuf },
    /// There is one of that name.
    #[error("{} is in the inlet already", path.display())]
    Exists { path: PathBuf, what: Standing },
    /// Only in the internal zone.
    #[error("{node} is a node of the {zone}; survey files are taken in inside the internal zone alone")]
    Zone { node: Name, zone: Zone },
    /// Who is no operator.
    #[error("{holder} is {role}; survey files are taken in by an operator")]
    Role { holder: Name, role: Role },
    /// What an earlier intake left is proof of it.
    #[error("{} is there already", path.display())]
    OldListing { path: PathBuf },
    /// The papers of the first time stay, also where it is wanted again.
    #[error("{} is there already, of an earlier intake of this name", path.display())]
    FirstListing { path: PathBuf },
    /// What lies in an inlet becomes a parcel.
    #[error("the listing {} would lie in an inlet", path.display())]
    ListingInInlet { path: PathBuf },
    /// Signed and asked before, and nothing says any more what became of it.
    #[error("{} was signed before for the same content, and the node's answer to request {request} is not there", listing.display())]
    Unknown { listing: PathBuf, request: Digest },
    /// Another intake was signed and is not in its place: what it copied may be this very content.
    #[error("{} was signed and is not in its place", aside.display())]
    Stuck { aside: PathBuf, request: Digest, name: Option<String>, on_record: bool },
    /// Asked, and nobody knows the answer.
    #[error("request {request} was not answered ({cause}); what was copied stays in {}", aside.display())]
    Unanswered { request: Digest, aside: PathBuf, place: PathBuf, cause: Box<DeskError> },
    /// On record, and not in its place.
    #[error("the intake is on record, and {} could not become {}: {cause}", aside.display(), place.display())]
    NotLaid { aside: PathBuf, place: PathBuf, cause: std::io::Error },
    /// In its place, without the marker that this inlet waits for.
    #[error("the drop {} is in its place, and its marker {} could not be laid: {cause}", place.display(), marker.display())]
    NotMarked { place: PathBuf, marker: PathBuf, cause: std::io::Error },
    /// Another command works on the very same intake.
    #[error("another command is at work on {}", place.display())]
    Running { place: PathBuf },
    /// What lies aside is not what was signed.
    #[error("{} is not what the operator signed in {}", aside.display(), listing.display())]
    NotSigned { aside: PathBuf, listing: PathBuf },
    /// It changed under our hands.
    #[error("{} had {stated} bytes and gave {found}", path.display())]
    Changed { path: PathBuf, stated: u64, found: u64 },
}

/// What stands where the drop would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Something else of the same name.
    Other,
    /// What is on the medium.
    Same,
    /// Something else, in the way of an intake that was signed before.
    InTheWay,
}

/// `ferry intake`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Intake {
    /// The folder on the medium that becomes one parcel
    #[arg(value_name = "FOLDER", required_unless_present = "medium")]
    pub(crate) from: Option<PathBuf>,
    /// The same, named: the whole medium, or a folder on it
    #[arg(long, value_name = "DIR", conflicts_with = "from")]
    pub(crate) medium: Option<PathBuf>,
    /// The inlet folder itself
    #[arg(long, value_name = "DIR", required_unless_present = "route", conflicts_with = "route")]
    pub(crate) inlet: Option<PathBuf>,
    /// Or the route whose inlet it is
    #[arg(long, value_name = "ROUTE")]
    pub(crate) route: Option<protocol::Name>,
    /// The node's spool
    #[arg(long, value_name = "DIR")]
    pub(crate) spool: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// The parcel's name; by default the folder's
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Where the listing of digests goes; by default intake-<name>.sha256 here; the operator's signature in the same name with
    /// .sig behind it. Both stay in this zone
    #[arg(long, value_name = "FILE")]
    pub(crate) listing: Option<PathBuf>,
    /// Take it in although the node has the very same files on record for this route: signed, and on record
    #[arg(long)]
    pub(crate) again: bool,
}

/// The action of a request, and its word where files are wanted a second time.
const AGAIN: &str = "again";
const AGAIN_YES: &str = "yes";
/// How a node answers that has the same files on record.
const TAKEN_IN: &str = "taken-in";

/// What is told of an intake that came to its end.
#[derive(Clone, Copy)]
enum End<'a> {
    /// Now.
    Now,
    /// An earlier command brought it there; its papers are here.
    Before,
    /// The node has the same files on record, by an intake whose papers are elsewhere.
    OnRecord(&'a Answer),
}

struct Found {
    path: String,
    bytes: u64,
}

impl Intake {
    /// What becomes one parcel.
    pub(crate) fn source(&self) -> &PathBuf {
        self.from.as_ref().or(self.medium.as_ref()).expect("the command line was not accepted without one of them")
    }

    /// Looks through, copies, has it signed and put on record, renames.
    pub(crate) fn run(&self, voice: Voice) -> Result<(), IntakeError> {
        let language = voice.language;
        let source = Folder::open(self.source())?;
        let name = self.drop_name()?;
        let desk = Desk::open(self.spool.as_deref())?;
        if desk.zone != Zone::Intranet {
            return Err(IntakeError::Zone { node: desk.node, zone: desk.zone });
        }
        let (route, inlet) = self.inlet(&desk)?;
        let place = inlet.join(&name);
        let listing = self.listing.clone().unwrap_or_else(|| PathBuf::from(format!("intake-{name}.sha256")));
        let papers = [listing.clone(), signature_of(&listing)];
        let disk = Disk::real();
        stays_out(&listing, &inlet)?;
        if let Some((paper, request, aside)) = begun(&name, &route, &inlet, &place, &papers)? {
            return finish(voice, &desk, &disk, (&paper, &request), aside, &place, &papers);
        }
        if ended(voice, &desk, &disk, &source, (&name, &route, self.again), &place, &papers)? {
            return Ok(());
        }
        nothing_is_stuck(&desk, &disk, &inlet)?;
        put_aside_unused(voice, &desk, (&name, &route), &papers)?;
        if is_there(&place) {
            let what = if same(voice, &source, &place) { Standing::Same } else { Standing::Other };
            return Err(IntakeError::Exists { path: place, what });
        }
        are_free(&place, &papers)?;
        // Not before: what was signed and not yet set belongs to the same command again.
        aside::sweep(&disk, &inlet);
        let mut files = Vec::new();
        let looking = language.pick("looking through the medium", "清点介质内容");
        voice.during(looking, || look(&source, "", 0, &mut 0, &mut files))?;
        let total = files.iter().map(|file| file.bytes).sum();
        room(&disk, &inlet, total)?;
        let person = self.key.open(language.pick("passphrase", "口令"))?;
        if person.card.role != Role::Operator {
            return Err(IntakeError::Role { holder: person.card.holder, role: person.card.role });
        }
        let id = new_request();
        let mut aside = Aside::begin(&disk, &inlet, &id)?;
        let bar = voice.bar(total, name.clone());
        let copied = copy_all(&disk, &source, &files, aside.path(), &bar);
        bar.finish_and_clear();
        let written = copied.and_then(|digests| {
            let text = listing_of(&files, &digests);
            let mut arguments = vec![
                ("name", name.clone()),
                ("route", route.to_string()),
                ("listing", Suite::Std.digest(text.as_bytes()).to_string()),
                ("files", files.len().to_string()),
                ("bytes", total.to_string()),
            ];
            arguments.extend(self.again.then(|| (AGAIN, AGAIN_YES.to_owned())));
            // The time of the asking: a large medium is copied for longer than a request is believed.
            let paper = desk.sign_as(id, &person, "intake", &arguments, crate::now())?;
            are_free(&place, &papers)?;
            // The signature first: it says under which name the folder lies.
            write_paper(&disk, &papers[1], &paper.bytes)?;
            let laid = aside.keep(&disk).map_err(IntakeError::from);
            let laid = laid.and_then(|()| write_paper(&disk, &papers[0], text.as_bytes()));
            laid.inspect_err(|_| drop(disk.remove_file(&papers[1])))?;
            Ok((digests, paper))
        });
        let (digests, paper) = written.inspect_err(|_| forget(&disk, aside.path(), &[]))?;
        let known = voice.during(voice.waiting(), || put(&desk, &disk, &paper, &aside, &place, (&papers, false)))?;
        let end = known.as_deref().map_or(End::Now, End::OnRecord);
        tell(voice, &place, &papers, &person.card.holder, (&files, &digests), end);
        Ok(())
    }
}

/// The same intake, with nothing aside any more: the answer of the node says whether it came to its end. Where it did, what
/// is on the medium is held against what was signed: other content under the same name was not taken in.
fn ended(
    voice: Voice,
    desk: &Desk,
    disk: &Disk,
    source: &Folder,
    (name, route, again): (&str, &Name, bool),
    place: &Path,
    papers: &[PathBuf; 2],
) -> Result<bool, IntakeError> {
    if !is_there(&papers[1]) {
        return Ok(false);
    }
    let Some((_, request)) = signed_before(name, route, &papers[1])? else { return Ok(false) };
    // Who wants it a second time is not told that it is there: its papers need another place.
    if again && request.argument(AGAIN).is_none() {
        return Err(IntakeError::FirstListing { path: papers[1].clone() });
    }
    let answer = desk.answered(&request.id)?;
    match &answer {
        // It died while it took back what was refused: nothing of it is on record.
        Some(answer) if !answer.done && answer.code != "too-old" => {
            for path in papers {
                disk.remove_file(path).or_else(passed_over).map_err(|cause| write_error(path, cause))?;
            }
            return Ok(false);
        }
        None if !is_there(&papers[0]) => return Ok(false),
        _ => {}
    }
    let (files, digests) = read_all(voice, source, voice.language.pick("reading the medium", "读取介质内容"))?;
    let text = listing_of(&files, &digests);
    if request.argument("listing") != Some(&Suite::Std.digest(text.as_bytes()).to_string()) {
        return Err(IntakeError::OldListing { path: papers[0].clone() });
    }
    if !answer.as_ref().is_some_and(|answer| answer.done) {
        return Err(IntakeError::Unknown { listing: papers[0].clone(), request: request.id });
    }
    if !is_there(&papers[0]) {
        write_paper(disk, &papers[0], text.as_bytes())?;
    }
    // It died between its rename and its marker. Where the node has taken the drop, a marker would wait for another one.
    if let Some(marker) = answer.as_ref().and_then(|answer| marker_of(answer, place))
        && is_there(place)
        && !is_there(&marker)
    {
        lay_marker(disk, place, &marker)?;
    }
    tell(voice, place, papers, &request.person, (&files, &digests), End::Before);
    Ok(true)
}

/// An intake of which the papers lie elsewhere is not passed by: what is taken in beside it may be the same content, and its
/// own raw copy would stay in the inlet, seen by nobody.
fn nothing_is_stuck(desk: &Desk, disk: &Disk, inlet: &Path) -> Result<(), IntakeError> {
    let Some((request, aside)) = aside::stuck(inlet) else { return Ok(()) };
    // It died while it took back what the node has on record already.
    if desk.answered(&request)?.is_some_and(|answer| answer.code == TAKEN_IN)
        && let Left::Here(left) = Aside::left(inlet, &request)
    {
        disk.remove_tree(left.path()).map_err(|cause| write_error(left.path(), cause))?;
        return nothing_is_stuck(desk, disk, inlet);
    }
    let asked = desk.layout.desk_requests().join(request_name(&request));
    let bytes = folder::read_file(&asked, SIGNATURE_BYTES_MAX).ok();
    let said = bytes.and_then(|bytes| Signed::parse::<Request>(&bytes).ok()?.read_unverified::<Request>().ok());
    let name = said.and_then(|said| said.argument("name").filter(|name| check_path(name).is_ok()).map(str::to_owned));
    let on_record = desk.answered(&request)?.is_some_and(|answer| answer.done);
    Err(IntakeError::Stuck { aside, request, name, on_record })
}

fn passed_over(cause: std::io::Error) -> std::io::Result<()> {
    if cause.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(cause) }
}

/// Does a drop that stands in the inlet hold what is on the medium? One that the node takes meanwhile is not known to.
fn same(voice: Voice, source: &Folder, place: &Path) -> bool {
    let listed = |folder: &Folder| {
        let mut files = Vec::new();
        look(folder, "", 0, &mut 0, &mut files).ok().map(|()| files)
    };
    let Ok(drop) = Folder::open(place) else { return false };
    let (Some(here), Some(there)) = (listed(source), listed(&drop)) else { return false };
    let facts = |files: &[Found]| files.iter().map(|file| (file.path.clone(), file.bytes)).collect::<Vec<_>>();
    let what = voice.language.pick("comparing with the inlet", "与投递口内容比对");
    let read = |folder: &Folder| read_all(voice, folder, what).ok().map(|(files, sums)| listing_of(&files, &sums));
    facts(&here) == facts(&there) && read(source).is_some_and(|text| read(&drop) == Some(text))
}

/// Every file below a folder, and its digest.
fn read_all(voice: Voice, folder: &Folder, what: &'static str) -> Result<(Vec<Found>, Vec<Digest>), IntakeError> {
    let mut files = Vec::new();
    look(folder, "", 0, &mut 0, &mut files)?;
    let bar = voice.bar(files.iter().map(|file| file.bytes).sum(), what.to_owned());
    let read = |file: &Found| sum(folder, &file.path).inspect(|_| bar.inc(file.bytes));
    let digests = files.iter().map(read).collect::<Result<Vec<_>, _>>();
    bar.finish_and_clear();
    Ok((files, digests?))
}

/// The signature of this intake, without its listing and with nothing aside: it died before its folder was set, and another
/// intake swept that. Nobody was asked with it, for a listing lies there by then; it is kept under another name all the same.
fn put_aside_unused(
    voice: Voice,
    desk: &Desk,
    (name, route): (&str, &Name),
    papers: &[PathBuf; 2],
) -> Result<(), IntakeError> {
    let [listing, signature] = papers;
    if is_there(listing) || !is_there(signature) {
        return Ok(());
    }
    let Some((_, request)) = signed_before(name, route, signature)? else { return Ok(()) };
    let asked = desk.layout.desk_requests().join(request_name(&request.id));
    if is_there(&asked) || is_there(&desk.layout.desk_answers().join(answer_name(&request.id))) {
        return Ok(());
    }
    let mut unused = signature.as_os_str().to_owned();
    unused.push(format!(".unused-{}", request.id.to_string().chars().take(12).collect::<String>()));
    let unused = PathBuf::from(unused);
    Disk::real().rename_new(signature, &unused).map_err(|cause| write_error(&unused, cause))?;
    let shown = shown(unused.as_os_str());
    voice.warn(&say!(
        voice.language,
        "an intake of this name was signed and interrupted, and what it had copied was cleared away since; it begins anew. Its signature is {shown} now: keep it",
        "同名提交签名后中断，已复制内容其后被清除，现重新开始。原签名已改名为 {shown}，请保存"
    ));
    Ok(())
}

/// The request that lies signed beside a listing, where it is of the same intake.
fn signed_before(name: &str, route: &Name, signature: &Path) -> Result<Option<(Vec<u8>, Request)>, IntakeError> {
    let bytes = folder::read_file(signature, SIGNATURE_BYTES_MAX)?;
    let request = Signed::parse::<Request>(&bytes).and_then(|signed| signed.read_unverified::<Request>());
    let same = |request: &Request| {
        let is = |word: &str, wanted: &str| request.argument(word) == Some(wanted);
        request.action.as_str() == "intake" && is("name", name) && is("route", route.as_str())
    };
    Ok(request.ok().filter(same).map(|request| (bytes, request)))
}

/// The intake of this name and listing that died after it was signed.
fn begun(
    name: &str,
    route: &Name,
    inlet: &Path,
    place: &Path,
    papers: &[PathBuf; 2],
) -> Result<Option<(Paper, Request, Aside)>, IntakeError> {
    if !is_there(&papers[1]) {
        return Ok(None);
    }
    let Some((bytes, request)) = signed_before(name, route, &papers[1])? else { return Ok(None) };
    match Aside::left(inlet, &request.id) {
        Left::Nothing => Ok(None),
        Left::Held => Err(IntakeError::Running { place: place.to_owned() }),
        Left::Here(_) if is_there(place) => {
            Err(IntakeError::Exists { path: place.to_owned(), what: Standing::InTheWay })
        }
        Left::Here(aside) => Ok(Some((Paper { id: request.id, bytes }, request, aside))),
    }
}

/// Goes on where an intake died: what lies aside is what was signed, or it does not appear.
fn finish(
    voice: Voice,
    desk: &Desk,
    disk: &Disk,
    (paper, request): (&Paper, &Request),
    mut aside: Aside,
    place: &Path,
    papers: &[PathBuf; 2],
) -> Result<(), IntakeError> {
    let copied = Folder::open(aside.path())?;
    let reading = voice.language.pick("reading back what was copied", "回读已复制内容");
    let (files, digests) = read_all(voice, &copied, reading)?;
    let text = listing_of(&files, &digests);
    let stands = || folder::read_file(&papers[0], text.len()).is_ok_and(|bytes| bytes == text.as_bytes());
    let signed = request.argument("listing") == Some(&Suite::Std.digest(text.as_bytes()).to_string());
    if !signed || (is_there(&papers[0]) && !stands()) {
        return Err(IntakeError::NotSigned { aside: aside.path().to_owned(), listing: papers[0].clone() });
    }
    aside.keep(disk)?;
    if !is_there(&papers[0]) {
        write_paper(disk, &papers[0], text.as_bytes())?;
    }
    let known = voice.during(voice.waiting(), || put(desk, disk, paper, &aside, place, (papers, true)))?;
    let end = known.as_deref().map_or(End::Now, End::OnRecord);
    tell(voice, place, papers, &request.person, (&files, &digests), end);
    Ok(())
}

/// A line for each file, as `sha256sum` writes them.
fn listing_of(files: &[Found], digests: &[Digest]) -> String {
    files.iter().zip(digests).map(|(file, digest)| format!("{digest}  {}\n", file.path)).collect()
}

/// A file below a folder; no part of the way is a link.
fn sum(top: &Folder, path: &str) -> Result<Digest, FolderError> {
    match path.split_once('/') {
        Some((folder, rest)) => sum(&top.sub(folder)?, rest),
        None => top.sum(path),
    }
}

fn tell(
    voice: Voice,
    place: &Path,
    papers: &[PathBuf; 2],
    who: &Name,
    (files, digests): (&[Found], &[Digest]),
    end: End<'_>,
) {
    let (language, total) = (voice.language, files.iter().map(|file| file.bytes).sum());
    let (count, amount, to, list) = (files.len(), size(total), place.display(), papers[0].display());
    let [listing, signature] = papers;
    let (here, earlier) = match end {
        End::OnRecord(answer) => (None, answer.details.get("earlier")),
        End::Now | End::Before => (Some((listing, signature)), None),
    };
    voice.object(&json!({
        "code": TAKEN_IN, "inlet": place, "listing": here.map(|papers| papers.0), "signature": here.map(|papers| papers.1), "operator": who, "bytes": total,
        "before": !matches!(end, End::Now), "earlier": earlier,
        "files": files.iter().zip(digests).map(|(f, d)| json!({"path": f.path, "bytes": f.bytes, "sha256": d.to_string()})).collect::<Vec<_>>(),
    }));
    if let End::OnRecord(answer) = end {
        let what = language.pick(&answer.message_en, &answer.message_zh);
        voice.line(&say!(
            language,
            "already taken in: {what}. Nothing was put into the inlet",
            "此前已提交：{what}。未放入投递口"
        ));
        let remedy = answer.details.get(language.pick("remedy_en", "remedy_zh")).and_then(serde_json::Value::as_str);
        remedy.inspect(|remedy| voice.line(remedy));
        return;
    }
    if matches!(end, End::Before) {
        voice.line(&say!(
            language,
            "already taken in: what is on the medium was signed, is on record and went into the inlet before. Do nothing; do not take it in under another name",
            "此前已提交：介质内容已签名、已登记并已放入投递口。无需操作，请勿换名再次提交"
        ));
    }
    voice.line(&say!(language, "{count} files, {amount} -> {to}", "{count} 个文件，{amount} -> {to}"));
    voice.line(&say!(language, "digests  {list}  (keep it inside this zone)", "摘要清单  {list}（不得离开本区）"));
    voice.line(&say!(
        language,
        "signed   by {who}, on record at the node; the signature lies beside the listing (.sig)",
        "签名  {who}，节点已登记；签名文件与清单同处（.sig）"
    ));
    voice.line(language.pick(
        "         what is on record is what the operator signed; the node does not compare the drop with the listing",
        "      登记的是操作员签署的内容；节点不将投递件与清单逐一比对",
    ));
    voice.line(
        language
            .pick("The node takes it from here; its notice tells what became of it.", "节点将接手处理；结果见通知。"),
    );
}

impl Intake {
    /// What the drop, and so the parcel, is called.
    fn drop_name(&self) -> Result<String, IntakeError> {
        let own = || self.source().canonicalize().ok()?.file_name()?.to_str().map(str::to_owned);
        let name = self.name.clone().or_else(own).unwrap_or_default();
        let bad = |cause| IntakeError::BadName { path: shown(name.as_ref()), cause };
        check_path(&name).map_err(bad)?;
        if name.contains('/') || name.starts_with('.') { Err(bad("cannot be the name of a drop")) } else { Ok(name) }
    }

    /// The route, and its inlet in the node's spool. A folder that was named instead must be one of those: the node looks
    /// into no other.
    fn inlet(&self, desk: &Desk) -> Result<(Name, PathBuf), IntakeError> {
        let none = |path: &Path| IntakeError::NoInlet { path: path.to_owned() };
        let named = self.inlet.as_deref().unwrap_or(Path::new(""));
        let meant = || {
            let real = named.canonicalize().ok()?;
            let route = Name::new(real.file_name()?.to_str()?).ok()?;
            (desk.layout.inlet(&route).canonicalize().ok()? == real).then_some(route)
        };
        let route = self.route.clone().or_else(meant).ok_or_else(|| none(named))?;
        let inlet = desk.layout.inlet(&route);
        if inlet.is_dir() { Ok((route, inlet)) } else { Err(none(&inlet)) }
    }
}

/// Asks, and lets the drop appear. Only where the node was not asked, or said no, does what was copied go. Gives the node's
/// answer where it has the same files on record.
fn put(
    desk: &Desk,
    disk: &Disk,
    paper: &Paper,
    aside: &Aside,
    place: &Path,
    (papers, again): (&[PathBuf; 2], bool),
) -> Result<Option<Box<Answer>>, IntakeError> {
    let aside = aside.path();
    use spool::desk::DeskError::CannotAsk;
    match desk.put(paper, CARRY_WAIT_MS) {
        Ok(answer) => {
            let not_laid = |cause| IntakeError::NotLaid { aside: aside.to_owned(), place: place.to_owned(), cause };
            disk.rename_new(aside, place).map_err(not_laid)?;
            marker_of(&answer, place).map_or(Ok(()), |marker| lay_marker(disk, place, &marker))?;
            Ok(None)
        }
        Err(DeskError::Refused(answer)) if answer.code == TAKEN_IN => {
            forget(disk, aside, papers);
            Ok(Some(answer))
        }
        // An earlier run may have asked: a request that is too old by now may be on record all the same.
        Err(no @ (DeskError::Refused(_) | DeskError::Ask(CannotAsk { .. }))) if may_forget(&no, again) => {
            forget(disk, aside, papers);
            Err(no.into())
        }
        Err(cause) => Err(IntakeError::Unanswered {
            request: paper.id,
            aside: aside.to_owned(),
            place: place.to_owned(),
            cause: Box::new(cause),
        }),
    }
}

/// The marker that the node's inlet waits for behind a drop, where it says that it does.
fn marker_of(answer: &Answer, place: &Path) -> Option<PathBuf> {
    let suffix = answer.details.get("marker").and_then(serde_json::Value::as_str)?;
    let mut name = place.file_name()?.to_str()?.to_owned();
    name.push_str(suffix);
    (!name.contains('/') && check_path(&name).is_ok()).then(|| place.with_file_name(name))
}

/// After the drop, and a new file each time: the node does not believe a marker that stood before its drop.
fn lay_marker(disk: &Disk, place: &Path, marker: &Path) -> Result<(), IntakeError> {
    let aside = marker.with_file_name(format!(".tmp-ferry-{}", hex(&random::<6>())));
    let laid = disk.write(&aside, b"").and_then(|()| disk.set_mode(&aside, DESK_FILE));
    laid.and_then(|()| disk.rename(&aside, marker)).map_err(|cause| {
        let _gone = disk.remove_file(&aside);
        IntakeError::NotMarked { place: place.to_owned(), marker: marker.to_owned(), cause }
    })
}

fn may_forget(no: &DeskError, again: bool) -> bool {
    match no {
        // On a first run nothing can be on record.
        DeskError::Refused(answer) => !again || answer.code != "too-old",
        _ => !again,
    }
}

/// Takes back what was written; that it cannot be removed is the lesser evil.
fn forget(disk: &Disk, aside: &Path, papers: &[PathBuf]) {
    let _gone = disk.remove_tree(aside);
    for path in papers {
        let _gone = disk.remove_file(path);
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Neither the drop nor its papers may stand in the place of earlier ones.
fn are_free(place: &Path, papers: &[PathBuf]) -> Result<(), IntakeError> {
    if is_there(place) {
        return Err(IntakeError::Exists { path: place.to_owned(), what: Standing::Other });
    }
    match papers.iter().find(|path| is_there(path)) {
        Some(path) => Err(IntakeError::OldListing { path: path.clone() }),
        None => Ok(()),
    }
}

/// The listing lies in no inlet: the node would take it for a drop.
fn stays_out(listing: &Path, inlet: &Path) -> Result<(), IntakeError> {
    let above = listing.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let above = above.canonicalize().map_err(|cause| write_error(listing, cause))?;
    let inlets = inlet.parent().unwrap_or(inlet);
    let inlets = inlets.canonicalize().map_err(|cause| write_error(inlets, cause))?;
    if above.starts_with(inlets) {
        return Err(IntakeError::ListingInInlet { path: listing.to_owned() });
    }
    Ok(())
}

/// Lays a paper down, and never over another.
fn write_paper(disk: &Disk, path: &Path, bytes: &[u8]) -> Result<(), IntakeError> {
    // No name that anybody has: it goes where the disk fails.
    let aside = path.with_file_name(format!(".tmp-ferry-{}", hex(&random::<6>())));
    let laid = disk.write(&aside, bytes).and_then(|()| disk.rename_new(&aside, path));
    Ok(laid.map_err(|cause| {
        let _gone = disk.remove_file(&aside);
        write_error(path, cause)
    })?)
}

/// Where the operator's signature of a listing lies.
fn signature_of(listing: &Path) -> PathBuf {
    let mut path = listing.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

/// Lists what will be copied, refusing everything that is not a plain file or folder before a byte is written.
fn look(
    folder: &Folder,
    above: &str,
    depth: usize,
    seen: &mut usize,
    files: &mut Vec<Found>,
) -> Result<(), IntakeError> {
    // Names at a level are all held at once: no more than may still come.
    let (items, more) = folder.first(SEEN_MAX.saturating_sub(*seen))?;
    *seen = seen.saturating_add(items.len());
    if more {
        return Err(IntakeError::TooMany { path: folder.path().to_owned() });
    }
    for item in items {
        let path = folder.path().join(&item.name);
        let text = item
            .name
            .to_str()
            .ok_or_else(|| IntakeError::BadName { path: shown(&item.name), cause: "is not UTF-8" })?;
        let inside = if above.is_empty() { text.to_owned() } else { format!("{above}/{text}") };
        check_path(&inside).map_err(|cause| IntakeError::BadName { path: shown(inside.as_ref()), cause })?;
        match item.kind {
            Kind::Link => return Err(IntakeError::NotTaken { path, what: "symbolic link" }),
            Kind::Special => return Err(IntakeError::NotTaken { path, what: "device, fifo or socket" }),
            Kind::Folder if depth >= PATH_DEPTH_MAX => {
                return Err(IntakeError::BadName { path: inside, cause: "is deeper than 32 folders" });
            }
            Kind::Folder => look(&folder.sub(&item.name)?, &inside, depth + 1, seen, files)?,
            Kind::File => {
                let (_, bytes) = folder.file(&item.name)?;
                if files.len() >= FILES_MAX {
                    return Err(IntakeError::TooMany { path: folder.path().to_owned() });
                }
                files.push(Found { path: inside, bytes });
            }
        }
    }
    Ok(())
}

fn copy_all(
    disk: &Disk,
    source: &Folder,
    files: &[Found],
    aside: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<Vec<Digest>, IntakeError> {
    let group =
        |path: &Path, mode| disk.set_mode(path, mode).map_err(|cause| IntakeError::Copy(write_error(path, cause)));
    let mut digests = Vec::with_capacity(files.len());
    for file in files {
        let to = aside.join(&file.path);
        let mut above = aside.to_owned();
        if let Some((folders, _)) = file.path.rsplit_once('/') {
            for part in folders.split('/') {
                above.push(part);
                if !above.is_dir() {
                    disk.create_dir_all(&above).map_err(|cause| write_error(&above, cause))?;
                    group(&above, DESK_FOLDER)?;
                }
            }
        }
        digests.push(copy_one(disk, source, file, &to, bar)?);
        group(&to, DESK_FILE)?;
    }
    Ok(digests)
}

fn copy_one(
    disk: &Disk,
    source: &Folder,
    file: &Found,
    to: &Path,
    bar: &indicatif::ProgressBar,
) -> Result<Digest, IntakeError> {
    // Walked again from the held folder, a part at a time: no part may have become a link meanwhile.
    let mut folder = None;
    let mut parts: Vec<&str> = file.path.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let next = folder.as_ref().unwrap_or(source).sub(part)?;
        folder = Some(next);
    }
    let folder = folder.as_ref().unwrap_or(source);
    let path = folder.path().join(last);
    let (from, bytes) = folder.file(last)?;
    let mut out = disk.create(to).map_err(|cause| write_error(to, cause))?;
    let mut hasher = Suite::Std.hasher();
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut limited = from.take(bytes.saturating_add(1));
    let mut copied = 0_u64;
    loop {
        let read = match limited.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(CopyError::Read { path, cause }.into()),
        };
        let piece = buffer.get(..read).unwrap_or_default();
        hasher.update(piece);
        out.write_all(piece).map_err(|cause| write_error(to, cause))?;
        bar.inc(piece.len() as u64);
        copied = copied.saturating_add(piece.len() as u64);
    }
    if copied != bytes || bytes != file.bytes {
        return Err(IntakeError::Changed { path, stated: file.bytes, found: copied });
    }
    disk.sync_file(&out).map_err(|cause| write_error(to, cause))?;
    Ok(hasher.finish())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
