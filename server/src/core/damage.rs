//! Every file of a collection with a byte changed, cut short or gone, and a server that starts on it: the answers are
//! the right ones, or the log is refused with file and place.

use super::alert::tests::plain_rule;
use super::contracts::Side;
use super::edit::tests as edits;
use super::replay::CATALOG_FILE;
use super::tests::{copy, face, identities, open, options, sightings, two_people};
use super::{Core, CoreMetrics, OpenError, Opening, RuleChange, RuleEdit};
use crate::check::{CheckOptions, check, references};
use rollcall_index::Filter;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// A small collection that was left as it should be.
struct Whole {
    folder: tempfile::TempDir,
    files: Vec<PathBuf>,
    expected: String,
}

/// What came of a start.
enum Outcome {
    Right,
    Refused(String),
}

fn shared_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

impl Whole {
    async fn new() -> Self {
        let folder = shared_memory();
        let core = open(folder.path());
        two_people(&core).await;
        for edit in [
            edits::update(1, edits::named("Ada")),
            edits::enrol_new("Eve", &[4]),
            edits::merge(2, 1),
        ] {
            core.edit(edit).await.unwrap();
        }
        let rule = RuleEdit {
            change: RuleChange::Create {
                rule: Box::new(plain_rule(&[1])),
                photos: Vec::new(),
            },
            author: "tester".to_owned(),
            reason: String::new(),
            request_id: String::new(),
        };
        core.edit_alert_rule(rule).await.unwrap();
        let expected = told(&core);
        core.close().await;
        drop(core);
        let mut files = Vec::new();
        list(folder.path(), &mut files);
        files.retain(|file| !file.ends_with("LOCK"));
        Self {
            folder,
            files,
            expected,
        }
    }

    fn bytes(&self, file: &Path) -> Vec<u8> {
        std::fs::read(file).unwrap()
    }

    /// Starts on a copy in which `file` is `bytes`, or gone.
    fn start(&self, file: &Path, bytes: Option<&[u8]>) -> Outcome {
        let folder = shared_memory();
        copy(self.folder.path(), folder.path(), None);
        let there = folder
            .path()
            .join(file.strip_prefix(self.folder.path()).unwrap());
        match bytes {
            Some(bytes) => std::fs::write(&there, bytes).unwrap(),
            None => std::fs::remove_file(&there).unwrap(),
        }
        let started = catch_unwind(AssertUnwindSafe(|| try_open(folder.path())));
        let what = || format!("{}, {:?} bytes", file.display(), bytes.map(<[u8]>::len));
        let core = match started.unwrap_or_else(|_| panic!("a panic: {}", what())) {
            Ok(core) => core,
            Err(error) => return Outcome::Refused(error.to_string()),
        };
        assert_eq!(told(&core), self.expected, "wrong answers: {}", what());
        match blobs(&core) {
            Ok(()) => Outcome::Right,
            Err(error) => Outcome::Refused(error),
        }
    }
}

