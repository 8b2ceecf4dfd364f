use super::*;
use crate::config::{Assigner, KEYS};
use std::io::Write as _;

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn check(text: &str, environment: &[(&str, &str)], flags: &Flags) -> Result<Loaded, ConfigError> {
    let file = file(text);
    let environment = environment
        .iter()
        .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    load(Some(file.path()), environment, flags)
}

#[test]
fn defaults_name_every_key() {
    let loaded = load(None, [], &Flags::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.values.len(), KEYS.len());
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let text = "[search]\nthreads = 3\nqueue_max = 5\ntimeout_ms = 7\n";
    let environment = [
        ("ROLLCALL_SEARCH__QUEUE_MAX", "50"),
        ("ROLLCALL_SEARCH__TIMEOUT_MS", "70"),
    ];
    let flags = Flags::default().with("--set", "search.timeout_ms", Some("700"));
    let loaded = check(text, &environment, &flags).unwrap();
    let search = &loaded.config.search;
    assert_eq!(
        (search.threads, search.queue_max, search.timeout_ms),
        (3, 50, 700)
    );
    assert!(matches!(loaded.values["search.threads"].1, Origin::File(_)));
    assert_eq!(
        loaded.values["search.queue_max"].1,
        Origin::Environment("ROLLCALL_SEARCH__QUEUE_MAX".to_owned())
    );
    assert_eq!(
        loaded.values["search.timeout_ms"].1,
        Origin::Flag("--set".to_owned())
    );
    assert_eq!(loaded.values["watch.buffer_max"].1, Origin::Default);
}

#[test]
fn lists_and_numbers_come_from_the_environment() {
    let environment = [
        ("ROLLCALL_INGEST__FILE_ROOTS", "/srv/a, /srv/b"),
        ("ROLLCALL_INGEST__PROTOCOLS", ""),
        ("ROLLCALL_DATA", "12"),
        ("PATH", "ignored"),
    ];
    let config = check("", &environment, &Flags::default()).unwrap().config;
    assert_eq!(
        config.ingest.file_roots,
        [PathBuf::from("/srv/a"), PathBuf::from("/srv/b")]
    );
    assert!(config.ingest.protocols.is_empty());
    assert_eq!(config.data, PathBuf::from("12"));
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    for (text, environment, nearest) in [
        ("[grpc]\nlisen = \"127.0.0.1:1\"\n", &[][..], "grpc.listen"),
        ("dta = \"x\"\n", &[][..], "data"),
        (
            "",
            &[("ROLLCALL_SEARCH__THREAD", "1")][..],
            "search.threads",
        ),
        ("", &[("ROLLCALL_GRPC_LISTEN", "1")][..], "grpc.listen"),
    ] {
        let message = check(text, environment, &Flags::default())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(&format!("did you mean \"{nearest}\"?")),
            "{message}"
        );
    }
    let flags = Flags::default().with("--set", "zzz", Some("1"));
    let message = check("", &[], &flags).unwrap_err().to_string();
    assert_eq!(
        message,
        "flag --set: there is no setting \"zzz\"; `rollcalld config show` lists all"
    );
}

#[test]
fn the_clients_variables_are_no_settings() {
    check(
        "",
        &[("ROLLCALL_ENDPOINT", "http://127.0.0.1:1")],
        &Flags::default(),
    )
    .unwrap();
}

#[test]
fn unfit_values_say_what_is_right() {
    for (text, part) in [
        (
            "[search]\nthreads = \"many\"\n",
            "not a whole number from 0 to 1024",
        ),
        (
            "[search]\nthreads = -1\n",
            "-1 is out of range; it goes from 0 to 1024",
        ),
        ("[grpc]\nlisten = \"localhost\"\n", "is no address"),
        (
            "[ingest]\nfile_roots = \"/srv\"\n",
            "must be a list of texts",
        ),
        ("[ingest]\nfile_roots = [1]\n", "must be a list of texts"),
        ("[ingest]\ndetect_sizes = \"640;9\"\n", "such as 640,1280"),
        ("[ingest]\ndetect_sizes = 640\n", "must be a text such as"),
        ("data = \"\"\n", "must name a folder"),
        ("data = 1\n", "must be a text"),
        ("data = \n", "settings file"),
    ] {
        let message = check(text, &[], &Flags::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_choice_is_one_of_its_texts() {
    let text = "[ingest]\ngates = \"streamface\"\n";
    let config = check(text, &[], &Flags::default()).unwrap().config;
    let gates = rollcall_ingest::pipeline::GateRule::Streamface;
    assert_eq!(config.ingest.gates, gates);
    let wrong = check("[ingest]\nshots = \"pixels\"\n", &[], &Flags::default());
    let wrong = wrong.unwrap_err().to_string();
    assert!(
        wrong.contains("must be one of rollcall, facerec"),
        "{wrong}"
    );
}

#[test]
fn the_assigner_is_evidence_unless_a_file_a_variable_or_a_flag_says_hri() {
    let none = Flags::default();
    let flag = Flags::default().with("--assigner", "assigner", Some("hri"));
    let hri = [("ROLLCALL_ASSIGNER", "hri")];
    for (text, environment, flags, expected) in [
        ("", &[][..], &none, Assigner::Evidence),
        ("assigner = \"hri\"\n", &[][..], &none, Assigner::Hri),
        ("assigner = \"evidence\"\n", &hri[..], &none, Assigner::Hri),
        ("assigner = \"evidence\"\n", &[][..], &flag, Assigner::Hri),
    ] {
        let config = check(text, environment, flags).unwrap().config;
        assert_eq!(config.assigner, expected);
    }
    let flag = Flags::default().with("--assigner", "assigner", Some("HRI"));
    let message = check("", &[], &flag).unwrap_err().to_string();
    assert!(
        message.contains("must be one of evidence, hri"),
        "{message}"
    );
}

#[test]
fn strangers_are_let_in_only_when_told_so() {
    let open = |settings: &[(&str, &str)]| {
        let mut flags = Flags::default();
        for (key, value) in settings {
            flags = flags.with("--set", key, Some(value));
        }
        let config = load(None, [], &flags).unwrap().config;
        config.open_to_strangers(false).map(|(key, _)| key)
    };
    let everywhere = "0.0.0.0:0";
    assert_eq!(open(&[]), None);
    assert_eq!(open(&[("grpc.listen", "[::1]:0")]), None);
    assert_eq!(open(&[("grpc.listen", everywhere)]), Some("grpc.listen"));
    assert_eq!(
        open(&[("grpc.listen", everywhere), ("access", "anyone")]),
        None
    );
    // Metrics alone show no faces.
    assert_eq!(open(&[("http.listen", everywhere)]), None);
    assert_eq!(
        open(&[("http.listen", everywhere), ("http.page", "on")]),
        Some("http.listen")
    );
}