fn list(folder: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            list(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// A core whose writer does nothing: it ends without a word.
fn try_open(folder: &Path) -> Result<Core, OpenError> {
    let metrics = CoreMetrics::register(&prometheus::Registry::new()).unwrap();
    let opening = Opening::of(folder)?;
    let (core, _writer) = Core::prepare(opening, options(folder), metrics, mpsc::channel(1))?;
    Ok(core)
}

/// All that can be asked.
fn told(core: &Core) -> String {
    let view = core.view();
    view.index.verify().unwrap();
    let mut told = format!("{} {:?}\n", view.sequence, view.contracts.in_service().id);
    told += &format!("{:?}\n{:?}\n", identities(core), sightings(core));
    for person in 0..4 {
        let hits = view
            .index
            .search_identities(&face(person, 0.05), 5, &Filter::default());
        let hits: Vec<_> = hits
            .unwrap()
            .iter()
            .map(|hit| (hit.identity, hit.similarity))
            .collect();
        told += &format!("{hits:?}\n");
    }
    let events: Vec<_> = core.events_after(0).map(Result::unwrap).collect();
    told + &format!("{events:?}\n")
}

/// Whether every picture and embedding can be read, and is what it was.
fn blobs(core: &Core) -> Result<(), String> {
    let log = core.log();
    for record in log.read_after(0) {
        let record = record.unwrap();
        for reference in references(&record) {
            log.blob(reference).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The log is the truth and is never guessed: what is said names its file and the place.
fn assert_named(file: &Path, message: &str) {
    let name = file.file_name().unwrap().to_string_lossy();
    let ends_early = message.contains("the log ends at record")
        || message.contains("log/keys ends with") && file.ends_with(Path::new("keys").join(&*name));
    let named = message.contains(&*name) && message.contains("byte");
    assert!(named || ends_early, "{name}: {message}");
}

fn of_log(file: &Path) -> bool {
    let folder = file.parent().unwrap().file_name().unwrap();
    folder == "records" || folder == "blobs" || folder == "keys"
}

/// How many places apart a file is changed: all of them, or so many that it does not take long.
fn stride(file: &Path, length: usize) -> usize {
    let whole = std::env::var("ROLLCALL_EVERY_BYTE").is_ok_and(|value| value == "1");
    let (places, at_most) = match (whole, of_log(file)) {
        (true, true) => (length, length),
        (true, false) => (length, 4000),
        (false, true) => (length, 90),
        (false, false) => (length, 25),
    };
    // Odd, so that all places within a page have their turn.
    places.div_ceil(at_most) | 1
}

/// Changes all files of a kind, and returns how often it was refused and answered rightly.
fn go_through(whole: &Whole, taken: impl Fn(&Path) -> bool) -> (u64, u64) {
    let mut counts = BTreeMap::from([("refused", 0), ("right", 0)]);
    let mut count = |file: &Path, outcome: Outcome| match outcome {
        Outcome::Right => *counts.get_mut("right").unwrap() += 1,
        Outcome::Refused(message) => {
            assert!(
                of_log(file),
                "a view is never needed: {}: {message}",
                file.display()
            );
            assert_named(file, &message);
            *counts.get_mut("refused").unwrap() += 1;
        }
    };
    for file in whole.files.iter().filter(|file| taken(file)) {
        let bytes = whole.bytes(file);
        let step = stride(file, bytes.len());
        for at in (0..bytes.len()).step_by(step) {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << (at % 8);
            count(file, whole.start(file, Some(&changed)));
        }
        for length in (0..bytes.len()).step_by(step) {
            count(file, whole.start(file, Some(&bytes[..length])));
        }
        count(file, whole.start(file, None));
    }
    eprintln!(
        "{{\"part\":\"damage\",\"refused\":{},\"right_answers\":{},\"wrong_answers\":0,\"panics\":0}}",
        counts["refused"], counts["right"]
    );
    (counts["refused"], counts["right"])
}

#[tokio::test]
async fn damage_to_the_log_is_named_and_never_answered_from() {
    let whole = Whole::new().await;
    let (refused, right) = go_through(&whole, of_log);
    assert!(refused > right, "{refused} {right}");
}

#[tokio::test]
async fn damage_to_a_view_is_made_good_from_the_log() {
    let whole = Whole::new().await;
    let (refused, right) = go_through(&whole, |file| !of_log(file));
    assert_eq!(refused, 0);
    assert!(right > 100);
}

/// Writes into a file of a collection what nobody but `rollcalld check` can notice.
fn rename_in_catalog(folder: &Path) {
    // As after a crash: without a seal.
    std::fs::remove_file(folder.join("catalog.sqlite-seal")).unwrap();
    let db = rusqlite::Connection::open(folder.join(CATALOG_FILE)).unwrap();
    let changed = db.execute("UPDATE identities SET name = 'Mallory' WHERE id = 1", []);
    assert_eq!(changed.unwrap(), 1);
}

#[tokio::test]
async fn a_catalog_that_differs_from_the_log_is_found_and_made_anew_when_asked() {
    let whole = Whole::new().await;
    let data = whole.folder.path();
    rename_in_catalog(data);
    let found = check(data, CheckOptions::default())
        .unwrap_err()
        .to_string();
    assert!(found.contains("table identities, row 1"), "{found}");
    assert!(
        found.contains("--repair") && !found.contains("Mallory"),
        "{found}"
    );
    let repair = CheckOptions {
        repair: true,
        accept_loss: false,
    };
    let report = check(data, repair).unwrap();
    assert_eq!(report.made_anew.len(), 1, "{report:?}");
    assert_eq!(told(&try_open(data).unwrap()), whole.expected);
    let again = check(data, CheckOptions::default()).unwrap();
    assert_eq!((again.made_anew, again.damaged), (Vec::new(), 0));
    assert!(!data.join("check.tmp").exists());
}

#[tokio::test]
async fn a_log_whose_end_is_gone_goes_on_only_when_told_so() {
    let whole = Whole::new().await;
    let data = whole.folder.path();
    let records = whole
        .files
        .iter()
        .find(|file| file.parent().unwrap().ends_with("records"));
    let records = records.unwrap();
    let bytes = whole.bytes(records);
    std::fs::write(records, &bytes[..bytes.len() - 60]).unwrap();
    for asked in [(false, false), (true, false)] {
        let (repair, accept_loss) = asked;
        let refused = check(
            data,
            CheckOptions {
                repair,
                accept_loss,
            },
        )
        .unwrap_err();
        assert!(refused.to_string().contains("--accept-loss"), "{refused}");
    }
    let accepted = CheckOptions {
        repair: true,
        accept_loss: true,
    };
    let report = check(data, accepted).unwrap();
    let (first, last) = report.lost.unwrap();
    assert_eq!((first, first), (report.records + 1, last));
    assert_eq!(try_open(data).unwrap().view().sequence, report.records);
}

#[tokio::test]
async fn damaged_payloads_are_named_with_what_is_lost() {
    let whole = Whole::new().await;
    let data = whole.folder.path();
    let blobs = whole
        .files
        .iter()
        .find(|file| file.parent().unwrap().ends_with("blobs"));
    let blobs = blobs.unwrap();
    let mut bytes = whole.bytes(blobs);
    // Behind the segment's header and the blob's lies the first payload: an embedding.
    let first = {
        let core = try_open(data).unwrap();
        let records: Vec<_> = core.log().read_after(0).map(Result::unwrap).collect();
        let all = records.iter().flat_map(references);
        all.min_by_key(|it| (it.segment, it.offset))
            .unwrap()
            .clone()
    };
    let at = usize::try_from(first.offset).unwrap() + 40;
    bytes[at] ^= 1;
    std::fs::write(blobs, &bytes).unwrap();
    let report = check(data, CheckOptions::default()).unwrap();
    assert_eq!((report.damaged, report.unmade), (1, None));
    let shown = &report.damaged_shown[0];
    assert_eq!(
        (shown.track_id, &*shown.what),
        (1, "the embedding of exemplar 1")
    );
    let place = format!("damaged at byte {}", first.offset);
    assert!(shown.why.contains(&place), "{shown:?}");
    // Without an index there is no way around it, and that is said.
    std::fs::remove_dir_all(data.join("index")).unwrap();
    let report = check(data, CheckOptions::default()).unwrap();
    assert!(report.unmade.unwrap().contains(&place));
}

#[tokio::test]
async fn a_log_that_ends_before_what_its_views_have_seen_is_refused() {
    let whole = Whole::new().await;
    let records = whole.files.iter().find(|file| {
        let folder = file.parent().unwrap().file_name().unwrap();
        folder == "records"
    });
    let records = records.unwrap();
    let bytes = whole.bytes(records);
    let short = &bytes[..bytes.len() - 60];
    let Outcome::Refused(message) = whole.start(records, Some(short)) else {
        panic!("answered from a log whose end is gone");
    };
    assert!(message.contains("the catalog has seen record"), "{message}");
    // The index knows as much.
    let folder = shared_memory();
    copy(whole.folder.path(), folder.path(), Some(CATALOG_FILE));
    let there = folder
        .path()
        .join(records.strip_prefix(whole.folder.path()).unwrap());
    std::fs::write(there, short).unwrap();
    let refused = try_open(folder.path()).unwrap_err();
    assert!(matches!(refused, OpenError::AheadOfLog { .. }), "{refused}");
    let opening = Opening::of(folder.path()).unwrap();
    let (found, _) = opening.index_found(Side::InService);
    found.unwrap().unwrap_err();
}
